"""The comparison of methods: what each gives, how it keeps to its budget, and that it learns."""

import json
import subprocess
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from benchmarks.methods import Cell, format_results, measure
from envs.adapter import GoalVectorEnv
from her_robotics.evaluate import Evaluation, evaluate
from her_robotics.learner import read_task
from her_robotics.methods import METHODS, Problem
from her_robotics.point_env import ROBOT
from her_robotics.train import TEST
from her_robotics.types import GoalObs

ROOT = Path(__file__).resolve().parents[1]
POINT = partial(GoalVectorEnv, "her_robotics.point_env:PointRobot-v0")
PENDULUM = partial(GoalVectorEnv, "envs.pendulum:PendulumGoal-v0")
LEARNERS = [name for name in METHODS if name != "random"]
SHORT = 1200
"""Env steps in which nothing need be learnt."""
MARGIN = 0.5
"""Share of random actions' loss that a method must at least save."""
BUDGETS = {"ddpg": 2000, "svg": 2000, "ddpg_her": 1200}
BUDGET = 6000


@cache
def tested_on() -> tuple[gym.vector.VectorEnv, Any]:
    env = POINT(64)
    return env, read_task(env)


def judged(act: Any) -> Evaluation:
    env, task = tested_on()
    return evaluate(env, task, act, 128, 0, TEST)


@cache
def returns_of(name: str, seed: int = 0, budget: int = SHORT) -> tuple[tuple[int, float], ...]:
    """Steps and the return of the policy after each iteration."""
    learning = METHODS[name](Problem(POINT, budget, seed))
    return tuple((steps, judged(act).mean_return) for steps, act in learning)


@pytest.mark.parametrize("name", METHODS)
def test_the_budget_is_spent_and_overdrawn_by_less_than_an_iteration(name: str) -> None:
    steps = [each for each, _ in returns_of(name)]
    assert steps == sorted(set(steps))
    assert steps[-1] >= SHORT
    assert all(each < SHORT for each in steps[:-1])


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_learns_the_same_and_another_something_else(name: str) -> None:
    first = returns_of(name)
    state = np.random.get_state()[1].copy()
    returns_of.cache_clear()
    assert returns_of(name) == first
    assert np.array_equal(np.random.get_state()[1], state), "the global generator is left alone"
    assert returns_of(name, seed=1)[-1] != first[-1]


@pytest.mark.parametrize("name", LEARNERS)
def test_a_few_thousand_steps_save_half_of_what_random_actions_lose(name: str) -> None:
    *_, (_, act) = METHODS[name](Problem(POINT, BUDGETS.get(name, BUDGET)))
    *_, (_, random) = METHODS["random"](Problem(POINT, 1))
    assert judged(act).mean_return > (1.0 - MARGIN) * judged(random).mean_return


def test_hindsight_reaches_goals_where_plain_ddpg_does_not() -> None:
    found = {
        name: measure(name, Problem(POINT, 4000), tests=1, episodes=64)[-1]["success"]
        for name in ("ddpg", "ddpg_her")
    }
    assert found["ddpg_her"] > found["ddpg"] + 0.1


@pytest.mark.parametrize("name", METHODS)
def test_envs_are_closed_when_nobody_asks_for_more(name: str) -> None:
    made: list[gym.vector.VectorEnv] = []

    def make_env(*arguments: Any, **options: Any) -> gym.vector.VectorEnv:
        made.append(POINT(*arguments, **options))
        return made[-1]

    learning = METHODS[name](Problem(make_env, SHORT))
    next(learning)
    assert made
    assert not any(env.closed for env in made)
    learning.close()
    assert all(env.closed for env in made)


def test_the_point_robots_env_is_the_point_robot() -> None:
    env, task = tested_on()
    shown, _ = env.reset(seed=list(range(64)))
    state, goal = shown["observation"], shown["desired_goal"]
    assert task.shape.horizon == ROBOT.horizon
    assert np.abs(state[:, :2]).max() <= 1.0
    assert not state[:, 2:].any()
    for _ in range(ROBOT.horizon):
        shown, reward, *_ = env.step(np.ones((64, 2)))
        assert shown["achieved_goal"] == pytest.approx(shown["observation"][:, :2])
        distance = np.linalg.norm(shown["achieved_goal"] - goal, axis=-1)
        assert reward == pytest.approx(-(distance**2), rel=1e-5)
        assert reward == pytest.approx(env.compute_reward(shown["achieved_goal"], goal, {}))
    # Where a constant force of 96% against drag comes to, by the closed form of the recursion.
    force, drag, period = ROBOT.force * np.tanh(2.0), ROBOT.drag, ROBOT.period
    velocity = force / drag * (1.0 - (1.0 - drag * period) ** ROBOT.horizon)
    assert shown["observation"][:, 2:] == pytest.approx(velocity, rel=1e-5)


def test_the_pendulums_returns_are_gymnasiums() -> None:
    ours, theirs = PENDULUM(1), gym.make("Pendulum-v1")
    shown, _ = ours.reset(seed=[3])
    begun, _ = theirs.reset(seed=3)
    assert shown["observation"][0] == pytest.approx(begun)
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (200, 1, 1))
    for action in actions:
        shown, reward, *_, truncated, info = ours.step(action)
        observation, expected, _, _, _ = theirs.step((2.0 * action[0]).astype(np.float32))
        assert shown["observation"][0] == pytest.approx(observation, abs=1e-5)
        judged = ours.compute_reward(shown["achieved_goal"], shown["desired_goal"], {})
        assert reward == pytest.approx([expected])
        assert judged == pytest.approx(reward)
        assert not info["is_success"].any()
    assert truncated.all()


def test_a_pendulum_is_judged_by_the_shorter_way_round() -> None:
    one, other = np.array([[np.pi - 0.1, 0.0, 0.0]]), np.array([[-np.pi + 0.1, 0.0, 0.0]])
    assert PENDULUM(1).compute_reward(one, other, {}) == pytest.approx([-0.04])


def test_policies_act_on_what_they_are_shown() -> None:
    learning = METHODS["cem"](Problem(POINT, SHORT))
    _, act = next(learning)
    near, far = np.zeros((1, 4)), np.full((1, 4), 0.5)
    goal = np.array([[0.3, -0.3]])
    one = act(GoalObs(near, near[:, :2], goal))
    assert one.shape == (1, 2)
    assert not np.allclose(one, act(GoalObs(far, far[:, :2], goal)))
    assert not np.allclose(one, act(GoalObs(near, near[:, :2], -goal)))


def benchmark(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.methods", "--runs", str(folder / "cells")]
    command += ["--out", str(folder / "methods.json"), "--tasks", "point_robot", "pendulum"]
    command += ["--methods", "random", "ddpg_her", "--tests", "2", "--episodes", "5"]
    return subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)


def test_the_benchmark_goes_on_where_it_was_and_refuses_cells_of_other_settings(
    tmp_path: Path,
) -> None:
    options = ("--budget", "160", "--seeds", "0")
    done = benchmark(tmp_path, *options)
    assert done.returncode == 0, done.stderr
    kept = Cell("point_robot", "ddpg_her", 0).path(tmp_path / "cells")
    first, written = kept.read_text(), kept.stat().st_mtime_ns
    content = json.loads((tmp_path / "methods.json").read_text())
    tasks = content["results"]["tasks"]
    assert list(tasks) == ["point_robot", "pendulum"]
    assert list(tasks["pendulum"]) == ["random"], "hindsight needs goals to choose from"
    assert [point["step"] for point in json.loads(first)["curve"]] == [80, 160]
    assert done.stdout.strip() == format_results(content["results"])
    again = benchmark(tmp_path, "--budget", "160", "--seeds", "0", "1")
    assert again.returncode == 0, again.stderr
    assert kept.stat().st_mtime_ns == written
    figures = json.loads((tmp_path / "methods.json").read_text())["results"]["tasks"]
    runs = figures["point_robot"]["ddpg_her"]
    last = [run["curve"][-1]["return"] for run in runs["runs"]]
    assert runs["return"]["mean"] == pytest.approx(np.mean(last))
    assert runs["return"]["deviation"] == pytest.approx(np.std(last, ddof=1))
    other = benchmark(tmp_path, "--budget", "240", "--seeds", "0")
    assert other.returncode == 2
    assert "was measured with" in other.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--methods", "ppo"), "unknown method 'ppo': choose among random, reinforce"),
        (("--tasks", "cartpole"), "unknown task 'cartpole': choose among point_robot"),
        (("--budget", "0"), "--budget must be at least 1, not 0"),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    done = benchmark(tmp_path, *options)
    assert done.returncode == 1
    assert words in done.stderr
