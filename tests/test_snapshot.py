"""States of any env, saved and put back; and that the official families are played and judged."""

import contextlib
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import OrderEnforcing, TimeLimit

from envs import snapshot
from envs.adapter import GoalVectorEnv
from envs.making import make_by_id

from .healthy_envs import HORIZON, Healthy
from .test_fleet import bits, random_steps

pytestmark = pytest.mark.filterwarnings("ignore:gymnasium-robotics is patched")
WRAPPED = "SnapshotTests/Healthy-v0"
FAMILIES = (
    WRAPPED,
    "FetchPickAndPlace-v4",
    "HandReach-v3",
    "PointMaze_UMaze-v3",
    "AntMaze_UMaze-v5",
)
JUDGED = (
    "FetchPush-v4",
    "HandReach-v3",
    "HandManipulateBlock-v1",
    "PointMaze_UMaze-v3",
    "AntMaze_UMaze-v5",
)


class Unending(Healthy):
    """Healthy, with a horizon that is its wrapper's alone."""

    def step(self, action: np.ndarray) -> Any:
        shown, reward, terminated, _, info = super().step(action)
        return shown, reward, terminated, False, info


class Cart:
    """Where something is."""

    place = 0.0


class Shared(Healthy):
    """Healthy, with two ways to the same cart."""

    def __init__(self) -> None:
        super().__init__()
        self.cart = Cart()
        self.drivers = [self.cart]

    def step(self, action: np.ndarray) -> Any:
        self.drivers[0].place += action[0]
        return super().step(action)

    def show(self) -> Any:
        return {**super().show(), "observation": np.array([self.cart.place])}

    def reset(self, **kwargs: Any) -> Any:
        self.cart.place = 0.0
        return super().reset(**kwargs)


class Late(Healthy):
    """Healthy, with an attribute that is there from the first step of an episode on."""

    def step(self, action: np.ndarray) -> Any:
        shown, *rest = super().step(action)
        self.drift = getattr(self, "drift", 0.0) + 1.0
        return {**shown, "observation": shown["observation"] + self.drift}, *rest

    def reset(self, **kwargs: Any) -> Any:
        vars(self).pop("drift", None)
        return super().reset(**kwargs)


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    gym.register(WRAPPED, entry_point=Unending, max_episode_steps=HORIZON)
    yield
    del gym.registry[WRAPPED]


def go_on(env: gym.Env, steps: int = 12) -> Any:
    """The end of an episode, and the beginning of the one after it."""
    space: Any = env.action_space
    generator = np.random.default_rng(0)
    actions = generator.uniform(space.low, space.high, (2, steps, *space.shape)).astype(space.dtype)
    told = [env.step(action)[:4] for action in actions[0]]
    return bits([told, env.reset()[0], [env.step(action)[:4] for action in actions[1]]])


def started(env: gym.Env, seed: int, steps: int) -> gym.Env:
    env.reset(seed=seed)
    for _ in range(steps):
        env.step(np.full(env.action_space.shape, 0.5, env.action_space.dtype))
    return env


@pytest.mark.parametrize("name", FAMILIES)
def test_after_restoring_it_all_goes_on_as_if_undisturbed(name: str) -> None:
    env = started(make_by_id(name), seed=3, steps=5)
    saved = snapshot.take(env)
    undisturbed = go_on(env)
    kept = pickle.dumps(saved)
    used, fresh = started(make_by_id(name), seed=8, steps=2), make_by_id(name)
    for other in (env, used, fresh):
        snapshot.restore(other, pickle.loads(kept))
        assert go_on(other) == undisturbed
    snapshot.restore(env, saved)
    assert go_on(env) == undisturbed
    snapshot.restore(env, saved)
    assert go_on(env) == undisturbed, "nothing of the state is handed out"


def test_wrappers_count_on_from_where_they_were() -> None:
    env, fresh = (OrderEnforcing(TimeLimit(Unending(), HORIZON)) for _ in range(2))
    saved = snapshot.take(started(env, seed=0, steps=HORIZON - 2))
    snapshot.restore(fresh, saved)
    assert [fresh.step(np.zeros(2))[3] for _ in range(2)] == [False, True]
    snapshot.restore(env, snapshot.take(OrderEnforcing(TimeLimit(Unending(), HORIZON))))
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(2))


@pytest.mark.parametrize("kind", [Shared, Late])
def test_what_hangs_together_does_so_after_restoring(kind: type[Healthy]) -> None:
    for steps in (0, 3):
        env, other = started(kind(), seed=0, steps=steps), started(kind(), seed=1, steps=4)
        saved = pickle.dumps(snapshot.take(env))
        undisturbed = go_on(env, 3)
        for one in (env, other):
            snapshot.restore(one, pickle.loads(saved))
            assert go_on(one, 3) == undisturbed


@pytest.mark.parametrize(("saver", "loader"), [(0, 0), (2, 2), (2, 0), (0, 2)])
def test_a_vector_env_goes_on_from_its_state(saver: int, loader: int) -> None:
    def after(env: GoalVectorEnv) -> Any:
        mask = {"reset_mask": np.array([True, False])}
        return bits(
            [random_steps(env, 2), env.reset(options=mask), random_steps(env, 2), env.reset()]
        )

    with contextlib.ExitStack() as stack:
        env, other = (
            stack.enter_context(
                contextlib.closing(GoalVectorEnv("FetchPickAndPlace-v4", 2, workers, 6))
            )
            for workers in (saver, loader)
        )
        env.reset(seed=0), random_steps(env, 3)
        saved = pickle.dumps(env.get_state())
        undisturbed = after(env)
        for one in (env, other):
            one.set_state(pickle.loads(saved))
            assert after(one) == undisturbed


def test_a_state_may_be_taken_before_the_first_reset_and_is_of_so_many_envs() -> None:
    env = GoalVectorEnv(Healthy, 2, max_episode_steps=HORIZON)
    saved = env.get_state()
    env.reset(seed=0)
    env.set_state(saved)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="of 2 envs, not of 1"):
        GoalVectorEnv(Healthy, max_episode_steps=HORIZON).set_state(saved)


def test_what_cannot_be_copied_is_named() -> None:
    env = TimeLimit(Healthy(), HORIZON)
    vars(env.unwrapped)["door"] = threading.Lock()
    with pytest.raises(ValueError, match=r"the state of Healthy: door is <unlocked _thread.lock"):
        snapshot.take(env)


@pytest.mark.parametrize("family", JUDGED)
def test_official_families_play_and_judge(family: str) -> None:
    env = GoalVectorEnv(family, 2)
    env.reset(seed=0)
    pairs = []
    for step in range(1, env.max_episode_steps + 1):
        shown, reward, terminated, truncated, info = random_steps(env, 1, first=step)[0]
        assert shown in env.observation_space
        pairs.append((shown["achieved_goal"], shown["desired_goal"]))
        np.testing.assert_array_equal(reward, env.compute_reward(*pairs[-1], info))
        np.testing.assert_array_equal(info["is_success"], env.reached(*pairs[-1]))
        assert (truncated == (step == env.max_episode_steps)).all()
        assert not terminated.any()
    achieved, desired = np.stack(pairs, axis=2)  # (n, T, g)
    alone = [env.compute_reward(*pair, {}) for pair in zip(achieved, desired, strict=True)]
    np.testing.assert_array_equal(env.compute_reward(achieved, desired, {}), alone)
    assert env.reached(achieved, achieved).all()
