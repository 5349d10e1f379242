import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs import HORIZON, TASKS
from envs.single import FetchEnv

from .conftest import MakeEnv
from .helpers import push_the_object

EVERY_TASK = pytest.mark.parametrize("task", TASKS)


@EVERY_TASK
def test_gym_make_builds_a_task_that_gymnasiums_checker_accepts(task: str) -> None:
    env = gym.make(TASKS[task].id)
    assert isinstance(env.unwrapped, FetchEnv)
    with warnings.catch_warnings():
        # It dislikes unbounded observations, which upstream's are too.
        warnings.filterwarnings("ignore", message=".*observation space.*infinity.*")
        check_env(env.unwrapped, skip_render_check=True)
    env.close()


@EVERY_TASK
def test_the_single_env_equals_the_vector_env_bit_for_bit(
    task: str, make_env: MakeEnv, generator: np.random.Generator
) -> None:
    many, ones = make_env(task, num_envs=3), [FetchEnv(task) for _ in range(3)]
    shown, _ = many.reset(seed=20)
    singles = [env.reset(seed=20 + index)[0] for index, env in enumerate(ones)]
    for _ in range(15):
        for name in shown:
            np.testing.assert_array_equal(shown[name], [single[name] for single in singles])
        actions = push_the_object(shown["observation"], generator)
        shown, reward, _, _, info = many.step(actions)
        steps = [env.step(action) for env, action in zip(ones, actions, strict=True)]
        singles = [step[0] for step in steps]
        assert reward.tolist() == [step[1] for step in steps]
        assert info["is_success"].tolist() == [step[4]["is_success"] for step in steps]


def test_gym_make_truncates_at_the_horizon_and_never_terminates() -> None:
    env = gym.make(TASKS["fetch_push"].id)
    env.reset(seed=0)
    ends = [env.step(np.zeros(4, np.float32))[2:4] for _ in range(HORIZON)]
    assert ends == [(False, False)] * (HORIZON - 1) + [(False, True)]
    env.close()


def test_gym_make_passes_arguments_on() -> None:
    env = gym.make(TASKS["fetch_push"].id, goal="gripper", reward_type="dense")
    shown, _ = env.reset(seed=0)
    shown, reward, *_ = env.step(np.zeros(4, np.float32))
    np.testing.assert_array_equal(shown["achieved_goal"], shown["observation"][:3])
    distance = np.linalg.norm(shown["achieved_goal"] - shown["desired_goal"])
    assert reward == pytest.approx(-distance)
    env.close()


def test_compute_reward_is_vectorised_over_leading_axes(generator: np.random.Generator) -> None:
    env = FetchEnv("fetch_push")
    achieved, desired = generator.uniform(0.0, 0.08, (2, 4, 5, 3))
    rewards = env.compute_reward(achieved, desired, [{}] * 4)
    assert rewards.shape == (4, 5)
    for index in np.ndindex(4, 5):
        assert rewards[index] == env.compute_reward(achieved[index], desired[index], {})


def test_stepping_before_reset_is_refused() -> None:
    with pytest.raises(gym.error.ResetNeeded):
        FetchEnv("fetch_reach").step(np.zeros(4))


def test_a_wrong_action_shape_is_refused() -> None:
    env = FetchEnv("fetch_reach")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"\(3,\), not \(4,\)"):
        env.step(np.zeros(3))


def test_an_unknown_argument_value_is_answered_with_the_choices() -> None:
    with pytest.raises(ValueError, match="sparse, dense"):
        gym.make(TASKS["fetch_push"].id, reward_type="golden")
