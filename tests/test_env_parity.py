"""Our tasks against the official ones: same physics, goals, rewards and judgement of success."""

from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import pytest

from envs import HORIZON, TASKS
from envs.scene import load_scene
from envs.single import FetchEnv

from .helpers import push_the_object
from .official import make_official

TOLERANCE = 1e-9
EPISODES = 3


@pytest.fixture(params=TASKS)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[str, gym.Env, FetchEnv]]:
    task = request.param
    official, ours = make_official(task), FetchEnv(task)
    yield task, official, ours
    official.close()
    ours.close()


def assert_close(ours: dict[str, np.ndarray], official: dict[str, np.ndarray]) -> None:
    for name, value in official.items():
        np.testing.assert_allclose(ours[name], value, rtol=0.0, atol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_episodes_with_contact_are_the_official_ones(
    pair: tuple[str, gym.Env, FetchEnv], dtype: type, generator: np.random.Generator
) -> None:
    _, official, ours = pair
    moved = []
    for seed in range(EPISODES):
        theirs, _ = official.reset(seed=seed)
        mine, _ = ours.reset(seed=seed)
        assert_close(mine, theirs)
        start = theirs["achieved_goal"]
        for _ in range(HORIZON):
            action = push_the_object(theirs["observation"][None], generator)[0].astype(dtype)
            theirs, their_reward, _, _, their_info = official.step(action)
            mine, reward, _, _, info = ours.step(action)
            assert_close(mine, theirs)
            assert reward == pytest.approx(float(their_reward), abs=TOLERANCE)
            assert info["is_success"] == bool(their_info["is_success"])
        moved.append(np.linalg.norm(theirs["achieved_goal"] - start))
    assert max(moved) > 0.05, "without contact this shows too little"


@pytest.mark.parametrize("reward_type", ["sparse", "dense"])
def test_reward_of_any_goals_is_the_official_one(
    reward_type: str, generator: np.random.Generator
) -> None:
    official = make_official("fetch_push", reward_type=reward_type)
    ours = FetchEnv("fetch_push", reward_type=reward_type)
    achieved, desired = generator.uniform(0.0, 0.08, (2, 1000, 3))
    expected = official.unwrapped.compute_reward(achieved, desired, {})
    rewards = ours.compute_reward(achieved, desired, {})
    np.testing.assert_allclose(rewards, expected, rtol=0.0, atol=TOLERANCE)
    assert len(np.unique(rewards)) > 1
    official.close()


def test_the_home_state_is_the_official_one(pair: tuple[str, gym.Env, FetchEnv]) -> None:
    task, official, _ = pair
    scene, theirs = load_scene(TASKS[task]), official.unwrapped
    np.testing.assert_allclose(scene.qpos, theirs.initial_qpos, rtol=0.0, atol=TOLERANCE)
    np.testing.assert_allclose(scene.qvel, theirs.initial_qvel, rtol=0.0, atol=TOLERANCE)
    np.testing.assert_allclose(scene.grip, theirs.initial_gripper_xpos, rtol=0.0, atol=TOLERANCE)
    assert scene.time == pytest.approx(theirs.initial_time)
