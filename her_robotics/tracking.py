"""Where figures go: always to local JSON lines, and to Weights & Biases if it works."""

import contextlib
import json
import os
import re
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from .errors import UserError, first_line
from .files import append, read_bounded, write_text
from .run_folder import CURVE, METRICS, TIMINGS, VIDEO

WANDB_ID = "wandb/id"
WandbMode = Literal["online", "offline", "disabled"]


class Tracker(Protocol):
    """Something that keeps the figures of a run."""

    def log(self, metrics: Mapping[str, float], timings: Mapping[str, float]) -> None:
        """Keep one report; both mappings hold ``step``."""
        ...

    def finish(self) -> None:
        """Keep the pictures of the run folder, and close."""
        ...


class JsonLines:
    """``metrics.jsonl`` (deterministic) and ``timings.jsonl`` (wall-clock), one object per test.

    Args:
        folder: the run folder.
        resume_at: env steps a resumed run goes on from; later lines, written after its checkpoint,
            are dropped and will be written again.
    """

    def __init__(self, folder: Path, resume_at: int | None = None):
        self._paths = {METRICS: folder / METRICS, TIMINGS: folder / TIMINGS}
        for path in self._paths.values():
            kept = [] if resume_at is None else read_lines(path)
            lines = [json.dumps(row) for row in kept if row["step"] <= (resume_at or 0)]
            # Written anew, a name that leads elsewhere is replaced and not followed.
            write_text(path, "".join(f"{line}\n" for line in lines))

    def log(self, metrics: Mapping[str, float], timings: Mapping[str, float]) -> None:
        """Keep one report.

        Raises:
            UserError: if it cannot be written; the files then end with the last report that was.
        """
        for name, row in ((METRICS, metrics), (TIMINGS, timings)):
            path = self._paths[name]
            try:
                append(path, json.dumps(row) + "\n")
            except OSError as error:
                raise UserError(f"{path} cannot be written: {error.strerror}") from error

    def finish(self) -> None:
        pass


LARGEST_LINES = 2**28
"""Bytes of a JSON lines file that we read: hundreds of thousands of tests."""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file; a line torn by a crash, which can only be the last, is left out.

    Raises:
        UserError: if the file cannot be read.
    """
    try:
        text = read_bounded(path, LARGEST_LINES).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    rows = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(row, dict) or type(row.get("step")) is not int:
            break
        rows.append(row)
    return rows


def wandb_mode(asked: WandbMode | None) -> WandbMode:
    """What was asked for, or online where a key is set up; offline, never a prompt, where none is."""
    if asked is None:
        named = os.environ.get("WANDB_MODE")
        asked = next((mode for mode in get_args(WandbMode) if mode == named), None)
    if asked in ("offline", "disabled") or has_account():
        return asked or "online"
    if asked == "online":
        print(
            "warning: no wandb account is set up (wandb login): this run is offline",
            file=sys.stderr,
        )
    return "offline"


def has_account() -> bool:
    """Whether a Weights & Biases key is in the environment or in the netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").partition("://")[2]
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return host.split("/")[0] in netrc.read_text(errors="ignore")
    except OSError:
        return False


def wandb_version() -> str:
    """The version of wandb, which is imported to be sure that it can be."""
    import wandb

    return wandb.__version__


class WandbRun:
    """One Weights & Biases run with the figures, the configuration, the curve and the film.

    A resumed run goes on with it: its id is kept in the run folder. Offline, wandb writes a file for each
    stretch, and ``wandb sync`` joins those of one id, as long as no step is in two of them: steps are env
    steps, and no stretch writes one that another keeps.

    Args:
        folder: the run folder; offline files go to ``wandb/`` in it.
        config: the resolved configuration, as plain dicts.
        mode: ``"online"`` or ``"offline"``.
        project: project the run is filed under.
        resume_at: env steps a resumed run goes on from.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        mode: WandbMode,
        project: str,
        resume_at: int | None = None,
    ):
        import wandb

        self._wandb, self._folder = wandb, folder
        settings = wandb.Settings(silent=True, console="off", init_timeout=30)
        self._step = resume_at or 0
        self._run = wandb.init(
            project=project,
            id=_wandb_id(folder, new=resume_at is None),
            resume="allow",
            name=folder.name,
            dir=str(folder),
            config=dict(config),
            mode=mode,
            settings=settings,
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, metrics: Mapping[str, float], timings: Mapping[str, float]) -> None:
        self._step = int(metrics["step"])
        self._run.log({**timings, **metrics}, step=self._step, commit=True)

    def finish(self) -> None:
        pictures: dict[str, Any] = {}
        if (self._folder / CURVE).is_file():
            pictures["learning_curve"] = self._wandb.Image(str(self._folder / CURVE))
        if (self._folder / VIDEO).is_file():
            pictures["policy"] = self._wandb.Video(str(self._folder / VIDEO), format="mp4")
        if pictures:
            self._run.log(pictures, step=self._step + 1, commit=True)
        self._run.finish()


def _wandb_id(folder: Path, new: bool) -> str:
    """The id of the wandb run that belongs to a run folder.

    Raises:
        OSError: if it cannot be read or written.
        ValueError: if what stands there is none.
    """
    path = folder / WANDB_ID
    if new or not path.exists():
        path.parent.mkdir(exist_ok=True)
        write_text(path, secrets.token_hex(4))
    text = read_bounded(path, 64).decode()
    if not re.fullmatch(r"[0-9a-z]{4,32}", text):
        raise ValueError(f"{path} holds no id")
    return text


def abandon_wandb() -> None:
    """Let go of a wandb that has failed; else it speaks up once more when the process ends."""
    import wandb

    wandb.teardown()


class Guarded:
    """A tracker whose failure is told once and never stops training.

    Args:
        start: makes the tracker; if this fails nothing is tracked.
        name: what to call it in the warning.
        abandon: lets go of what is left of it where it fails after its start.
    """

    def __init__(
        self, start: Callable[[], Tracker], name: str, abandon: Callable[[], Any] = lambda: None
    ):
        self._name, self._abandon = name, abandon
        self._tracker: Tracker | None = None
        self._try(lambda: setattr(self, "_tracker", start()))

    def log(self, metrics: Mapping[str, float], timings: Mapping[str, float]) -> None:
        tracker = self._tracker
        if tracker:
            self._try(lambda: tracker.log(metrics, timings))

    def finish(self) -> None:
        if self._tracker:
            self._try(self._tracker.finish)

    def _try(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except Exception as error:  # whatever a third party's tracker throws, training goes on
            text = f"warning: {self._name} failed and is off from here ({first_line(error)})"
            print(f"{text}; metrics go on in {METRICS}", file=sys.stderr)
            if self._tracker:
                self._tracker = None
                with contextlib.suppress(Exception):  # it has failed before
                    self._abandon()


def start_trackers(
    folder: Path,
    config: Mapping[str, Any],
    asked: WandbMode | None,
    project: str,
    resume_at: int | None = None,
) -> list[Tracker]:
    """The trackers of a run: local JSON lines, and Weights & Biases unless disabled."""
    trackers: list[Tracker] = [JsonLines(folder, resume_at)]
    mode = wandb_mode(asked)
    if mode != "disabled":
        trackers.append(
            Guarded(
                lambda: WandbRun(folder, config, mode, project, resume_at), "wandb", abandon_wandb
            )
        )
    return trackers
