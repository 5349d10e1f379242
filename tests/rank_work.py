"""What tests have ranks do, in processes of their own: a module that is soon imported."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv, VectorWrapper

from her_robotics import checkpoint, rank_checkpoints, train
from her_robotics.building import build
from her_robotics.config import Config
from her_robotics.distributed import check_alike, checksum, gather, rank
from her_robotics.rank_checkpoints import RankCheckpoints
from her_robotics.rollout import NonFiniteError
from her_robotics.session import Session
from her_robotics.strict import from_mapping, merge
from her_robotics.types import GoalObs

from .helpers import GoalPoints

POINTS: dict[str, Any] = {
    "wandb": "disabled",
    "env": {"task": "points", "num_envs": 2},
    "agent": {"hidden": [16, 16]},
    "replay": {"capacity": 1000},
    "exploration": {"random_episodes": 4},
    "train": {"steps": 300, "batch_size": 16, "updates_per_step": 0.2, "checkpoint_seconds": 0.0},
    "eval": {"every": 120, "episodes": 5},
    "video": {"enabled": False},
}
"""Ends after 5 cycles of 60 steps of both ranks, with tests after the second, fourth and fifth."""


def configured(changes: dict[str, Any]) -> Config:
    return from_mapping(Config, merge(POINTS, changes))


class Faulty(VectorWrapper):
    """Points of which one rank, at one step of training, is hit by something.

    Args:
        env: the points.
        number: of the rank.
        step: of all steps that it takes.
        fault: a signal, or ``"nan"`` for an observation that is not finite.
    """

    def __init__(self, env: VectorEnv, number: int, step: int, fault: int | str):
        super().__init__(env)
        self._left = step if rank() == number else -1
        self._fault = fault

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
        return self.env.reset(seed=[0] * self.num_envs if seed is None else seed, options=options)

    def step(self, actions: Any) -> tuple:
        shown, *rest = self.env.step(actions)
        self._left -= 1
        if self._left == 0 and isinstance(self._fault, int):
            os.kill(os.getpid(), self._fault)
        elif self._left == 0:
            shown["observation"][:] = np.nan
        return shown, *rest


def session(
    folder: Path,
    changes: dict[str, Any],
    fault: tuple[int, int, int | str] | None = None,
    resume: bool = False,
) -> tuple[int, int, int]:
    """A run: its exit code, how many steps it came to, and the checksum of its weights."""

    def make_env(num_envs: int, test: bool = False, **_: Any) -> VectorEnv:
        points = GoalPoints(num_envs)
        return Faulty(points, *fault) if fault and not test else points

    run = Session(configured(changes), folder, make_env, resume)
    code = run.run()
    check_alike(run.learner.shared(), "in the end")
    return code, run.learner.progress.steps, checksum(run.learner.shared())


def not_finite(folder: Path, when: str, weights: bool) -> tuple[str, int]:
    """A run whose second rank takes an action that is not finite: what it says, and steps that are saved.

    It saves nothing before.

    Args:
        folder: of the run.
        when: ``"training"`` or ``"testing"``.
        weights: whether those of all ranks are not finite either.
    """
    config = configured({"train": {"checkpoint_seconds": 1e6}})
    run = Session(config, folder, lambda num_envs, **_: GoalPoints(num_envs))
    agent, calls = run.learner.agent, iter(range(10**6))
    playing = agent if when == "training" else agent.averaged
    act, poisoned = playing.act, next(agent.policy.parameters()).data

    def spoilt(obs: GoalObs) -> np.ndarray:
        actions = act(obs)
        if next(calls) < 20:
            return actions
        if weights:
            poisoned[:] = np.nan
        return actions * np.nan if rank() == 1 else actions

    playing.act = spoilt
    with pytest.raises(NonFiniteError) as caught:
        run.run()
    return str(caught.value), steps_loaded(folder) if RankCheckpoints(folder).exist() else 0


def begun(arguments: list[str], folder: Path) -> int:
    """A run as the command line asks for it; its exit code."""
    from her_robotics.cli.training import begin, configure_line  # which not all ranks need

    return begin(configure_line(arguments), folder).run()


def trained(kinds: list[dict[str, Any]]) -> list[tuple[int, int, float]]:
    """Of each kind of learner: its seed's first noise, weights before and after a few cycles."""
    found = []
    for changes in kinds:
        learner = build(configured(changes), GoalPoints)
        before, noise = checksum(learner.shared()), learner.replay.generator.random()
        train.train(learner, lambda: None, lambda report: None, lambda: False)
        check_alike(learner.shared(), "in the end")
        found.append((before, checksum(learner.shared()), noise))
    return found


def trained_on_pictures(config: Config, cache: Path) -> tuple[int, int]:
    """Of a learner on one of our tasks: the checksum of its weights before and after training.

    Args:
        config: of the run.
        cache: where goal images are kept.
    """
    from her_robotics.cli.making import env_maker  # which not all ranks need

    os.environ["XDG_CACHE_HOME"] = str(cache)
    learner = build(config, env_maker(config.env))
    before = checksum(learner.shared())
    train.train(learner, lambda: None, lambda report: None, lambda: False)
    check_alike(learner.shared(), "in the end")
    return before, checksum(learner.shared())


def spoilt() -> None:
    """Weights of the second rank lose a bit before an update that is watched."""
    train.CHECK_EVERY = 10
    learner = build(configured({}), GoalPoints)
    if rank() == 1:
        weight: torch.Tensor = learner.agent.state_dict()["critics"]["0.body.2.bias"]
        weight[3] = torch.nextafter(weight[3], torch.ones(()))
    train.train(learner, lambda: None, lambda report: None, lambda: False)


def astray() -> None:
    gather(f"what {rank()} wants", None)


def cut_between_two_checkpoints(folder: Path) -> None:
    """Both ranks write a second checkpoint; the second rank is killed before its own takes its place."""
    checkpoints = RankCheckpoints(folder)
    checkpoints.save({"progress": {"steps": 60}})

    def told_and_killed(what: str, value: Any) -> list[Any]:
        answers = gather(what, value)
        if rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return answers

    rank_checkpoints.gather = told_and_killed
    checkpoints.save({"progress": {"steps": 120}})


def full_disk(folder: Path) -> list[int]:
    """The second rank cannot write its second checkpoint; steps of the one that is read then, and after."""
    checkpoints = RankCheckpoints(folder)
    checkpoints.save({"progress": {"steps": 60}})

    def refused(path: Path, state: dict[str, Any]) -> None:
        real(path, state)
        if rank() == 1:
            raise OSError("no space left")

    real, checkpoint.write_sealed = checkpoint.write_sealed, refused
    with pytest.raises(OSError, match="rank 1: no space left" if rank() == 0 else "no space left"):
        checkpoints.save({"progress": {"steps": 120}})
    found = [steps_loaded(folder)]
    checkpoint.write_sealed = real
    checkpoints.save({"progress": {"steps": 180}})
    return [*found, steps_loaded(folder)]


def steps_loaded(folder: Path) -> int:
    return RankCheckpoints(folder).load()["progress"]["steps"]
