"""Saved states: going on from one is going on as if nothing had happened in between."""

import copy
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from envs import TASKS
from envs.fetch import FetchVectorEnv, ObsDict
from envs.single import FetchEnv

from .conftest import MakeEnv
from .helpers import push_the_object

AnyEnv = FetchVectorEnv | FetchEnv
Step = dict[str, Any]
PAIRS = [(name, goal) for name, task in TASKS.items() for goal in task.goal_names]
RANDOM = {"mass": 0.3, "friction": 0.3, "size": 0.3}
VARIED = [
    *((name, {"goal": goal}) for name, goal in PAIRS),
    *((name, {"randomize": RANDOM}) for name, task in TASKS.items() if task.has_object),
]
HORIZON = 16
SAVED, AFTER = 12, 8
"""Steps before a state is saved and after it, over the horizon's end."""


def play(env: AnyEnv, shown: ObsDict, steps: int, seed: int = 0) -> list[Step]:
    """Drive the gripper into the object, starting from what was shown last."""
    generator = np.random.default_rng(seed)
    taken: list[Step] = []
    for _ in range(steps):
        observation = np.atleast_2d(shown["observation"])[:, :25]
        action = push_the_object(observation, generator).reshape(env.action_space.shape)
        shown, reward, terminated, truncated, info = env.step(action)
        ends = {"terminated": terminated, "truncated": truncated, "success": info["is_success"]}
        taken.append({**shown, "reward": reward, **ends})
    return taken


def future(env: AnyEnv, shown: ObsDict) -> list[Step]:
    """The rest of the episode, the next one's start from the env's own generators, and its first steps."""
    rest = play(env, shown, AFTER, seed=1)
    start, _ = env.reset()
    return [*rest, start, *play(env, start, 3, seed=2)]


def half_way(env: AnyEnv, seed: int = 3) -> tuple[ObsDict, dict[str, Any]]:
    """Play to the middle of an episode; what is shown there, and the state."""
    shown, _ = env.reset(seed=seed)
    shown = play(env, shown, SAVED)[-1]
    return shown, env.get_state()


def assert_same(one: Any, other: Any) -> None:
    """Hold two nests of dicts, lists and arrays to be equal bit for bit."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), [other[name] for name in one]
    if isinstance(one, list | tuple):
        for mine, its in zip(one, other, strict=True):
            assert_same(mine, its)
    else:
        np.testing.assert_array_equal(one, other)


def spoil(state: Any) -> None:
    """Overwrite every array and number in a state."""
    for name, value in state.items() if isinstance(state, dict) else enumerate(state):
        if isinstance(value, np.ndarray):
            value[...] = 7
        elif isinstance(value, dict | list):
            spoil(value)
        elif isinstance(value, int):
            state[name] = 7


@pytest.mark.parametrize("single", [False, True], ids=["vector env", "single env"])
@pytest.mark.parametrize(("task", "varied"), VARIED)
def test_from_a_restored_state_everything_goes_on_as_it_would_have(
    task: str, varied: dict[str, Any], single: bool, make_env: MakeEnv
) -> None:
    options = {**varied, "max_episode_steps": HORIZON, "reward_type": "dense"}

    def make() -> AnyEnv:
        if single:
            return FetchEnv(task, **options)
        return make_env(task, num_envs=2, **options)

    env, fresh = make(), make()
    shown, state = half_way(env)
    expected = future(env, shown)
    play(env, env.reset(seed=50)[0], 5)
    for other in (env, fresh):
        other.set_state(pickle.loads(pickle.dumps(state)))
        assert_same(other.get_state(), state)
        assert_same(future(other, shown), expected)


def test_the_futures_compared_have_contact_and_truncation_in_them(make_env: MakeEnv) -> None:
    env = make_env("fetch_push", num_envs=2, max_episode_steps=HORIZON)
    start, _ = env.reset(seed=3)
    shown, _ = half_way(env)
    rest = play(env, shown, AFTER, seed=1)
    places = [there["achieved_goal"] for there in (start, shown, rest[-1])]
    assert (np.linalg.norm(np.diff(places, axis=0), axis=2).max(axis=1) > 0.02).all()
    assert [step["truncated"].all() for step in rest] == [False] * 3 + [True] * 5


def test_pictures_in_between_change_nothing_and_come_back_too(make_env: MakeEnv) -> None:
    drawing = {"render_mode": "rgb_array", "width": 64, "height": 64, "randomize": RANDOM}
    env = make_env("fetch_pick_and_place", num_envs=2, **drawing)
    shown, state = half_way(env)
    frames = env.render()
    expected = future(env, shown)
    assert any((now != then).any() for now, then in zip(env.render(), frames, strict=True))
    env.set_state(state)
    assert_same(env.render(), frames)
    assert_same(future(env, shown), expected)


def test_partial_resets_are_undone_and_repeated(make_env: MakeEnv) -> None:
    env = make_env("fetch_push", num_envs=3, max_episode_steps=HORIZON, randomize=RANDOM)
    mask = {"reset_mask": np.array([False, True, False])}
    shown, state = half_way(env)
    shown, _ = env.reset(options=mask)
    mixed, expected = env.get_state(), future(env, shown)
    assert mixed["steps"].tolist() == [SAVED, 0, SAVED]
    env.set_state(state)
    assert_same(env.reset(options=mask)[0], shown)
    assert_same(env.get_state(), mixed)
    assert_same(future(env, shown), expected)


def test_a_state_is_a_copy_in_both_directions(make_env: MakeEnv) -> None:
    env = make_env("fetch_push", num_envs=2, max_episode_steps=HORIZON, randomize=RANDOM)
    shown, state = half_way(env)
    kept = copy.deepcopy(state)
    expected = future(env, shown)
    assert_same(state, kept)
    env.set_state(state)
    future(env, shown)
    assert_same(state, kept)
    env.set_state(state)
    spoil(state)
    assert_same(env.get_state(), kept)
    spoil(env.get_state())
    assert_same(future(env, shown), expected)


def test_a_state_from_before_the_first_reset_is_one_too(make_env: MakeEnv) -> None:
    env = make_env("fetch_push")
    state = env.get_state()
    expected = env.reset(seed=4)[0]
    env.set_state(state)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros((1, 4)))
    assert_same(env.reset(seed=4)[0], expected)


def test_a_divergence_happens_again_from_the_state_before_it(
    make_env: MakeEnv, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # where MuJoCo writes its log
    env = make_env("fetch_push", num_envs=2)
    env.reset(seed=0)
    env._simulations.qvel[1] = 1e12
    state = env.get_state()
    shown = [env.step(np.zeros((2, 4)))[0] for _ in range(2)]
    assert np.isnan(shown[0]["observation"]).any(axis=1).tolist() == [False, True]
    env.set_state(state)
    assert_same([env.step(np.zeros((2, 4)))[0] for _ in range(2)], shown)


OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "another task": ("fetch_pick_and_place", {}),
    "a task of the same sizes": ("fetch_slide", {}),
    "a task with more objects": ("fetch_push_two", {}),
    "a task without objects": ("fetch_reach", {}),
    "more simulations": ("fetch_push", {"num_envs": 3}),
    "fewer simulations": ("fetch_push", {"num_envs": 1}),
    "a longer goal": ("fetch_push", {"goal": "joints"}),
    "a goal of the same length": ("fetch_push", {"goal": "gripper"}),
    "the other model": ("fetch_push", {"model": "stock"}),
    "randomised objects": ("fetch_push", {"randomize": RANDOM}),
}


@pytest.mark.parametrize(("task", "options"), OTHERS.values(), ids=OTHERS)
def test_a_state_of_another_env_is_refused_both_ways_and_changes_nothing(
    task: str, options: dict[str, Any], make_env: MakeEnv
) -> None:
    one, other = make_env("fetch_push", num_envs=2), make_env(task, **{"num_envs": 2, **options})
    for env, stranger in ((one, other), (other, one)):
        shown, mine = half_way(env)
        expected = future(env, shown)
        env.set_state(mine)
        stranger.reset(seed=5)
        with pytest.raises(ValueError, match=r"saved|state"):
            env.set_state(stranger.get_state())
        assert_same(env.get_state(), mine)
        assert_same(future(env, shown), expected)


@pytest.mark.parametrize(("task", "goal"), PAIRS)
def test_goals_given_by_hand_are_shown_and_judged_until_the_next_reset(
    task: str, goal: str, make_env: MakeEnv
) -> None:
    env = make_env(task, goal=goal, num_envs=2)
    drawn, _ = env.reset(seed=0)
    given = np.stack([drawn["achieved_goal"][0], drawn["achieved_goal"][1] + 1.0])
    env.goals = handed = given.copy()
    handed[:], env.goals[:] = 8.0, 9.0
    for _ in range(2):
        shown, reward, _, _, info = env.step(np.zeros((2, 4)))
        assert_same(shown["desired_goal"], given)
        assert info["is_success"].tolist() == [True, False]
        assert reward.tolist() == [0.0, -1.0]
    shown, _ = env.reset(options={"reset_mask": np.array([False, True])})
    assert_same(shown["desired_goal"][0], given[0])
    assert (shown["desired_goal"][1] != given[1]).any()
    assert_same(env.reset(seed=0)[0], drawn)


def test_the_single_env_takes_a_goal_by_hand_too() -> None:
    env = FetchEnv("fetch_push", reward_type="dense")
    given = env.reset(seed=0)[0]["achieved_goal"] + [0.0, 0.03, 0.0]
    env.goal = given
    shown, reward, _, _, info = env.step(np.zeros(4))
    assert_same(env.goal, given)
    assert_same(shown["desired_goal"], given)
    assert reward == pytest.approx(-0.03, abs=1e-4)
    assert info["is_success"]
    with pytest.raises(ValueError, match="finite and of shape"):
        env.goal = np.zeros(2)


@pytest.mark.parametrize("goals", [np.zeros(3), np.zeros((1, 3)), np.zeros((2, 4)), np.nan, np.inf])
def test_goals_of_another_shape_or_not_finite_are_refused(goals: Any, make_env: MakeEnv) -> None:
    env = make_env("fetch_push", num_envs=2)
    before = env.reset(seed=0)[0]["desired_goal"]
    with pytest.raises(ValueError, match=r"finite and of shape \(2, 3\)"):
        env.goals = np.full((2, 3), goals) if np.ndim(goals) == 0 else goals
    assert_same(env.goals, before)
