"""Training killed at random moments, and what is left each time: `python -m benchmarks.kills`.

A short real run of FetchPush with a relay, whose replay overwrites itself and which writes a checkpoint
after every cycle, is killed by SIGKILL and resumed, again and again, until it has been killed as often
as asked for; where it comes to its end before that, another one begins. Moments are drawn over the first
few cycles of a stretch, from its start on, and every other kill waits for a checkpoint to be begun. After
each one the checkpoint must load, hold all that had been reported as saved, and leave metrics.jsonl the
beginning of an undisturbed run's, line by line; in the end all of it and the policy must be that run's.
"""

import contextlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro

from benchmarks.report import at_least, machine, publish
from her_robotics.checkpoint import CHECKPOINT, has_checkpoint, load_checkpoint
from her_robotics.cli import main as command
from her_robotics.run_folder import METRICS
from her_robotics.saved_policy import WEIGHTS

ENVS, HORIZON = 2, 50
CYCLE = ENVS * HORIZON
"""Env steps between two checkpoints."""
SETTINGS = (
    *("train", "fetch_push", "--env.num-envs", f"{ENVS}", "--env.num-threads", "1"),
    *("--agent.hidden", "32", "32", "--replay.capacity", "1500", "--train.torch-threads", "1"),
    *("--train.updates-per-step", "0.1", "--train.batch-size", "64"),
    *("--train.checkpoint-seconds", "0", "--eval.every", "400", "--eval.episodes", "4"),
    *("--exploration.guide.name", "relay", "--exploration.guide.updates", "300"),
    *("--wandb", "disabled", "--video.enabled", "false"),
)
CYCLES_SEEN = 3
"""A stretch is killed after at most as many checkpoints, and the time of one more."""
PATIENCE = 120.0
"""Seconds in which a checkpoint, or the end, must come."""


@dataclass(frozen=True)
class Arguments:
    """Kill a run and resume it, again and again."""

    kills: int = 50
    """How often."""
    steps: int = 3000
    """Env steps of a run."""
    seed: int = 0
    """Of the moments."""
    out: str | None = None
    """The result; without it, benchmarks/results/kills.json."""
    json: bool = False
    """Print the result as one JSON object."""


class Left(NamedTuple):
    """What a killed stretch had done.

    Attributes:
        saved: checkpoints that were seen to be whole before it.
        moment: what it was doing, as far as can be seen from outside.
        ended: whether it had come to its end before it was killed.
    """

    saved: int
    moment: str
    ended: bool


class Kills:
    """The run that is killed, beside the one that is not.

    Args:
        arguments: how often, how long.
        place: a folder for the runs.
    """

    def __init__(self, arguments: Arguments, place: Path):
        self._arguments, self._place = arguments, place
        self._generator = np.random.default_rng(arguments.seed)
        # Forked from a server that has imported all and started nothing: a stretch begins at once.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(
            ["tyro", "benchmarks.report", "her_robotics.cli.commands"]
        )
        self._undisturbed = place / "undisturbed"
        self._cycle = 0.2  # seconds from one checkpoint to the next, measured as they come
        self.moments: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.fallbacks, self.runs = 0, 0

    def run(self) -> None:
        """Kill as often as asked for.

        Raises:
            SystemExit: if anything was lost, torn or doubled.
        """
        process = self._start(self._undisturbed)
        process.join()
        _insist(process.exitcode == 0, f"the undisturbed run ended with {process.exitcode}")
        while sum(self.moments.values()) < self._arguments.kills:
            self.runs += 1
            self._kill_one(self._place / f"killed-{self.runs}")

    def _kill_one(self, folder: Path) -> None:
        """Kill a run until it ends, or there have been enough, and then let it end."""
        reached, ended = 0, False
        while not ended and sum(self.moments.values()) < self._arguments.kills:
            left = self._stretch(folder)
            ended = left.ended
            if not ended:
                self.moments[left.moment] += 1
            expected = reached + left.saved * CYCLE  # but for the last one, which adds no cycle
            reached = self._check(folder, min(expected, self._arguments.steps))
        if not ended:
            process = self._start(folder)
            process.join()
            _insist(process.exitcode == 0, f"the last stretch ended with {process.exitcode}")
        for name in (METRICS, WEIGHTS):
            same = (folder / name).read_bytes() == (self._undisturbed / name).read_bytes()
            _insist(same, f"{name} is not the undisturbed run's")
        self.passed["metrics and policy in the end equal to the undisturbed run's"] += 1

    def _start(self, folder: Path) -> Any:
        """A process that begins the run, or goes on with it."""
        settings = [*SETTINGS, "--train.steps", f"{self._arguments.steps}", "--out", f"{folder}"]
        if has_checkpoint(folder):
            settings = ["train", "--resume", f"{folder}"]
        elif folder.exists():  # killed before there was anything to go on from
            shutil.rmtree(folder)
        process = self._context.Process(target=_train, args=(settings, folder.with_suffix(".log")))
        process.start()
        return process

    def _stretch(self, folder: Path) -> Left:
        """Begin or go on, and be killed."""
        seen, left = _identity(folder / CHECKPOINT), _identity(_partial(folder))
        process = self._start(folder)
        saved, waited = 0, int(self._generator.integers(0, CYCLES_SEEN + 1))
        for _ in range(waited):
            began = time.monotonic()
            if not _wait(lambda known: _identity(folder / CHECKPOINT) not in known, process, seen):
                break
            saved, seen = saved + 1, _identity(folder / CHECKPOINT) or seen
            if saved > 1:
                self._cycle = 0.5 * self._cycle + 0.5 * (time.monotonic() - began)
        if self._generator.random() < 0.5:
            _wait(lambda known: _identity(_partial(folder)) not in known, process, left)
            time.sleep(self._generator.uniform(0.0, 0.005))
        else:
            time.sleep(self._generator.uniform(0.0, self._cycle))
        process.kill()
        process.join()
        return Left(saved, _moment(folder, left), process.exitcode == 0)

    def _check(self, folder: Path, expected: int) -> int:
        """Whether all that was saved is there; env steps of the checkpoint that is left."""
        text = (folder / METRICS).read_bytes() if (folder / METRICS).exists() else b""
        whole = (self._undisturbed / METRICS).read_bytes()
        _insist(whole.startswith(text), f"{METRICS} is not the beginning of the undisturbed one")
        _insist(text[-1:] in (b"", b"\n"), f"the last line of {METRICS} is torn")
        self.passed["metrics.jsonl whole, and the beginning of the undisturbed run's"] += 1
        if not has_checkpoint(folder):
            _insist(expected == 0, "there is no checkpoint, though one was seen")
            return 0  # the run begins anew
        said = _Said()
        with contextlib.redirect_stderr(said):
            steps = load_checkpoint(folder)["progress"]["steps"]
        self.fallbacks += said.lines
        _insist(steps >= expected, f"{expected} steps were saved, and {steps} are left")
        self.passed["checkpoint loaded, with all that was saved before the kill"] += 1
        return steps


def _moment(folder: Path, before: Any) -> str:
    """What a process was at when it was killed, by what it left that was not there ``before``."""
    if not has_checkpoint(folder):
        return "before the first checkpoint"
    if not (folder / CHECKPOINT).exists():
        return "between the renaming of the last checkpoint and of the new one"
    if _identity(_partial(folder)) not in (None, before):
        return "while a checkpoint was written"
    return "elsewhere"


class _Said:
    """Counts the lines that are written to it."""

    lines = 0

    def write(self, text: str) -> int:
        self.lines += text.count("\n")
        return len(text)

    def flush(self) -> None:
        pass


def _train(settings: list[str], log: Path) -> None:
    """The life of a stretch: the command, with what it prints in a file."""
    with log.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        code = command(settings)
    sys.exit(code)


def _wait(until: Callable[[Any], bool], process: Any, last: Any = None) -> bool:
    """Wait for something other than nothing and ``last``, or for the process to end; whether it came."""
    known = (None, last)
    deadline = time.monotonic() + PATIENCE
    while process.is_alive():
        if until(known):
            return True
        _insist(time.monotonic() < deadline, f"nothing has come for {PATIENCE:.0f} s")
        time.sleep(0.0005)
    return until(known)


def _identity(path: Path) -> tuple[int, int] | None:
    """What another file of the same name has not."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _partial(folder: Path) -> Path:
    return folder / f".{CHECKPOINT}.partial"


def _insist(fine: bool, otherwise: str) -> None:
    if not fine:
        raise SystemExit(f"not fine: {otherwise}")


@contextlib.contextmanager
def _place() -> Generator[Path]:
    """A folder for the runs, which stays where something was not fine."""
    place = Path(tempfile.mkdtemp(prefix="kills-"))
    try:
        yield place
    except SystemExit:
        print(f"the runs are in {place}", file=sys.stderr)
        raise
    shutil.rmtree(place)


def measure(arguments: Arguments) -> dict[str, Any]:
    """Kill, resume and check; how often and when.

    Raises:
        SystemExit: if anything was lost, torn or doubled.
    """
    with _place() as place:
        kills = Kills(arguments, place)
        kills.run()
    return {
        "kills": sum(kills.moments.values()),
        "moments": dict(sorted(kills.moments.items())),
        "runs": kills.runs,
        "checkpoint_before_used": kills.fallbacks,
        "passed": dict(kills.passed),
    }


def main() -> int:
    """Run the benchmark; returns the exit code."""
    arguments = tyro.cli(Arguments)
    at_least(1, kills=arguments.kills)
    at_least(CYCLE, steps=arguments.steps)
    where = machine()
    results = measure(arguments)
    publish("kills", arguments, where, results)
    print(f"{results['kills']} kills in {results['runs']} runs, nothing lost: {results['moments']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
