"""Worker processes that die: started again, or named where they die again and again."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from envs.fleet import LocalFleet, WorkerError
from envs.workers import WorkerFleet
from her_robotics.checkpoint import load_checkpoint
from her_robotics.cli import training
from her_robotics.cli.making import env_maker
from her_robotics.run_folder import DIVERGED, METRICS

from .broken_envs import Doomed
from .healthy_envs import HORIZON, Healthy
from .runs import command, rows, watched

SEEDS = {0: 5, 1: 6, 2: 7}
STILL = np.zeros((3, 2))
OPTIONS = (
    "--wandb disabled --video.enabled false --replay.capacity 5000 --env.num_envs 2 --env.workers 2 "
    "--agent.hidden 8 8 --exploration.random_episodes 2 --train.batch_size 8 "
    "--train.updates_per_step 0.1 --train.steps 48 --eval.every 24 --eval.episodes 3 --eval.num_envs 1"
)
SETTINGS = OPTIONS.split()


@pytest.fixture
def fleet() -> Iterator[WorkerFleet]:
    """Two envs in one worker, and one in another."""
    made = WorkerFleet(Healthy, 3, 2)
    yield made
    made.close()
    assert multiprocessing.active_children() == []


@pytest.fixture
def alone() -> LocalFleet:
    return LocalFleet(Healthy, 3)


@pytest.fixture(params=[Healthy, Doomed])
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """Id of an env."""
    name = f"Workers/{request.param.__name__}-v0"
    gym.register(name, entry_point=request.param, max_episode_steps=HORIZON)
    yield name
    del gym.registry[name]


def workers() -> list[int]:
    """Process ids, in the order in which they were started."""
    children = multiprocessing.active_children()
    return [
        child.pid or 0 for child in sorted(children, key=lambda c: int(c.name.rpartition("-")[2]))
    ]


def kill(worker: int) -> None:
    os.kill(workers()[worker], signal.SIGKILL)


def same(left: list[Any], right: list[Any]) -> bool:
    """Whether envs show the same."""
    return all(
        a.keys() == b.keys() and all(np.array_equal(a[part], b[part]) for part in a)
        for a, b in zip(left, right, strict=True)
    )


def test_a_worker_that_is_killed_is_started_again_and_its_envs_alone_are_lost(
    fleet: WorkerFleet, alone: LocalFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    for each in (fleet, alone):
        each.reset(SEEDS)
    kill(1)
    steps, expected = fleet.step(STILL), alone.step(STILL)
    assert [step.lost for step in steps] == [False, False, True]
    assert same([step.observation for step in steps[:2]], [s.observation for s in expected[:2]])
    assert all(np.isnan(part).all() for part in steps[2].observation.values())
    assert capsys.readouterr().err == (
        "warning: worker process 1, which steps envs 2 to 2, died with exit code -9; it is started "
        "again, and what its envs were at is lost\n"
    )
    assert same(fleet.reset({2: 9}), alone.reset({2: 9}))
    steps, expected = fleet.step(STILL + 0.5), alone.step(STILL + 0.5)
    assert not any(step.lost for step in steps)
    assert same([step.observation for step in steps], [step.observation for step in expected])
    # Between episodes nothing is lost.
    kill(0)
    assert same(fleet.reset(SEEDS), alone.reset(SEEDS))
    assert capsys.readouterr().err.startswith(
        "warning: worker process 0, which steps envs 0 to 1, "
    )
    # State dies with its envs.
    kill(0)  # now the other one: the worker that was started last is the last
    with pytest.raises(WorkerError, match=r"process 1, .* died with exit code -9"):
        fleet.get_state()
    assert same(fleet.reset(SEEDS), alone.reset(SEEDS))


@pytest.mark.parametrize("name", [Healthy], indirect=True)
def test_training_goes_on_without_the_episodes_of_a_worker_that_was_killed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = tmp_path / "run", env_maker
    killed: list[int] = []

    def look(taken: int, shown: dict[str, np.ndarray]) -> None:
        if taken == HORIZON + 5:  # in the second training episode of every env
            killed.append(1)
            kill(1)

    def look_at_tests(taken: int, shown: dict[str, np.ndarray]) -> None:
        if taken == 5:  # in the first test, before the other kill
            killed.append(-1)
            kill(-1)

    def make(env: Any, run: Path | None = None) -> Any:
        return watched(watched(real(env, run), look, 2), look_at_tests, 1)

    monkeypatch.setattr(training, "env_maker", make)
    outcome = command("train", "--env", name, "--out", folder, *SETTINGS)
    assert outcome.code == 0, outcome.err
    assert sorted(killed) == [-1, 1]
    assert outcome.err.count("it is started again") == 2
    assert "the process of env 1 died at step 6: the episode is dropped" in outcome.err
    assert [row["diverged"] for row in rows(folder / METRICS) if "diverged" in row] == [1]
    assert [row["test/episodes"] for row in rows(folder / METRICS)] == [3, 3]
    state = load_checkpoint(folder)
    assert (state["progress"]["episodes"], state["replay"]["added"]) == (4, 3)
    assert state["progress"]["diverging"] == 0.0
    with np.load(folder / DIVERGED / "0001.npz") as kept:
        assert (kept["env"], kept["cause"]) == (1, "died")


@pytest.mark.parametrize("name", [Doomed], indirect=True)
def test_a_run_whose_worker_dies_again_and_again_ends_saying_which_and_why(
    name: str, tmp_path: Path
) -> None:
    alone = ("--env.num_envs", "1", "--env.workers", "1")
    outcome = command("train", "--env", name, "--out", tmp_path / "run", *SETTINGS, *alone)
    assert outcome.code == 1
    last = outcome.err.splitlines()[-1]
    said = "her-robotics: error: worker process 0, which steps envs 0 to 0, died with exit code 3, "
    assert last.startswith(said + "which is death 3 within")
    assert last.endswith("it is not started again")
