"""Envs in worker processes: the same as in this one, and no processes or hangs left behind."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from envs.adapter import GoalVectorEnv
from envs.fleet import Fleet, LocalFleet, WorkerError
from envs.making import GoalEnvError
from envs.workers import WorkerFleet

from .healthy_envs import HORIZON, Healthy

ROOT = Path(__file__).parent.parent
SEEDS, SEEDS_OF_TWO = {0: 5, 1: 6, 2: 7}, {0: 5, 1: 6}
Make = Callable[..., WorkerFleet]


class Fragile(Healthy):
    """Healthy, but fails at large actions."""

    def step(self, action: np.ndarray) -> Any:
        if action[0] > 1.0:
            raise ArithmeticError("snapped")
        return super().step(action)


class Heavy(Healthy):
    """Healthy, with pictures that fill a pipe, and none on one seed."""

    def render(self) -> Any:
        if self.np_random_seed == SEEDS[0]:
            raise ArithmeticError("dark")
        return np.zeros((2000, 2000), np.uint8)


def each(nested: Any, look: Callable[[Any], Any]) -> Any:
    """``look`` at every array and number in nested dicts, lists and tuples."""
    if isinstance(nested, dict):
        return {name: each(value, look) for name, value in nested.items()}
    if isinstance(nested, (list, tuple)):
        return [each(value, look) for value in nested]
    return look(nested)


def bits(nested: Any) -> Any:
    """What equals only what is the same to the last bit."""
    arrays = each(nested, np.asarray)
    return each(arrays, lambda array: (array.dtype, array.shape, array.tobytes()))


def random_steps(env: Any, steps: int, first: int = 0) -> list[Any]:
    """Steps of a vector env by random actions, which in each env are its own."""
    size = env.single_action_space.shape
    generators = [np.random.default_rng(first + index) for index in range(env.num_envs)]
    actions = ([g.uniform(-1.0, 1.0, size) for g in generators] for _ in range(steps))
    return [env.step(np.stack(rows)) for rows in actions]


def actions(*first: float) -> np.ndarray:
    """Actions whose first numbers are these."""
    return np.stack([first, np.zeros(len(first))], axis=1)


def episode(env: Any, workers: int) -> Any:
    """An episode of an env given in some way."""
    with contextlib.closing(GoalVectorEnv(env, 1, workers, HORIZON)) as made:
        return bits([made.reset(seed=0), *random_steps(made, HORIZON)])


@pytest.fixture
def registered() -> Iterator[str]:
    """Id of an env that is registered here and nowhere else."""
    name = "FleetTests/Healthy-v0"
    gym.register(name, entry_point=Healthy, max_episode_steps=HORIZON)
    yield name
    del gym.registry[name]


@pytest.fixture
def make() -> Iterator[Make]:
    """Builds fleets of workers and closes them; after that no process may be left."""
    made: list[WorkerFleet] = []

    def build(*arguments: Any) -> WorkerFleet:
        made.append(WorkerFleet(*arguments))
        return made[-1]

    yield build
    for fleet in made * 2:  # to close twice does nothing
        fleet.close()
    assert multiprocessing.active_children() == []


def processes() -> list[int]:
    """The workers, in the order in which they were started."""
    number = {
        one.pid: int(one.name.rpartition("-")[2]) for one in multiprocessing.active_children()
    }
    return sorted((pid for pid in number if pid), key=lambda pid: number[pid])


def test_workers_show_what_envs_in_this_process_show(make: Make) -> None:
    def story(fleet: Fleet) -> list[Any]:
        told: list[Any] = [fleet.reset(SEEDS), fleet.step(actions(0.1, 0.2, 0.3)), fleet.render()]
        told += [fleet.reset({1: 9}), fleet.reset({2: None, 0: 3}), fleet.step(actions(1, 0, -1))]
        state, after = fleet.get_state(), fleet.step(actions(0.5, 0.6, 0.7))
        fleet.set_state(state)
        assert bits(fleet.step(actions(0.5, 0.6, 0.7))) == bits(after)
        return bits([*told, after])

    assert story(make(Healthy, 3, 2)) == story(LocalFleet(Healthy, 3))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_a_vector_env(workers: int) -> None:
    def story(env: GoalVectorEnv) -> Any:
        told = [env.reset(seed=5), *random_steps(env, 3)]
        for mask in ([False, True, True], [True, False, False]):
            told += [env.reset(options={"reset_mask": np.array(mask)}), *random_steps(env, 3)]
        told += [env.reset(seed=[None, 1, None]), env.render(), env.reset()]
        env.close()
        return bits(told)

    options = {"max_episode_steps": HORIZON, "render_mode": "rgb_array"}
    alone, shared = (GoalVectorEnv(Healthy, 3, workers=n, **options) for n in (0, workers))
    assert story(shared) == story(alone)
    assert processes() == []


def test_ctrl_c_is_not_for_the_workers(make: Make) -> None:
    fleet = make(Healthy, 2, 2)
    fleet.reset(SEEDS_OF_TWO)
    for pid in processes():
        os.kill(pid, signal.SIGINT)
    time.sleep(0.2)
    assert len(fleet.step(actions(0, 0))) == len(processes()) == 2


def test_what_keeps_a_worker_from_making_its_envs_is_told(tmp_path: Path) -> None:
    only_one = tmp_path / "only one"

    def make_one() -> gym.Env:
        only_one.mkdir()
        return Healthy()

    with pytest.raises(WorkerError, match=r"process [01] failed: FileExistsError: .*only one"):
        WorkerFleet(make_one, 2, 2)
    assert processes() == []


def test_what_fails_in_a_step_is_told_and_the_envs_can_be_reset(make: Make) -> None:
    fleet, alone = make(Fragile, 3, 2), LocalFleet(Healthy, 3)
    fleet.reset(SEEDS)
    with pytest.raises(
        WorkerError, match=r"process 0 failed: ArithmeticError: snapped \(step, line"
    ):
        fleet.step(actions(0, 1.5, 0))
    assert bits(fleet.reset(SEEDS)) == bits(alone.reset(SEEDS))
    assert bits(fleet.step(actions(0, 0, 1))) == bits(alone.step(actions(0, 0, 1)))


def test_a_failure_beside_a_large_answer_does_not_hold_up_the_end(make: Make) -> None:
    fleet = make(Heavy, 2, 2)
    fleet.reset(SEEDS_OF_TWO)
    with pytest.raises(WorkerError, match="dark"):
        fleet.render()
    begun = time.monotonic()
    fleet.close()
    assert time.monotonic() - begun < 3.0


@pytest.mark.parametrize(
    ("end", "code"), [("os.kill(os.getpid(), 9)", -9), ("os._exit(0)", 0), ("1 / 0", 1)]
)
def test_workers_end_with_the_process_that_trains(end: str, code: int) -> None:
    script = f"import os\nfrom envs.workers import WorkerFleet\nfrom {Healthy.__module__} import Healthy\n"
    script += f"fleet = WorkerFleet(Healthy, 2, 2)\nfleet.reset({SEEDS_OF_TWO})\n{end}"
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, timeout=30, check=False
    )  # it waits for all that hold the other end of its pipes
    assert ended.returncode == code, ended.stderr


@pytest.mark.parametrize("workers", [0, 1])
def test_however_an_env_is_given_its_episodes_are_the_same(
    workers: int, registered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"import gymnasium\ngymnasium.register('Mine-v0', '{Healthy.__module__}:Healthy')"
    (tmp_path / "fleet_test_module.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    ways = ["fleet_test_module:Mine-v0", registered, gym.spec(registered), Healthy]
    if not workers:
        ways += [gym.make(registered), lambda: gym.make(registered), Healthy()]
    raw = gym.make(registered)
    shown, _ = raw.reset(seed=0)
    first = bits({part: values[None] for part, values in shown.items()})
    played = [episode(way, workers) for way in ways]
    assert all(one == played[0] for one in played)
    assert played[0][0][0] == first


@pytest.mark.parametrize("workers", [0, 1])
def test_without_a_seed_no_two_envs_begin_alike(workers: int) -> None:
    goals = []
    for _ in range(2):
        with contextlib.closing(GoalVectorEnv(Healthy, 2, workers, HORIZON)) as env:
            goals += env.reset()[0]["desired_goal"].tolist()
    assert len({*map(tuple, goals)}) == 4


@pytest.mark.parametrize("more", [{"num_envs": 2}, {"workers": 1}])
def test_an_object_that_gym_did_not_make_serves_but_once(more: dict[str, int]) -> None:
    with pytest.raises(GoalEnvError, match="the class or a function"):
        GoalVectorEnv(Healthy(), **more)


def test_whoever_registered_the_official_envs_they_can_be_made() -> None:
    code = "import gymnasium_robotics, envs.adapter; envs.adapter.GoalVectorEnv('FetchReach-v4')"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, check=True)
