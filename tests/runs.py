"""Small real runs, and what several test files need to make and to read them."""

import atexit
import contextlib
import io
import json
import resource
import signal
import struct
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv, VectorWrapper
from wandb.proto import wandb_internal_pb2

# First of what imports MuJoCo: it chooses the OpenGL backend, which MuJoCo reads once, at import.
import envs.camera  # noqa: F401
from her_robotics.building import MakeEnv, build
from her_robotics.cli import main
from her_robotics.cli.making import env_maker
from her_robotics.config import Config
from her_robotics.learner import Learner
from her_robotics.strict import from_mapping, merge
from her_robotics.train import Report, train

DEBUG_FILES = {
    "config.yaml",
    "metrics.jsonl",
    "timings.jsonl",
    "policy.safetensors",
    "policy.json",
    "checkpoint.pt",
    "episodes",
    "learning_curve.png",
    "policy.mp4",
}
REACH: dict[str, Any] = {
    "wandb": "disabled",
    "env": {"task": "fetch_reach", "num_envs": 2, "num_threads": 1},
    "agent": {"hidden": [16, 16]},
    "replay": {"capacity": 10_000},
    "exploration": {"random_episodes": 2},
    "train": {"steps": 600, "batch_size": 32, "updates_per_step": 0.2},
    "eval": {"every": 200, "episodes": 3},
    "video": {"enabled": False},
}
PUSH: dict[str, Any] = merge(
    REACH,
    {
        "env": {"task": "fetch_push"},
        "replay": {"strategy": "future_actual"},
        "exploration": {
            "noise": "ornstein_uhlenbeck",
            "guide": {"name": "relay", "updates": 230},
        },
    },
)
FLIP: dict[str, Any] = {
    "wandb": "disabled",
    "env": {"task": "bit_flip", "bits": 5, "num_envs": 2},
    "agent": {"name": "dqn", "hidden": [16]},
    "replay": {"capacity": 10_000},
    "exploration": {"random_episodes": 2},
    "train": {"steps": 600, "batch_size": 32, "updates_per_step": 0.2},
    "eval": {"every": 200, "episodes": 3},
    "video": {"enabled": False},
}


class Outcome(NamedTuple):
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


def command(*arguments: object) -> Outcome:
    """Run the command line in this process. What it raises, a person would see as a traceback."""
    out, err = io.StringIO(), io.StringIO()
    with (
        warnings.catch_warnings(record=True) as warned,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit_:  # how tyro ends --help
            code = int(exit_.code or 0)
    # Outside of pytest these are printed.
    shown = [each for each in warned if issubclass(each.category, UserWarning)]
    return Outcome(
        code, out.getvalue(), err.getvalue() + "".join(f"{each.message}\n" for each in shown)
    )


def the_one_line(outcome: Outcome, code: int = 2) -> str:
    """The message of a failed command, which must be a single line on stderr."""
    assert outcome.code == code, outcome
    lines = outcome.err.splitlines()
    assert len(lines) == 1, outcome.err
    return lines[0]


def tiny(base: Mapping[str, Any] = REACH, **changes: Any) -> Config:
    """A configuration that trains in about a second."""
    return from_mapping(Config, merge(base, changes))


def start(config: Config) -> Learner:
    """A learner on the real task."""
    return build(config, env_maker(config.env))


def reports_of(learner: Learner, stop: Callable[[], bool] = lambda: False) -> list[Report]:
    """Train and return what was reported at each test."""
    reports: list[Report] = []
    train(learner, lambda: None, reports.append, stop)
    return reports


def after(calls: int) -> Callable[[], bool]:
    """A ``stop`` that says yes when it has been asked ``calls`` times before."""
    asked = iter([False] * calls)
    return lambda: next(asked, True)


def rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file, every line of which must be whole."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def same(left: Any, right: Any) -> bool:
    """Whether two nested states are equal to the last bit."""
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and _bits(left) == _bits(right)
    if isinstance(left, Mapping):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


def _bits(tensor: torch.Tensor) -> tuple[tuple[int, ...], torch.dtype, bytes]:
    return tuple(tensor.shape), tensor.dtype, tensor.detach().numpy().tobytes()


class Watched(VectorWrapper):
    """A real vector env that lets ``look(step, observation)`` see, and spoil, what it shows.

    ``step`` counts every step ever taken.
    """

    def __init__(self, env: VectorEnv, look: Callable[[int, dict[str, np.ndarray]], None]) -> None:
        super().__init__(env)
        self._look, self._taken = look, 0

    def step(self, actions: Any) -> tuple:
        shown, *rest = self.env.step(actions)
        self._taken += 1
        self._look(self._taken, shown)
        return shown, *rest


def watched(
    make_env: MakeEnv, look: Callable[[int, dict[str, np.ndarray]], None], among: int
) -> MakeEnv:
    """``make_env`` whose vector envs of ``among`` envs are watched."""

    def make(num_envs: int, **options: Any) -> VectorEnv:
        env = make_env(num_envs, **options)
        return Watched(env, look) if num_envs == among else env

    return make


EXPLOSIVE = 1e11
"""A position, angle or velocity that no simulation survives."""


class Exploding(VectorWrapper):
    """A real vector env, some of whose simulations are put into an impossible state before some steps.

    ``steps`` are counted over all steps ever taken.
    """

    def __init__(self, env: VectorEnv, steps: set[int], envs: tuple[int, ...]) -> None:
        super().__init__(env)
        self._steps, self._envs, self._taken = steps, list(envs), 0

    def step(self, actions: Any) -> tuple:
        self._taken += 1
        if self._taken in self._steps:
            base: Any = self.env.unwrapped
            state = base.get_state()
            state["simulations"]["physics"][self._envs, 1:] = EXPLOSIVE  # all but the clock
            base.set_state(state)
        return self.env.step(actions)


def exploding(
    make_env: MakeEnv, steps: set[int], among: int, envs: tuple[int, ...] = (1,)
) -> MakeEnv:
    """``make_env`` whose vector envs of ``among`` envs explode."""

    def make(num_envs: int, **options: Any) -> VectorEnv:
        env = make_env(num_envs, **options)
        return Exploding(env, steps, envs) if num_envs == among else env

    return make


def signal_at(*steps: int) -> Callable[[int, dict[str, np.ndarray]], None]:
    """Sends this process SIGINT at each of ``steps``."""

    def look(taken: int, shown: dict[str, np.ndarray]) -> None:
        if taken in steps:
            signal.raise_signal(signal.SIGINT)

    return look


@contextlib.contextmanager
def disk_full_after(size: int) -> Iterator[None]:
    """Within it no file can grow beyond ``size`` bytes: writes fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class FinishedRun(NamedTuple):
    """A run folder and what the command printed that made it."""

    folder: Path
    outcome: Outcome


def finished(folder: Path, *arguments: object) -> FinishedRun:
    """Run ``train debug`` to its end."""
    outcome = command("train", "debug", "--out", folder, *arguments)
    assert outcome.code == 0, outcome.err
    return FinishedRun(folder, outcome)


@cache
def debug_run() -> FinishedRun:
    """A finished ``debug`` run with a film and without wandb. Copy it before changing it."""
    return finished(_kept_folder() / "run", "--wandb", "disabled")


@cache
def offline_run() -> FinishedRun:
    """The same with wandb offline."""
    folder = _kept_folder()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CACHE", "CONFIG", "DATA"):
            patch.setenv(f"WANDB_{name}_DIR", str(folder / name.lower()))
        return finished(folder / "run", "--wandb", "offline", "--video.size", 64)


def _kept_folder() -> Path:
    """A folder that lasts until the tests end."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(folder.name)


def names_in(folder: Path) -> set[str]:
    """Names of what a folder holds."""
    return {path.name for path in folder.iterdir()}


def wandb_folder() -> Path:
    """What wandb made of the offline run."""
    (folder,) = (offline_run().folder / "wandb").glob("offline-run-*")
    return folder


def wandb_records(folder: Path | None = None) -> list[Any]:
    """What wandb wrote offline, of the offline run or another, once its service has ended the file."""
    deadline = time.monotonic() + 60.0
    records: list[Any] = []
    while not any(record.HasField("exit") for record in records):
        assert time.monotonic() < deadline, "wandb's service has not ended the run"
        time.sleep(0.05)
        records = list(_records_in(folder or wandb_folder()))
    return records


def _records_in(folder: Path) -> Iterator[Any]:
    """Protocol buffers in blocks, as LevelDB's logs."""
    (path,) = folder.glob("*.wandb")
    data, position, message = path.read_bytes(), 7, b""
    while position < len(data):
        room = 2**15 - position % 2**15
        if room < 7:
            position += room
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        message += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(message)
            message = b""
            yield record
