"""The comparison of methods: what each gives, how it keeps to its budget, and that it learns."""

from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from benchmarks.cells import Cell, run_cells
from benchmarks.methods import (
    Arguments,
    Comparison,
    format_results,
    list_cells,
    refuse_nonsense,
    run_cell,
    sum_up,
)
from her_robotics.building import read_task
from her_robotics.cli.making import env_maker
from her_robotics.config import EnvConfig
from her_robotics.errors import UserError
from her_robotics.evaluate import Evaluation, evaluate
from her_robotics.methods import METHODS, Problem
from her_robotics.point_env import ROBOT
from her_robotics.train import TEST
from her_robotics.types import GoalObs

POINT = env_maker(EnvConfig(task="her_robotics.point_env:PointRobot-v0"))
PENDULUM = env_maker(EnvConfig(task="envs.pendulum:PendulumGoal-v0"))
LEARNERS = [name for name in METHODS if name != "random"]
SHORT = 900
"""Env steps in which nothing need be learnt."""
MARGIN = 0.5
"""Share of random actions' loss that a method must at least save."""
BUDGETS = {"ddpg": 2000, "svg": 2000, "ddpg_her": 1200, "svg_infinity": 1600}
EVOLUTION = ("cem", "cma_es")
"""They search a space of parameters blindly, and get a small one."""
BUDGET = 8000
SHOWN = GoalObs(*(np.random.default_rng(0).uniform(-1.0, 1.0, (5, size)) for size in (4, 2, 2)))


@cache
def point_robots() -> tuple[gym.vector.VectorEnv, Any]:
    env = POINT(64)
    return env, read_task(env)


def judged(act: Any) -> Evaluation:
    env, task = point_robots()
    return evaluate(env, task, act, 128, 0, TEST)


@cache
def short_run(name: str, seed: int = 0) -> tuple[list[int], list[np.ndarray]]:
    """Env steps, and what the policy does in five situations, after each iteration."""
    learning = METHODS[name](Problem(POINT, SHORT, seed, hidden=(8,)))
    steps, actions = zip(*((steps, act(SHOWN)) for steps, act in learning), strict=True)
    return list(steps), list(actions)


@pytest.mark.parametrize("name", METHODS)
def test_the_budget_is_spent_and_overdrawn_by_less_than_an_iteration(name: str) -> None:
    steps, _ = short_run(name)
    assert steps == sorted(set(steps))
    assert steps[-1] >= SHORT
    assert all(each < SHORT for each in steps[:-1])


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_learns_the_same_and_another_something_else(name: str) -> None:
    first = short_run(name)
    again = short_run.__wrapped__(name)
    assert again[0] == first[0]
    assert np.array_equal(again[1], first[1])
    assert not np.array_equal(short_run(name, seed=1)[1][-1], first[1][-1])


def test_no_two_methods_are_the_same() -> None:
    ends = {name: short_run(name)[1][-1].round(4).tobytes() for name in METHODS}
    alike = {"trpo": "tnpg"}  # as long as no step need be shortened
    assert len(set(ends.values())) >= len(METHODS) - len(alike)


@pytest.mark.parametrize("name", LEARNERS)
def test_policies_change_as_they_learn(name: str) -> None:
    _, actions = short_run(name)
    assert actions[0].shape == (5, 2)
    assert not np.array_equal(actions[0], actions[-1])
    assert not np.array_equal(actions[-1][0], actions[-1][1]), "they act on what they are shown"


@pytest.mark.parametrize("name", LEARNERS)
def test_a_few_thousand_steps_save_half_of_what_random_actions_lose(name: str) -> None:
    hidden = (8,) if name in EVOLUTION else (32, 32)
    *_, (_, act) = METHODS[name](Problem(POINT, BUDGETS.get(name, BUDGET), hidden=hidden))
    *_, (_, random) = METHODS["random"](Problem(POINT, 1))
    assert judged(act).mean_return > (1.0 - MARGIN) * judged(random).mean_return


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
    env, task = point_robots()
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


def arguments(folder: Path, **options: Any) -> Arguments:
    given = {"tasks": ("point_robot", "pendulum"), "methods": ("random", "ddpg_her"), "budget": 160}
    small = {"seeds": (0, 1), "tests": 2, "episodes": 5, "hidden": (8,)}
    return Arguments(**{**given, **small, "runs": folder, **options})


def test_a_benchmarks_cells_are_done_once_and_summed_up(tmp_path: Path) -> None:
    given = arguments(tmp_path)
    work, cells = Comparison(given), list_cells(given)
    assert Cell("pendulum", "ddpg_her", 0) not in cells, "hindsight needs goals to choose from"
    assert len(cells) == 6
    for cell in cells:
        assert not work.is_done(cell)
        run_cell(work, cell)
        assert work.is_done(cell)
    results = sum_up(work, cells)
    figures = results["tasks"]["point_robot"]["ddpg_her"]
    assert [point["step"] for point in figures["runs"][0]["curve"]] == [80, 160]
    last = [run["curve"][-1]["return"] for run in figures["runs"]]
    assert figures["return"]["mean"] == pytest.approx(np.mean(last))
    assert figures["return"]["deviation"] == pytest.approx(np.std(last, ddof=1))
    assert "success" not in results["tasks"]["pendulum"]["random"]
    header, first, second = format_results(results).splitlines()
    assert "point_robot, success" in header
    assert "pendulum, success" not in header
    assert first.startswith("random")
    assert second.split()[-1] == "-"
    with pytest.raises(UserError, match="was run with budget = 160, not 240: give another folder"):
        Comparison(arguments(tmp_path, budget=240)).is_done(cells[0])


def test_a_benchmark_runs_its_cells_in_processes_and_tells_which_failed(tmp_path: Path) -> None:
    work = Comparison(arguments(tmp_path / "cells"))
    good, bad = Cell("point_robot", "random", 0), Cell("point_robot", "nothing", 0)
    run_cell(work, good)
    (failure,) = run_cells(work, [good, bad], workers=2)
    assert failure == "point_robot/nothing/0: KeyError: 'nothing'"
    assert work.is_done(good)
    assert not work.is_done(bad)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"methods": ("ppo",)}, "unknown method 'ppo': choose among random, reinforce"),
        ({"tasks": ("cartpole",)}, "unknown task 'cartpole': choose among point_robot"),
        ({"budget": 0}, "--budget must be at least 1, not 0"),
        ({"seeds": ()}, "--seeds must be at least 1, not 0"),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        refuse_nonsense(arguments(tmp_path, **options))
