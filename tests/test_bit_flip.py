"""The bit-flipping env: what a step does, what it pays, and that one row equals many."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from envs import IDS
from envs.adapter import GoalVectorEnv
from envs.bit_flip import BITS, RIGHT, WRONG, BitFlipVectorEnv
from envs.check import check_goal_env
from envs.single import BitFlipEnv

NAMES = ("observation", "achieved_goal", "desired_goal")


def random_choices(env: BitFlipVectorEnv, generator: np.random.Generator) -> np.ndarray:
    return generator.integers(env.bits + 1, size=env.num_envs)


def test_an_action_flips_its_bit_and_no_other_and_the_last_one_flips_none() -> None:
    env = BitFlipVectorEnv(num_envs=6, bits=5)
    before = env.reset(seed=0)[0]["observation"]
    after = env.step(np.arange(6))[0]["observation"]
    np.testing.assert_array_equal(before != after, np.eye(6, 5, dtype=bool))
    assert np.isin(before, (0.0, 1.0)).all()
    again = env.step(np.arange(6))[0]["observation"]
    np.testing.assert_array_equal(again, before)


def test_all_that_is_wrong_can_be_flipped_and_what_is_right_can_be_stayed_in() -> None:
    env = BitFlipVectorEnv(num_envs=50, bits=7)
    shown, _ = env.reset(seed=0)
    for step in range(1, env.max_episode_steps + 1):
        wrong = shown["achieved_goal"] != shown["desired_goal"]
        shown, reward, terminated, truncated, info = env.step(
            np.where(wrong.any(axis=1), wrong.argmax(axis=1), env.bits)
        )
        left = (shown["achieved_goal"] != shown["desired_goal"]).any(axis=1)
        np.testing.assert_array_equal(reward, np.where(left, -1.0, 0.0))
        np.testing.assert_array_equal(info["is_success"], ~left)
        assert not terminated.any()
        assert (truncated == (step == 7)).all()
    assert not left.any()


def test_the_reward_is_vectorised_over_leading_axes(generator: np.random.Generator) -> None:
    env = BitFlipVectorEnv(bits=2)
    achieved, desired = generator.integers(0, 2, (2, 4, 5, 2)).astype(np.float32)
    rewards = env.compute_reward(achieved, desired, {})
    assert set(rewards.ravel().tolist()) == set(env.reward_range)
    for index in np.ndindex(4, 5):
        assert rewards[index] == env.compute_reward(achieved[index], desired[index], {})
        assert (rewards[index] == 0.0) == (achieved[index] == desired[index]).all()


def test_one_row_and_the_adapter_equal_the_vector_env(generator: np.random.Generator) -> None:
    many = BitFlipVectorEnv(num_envs=3, bits=9)
    adapted = GoalVectorEnv(BitFlipEnv, num_envs=3, bits=9)
    ones = [BitFlipEnv(bits=9) for _ in range(3)]
    shown, other = many.reset(seed=20)[0], adapted.reset(seed=20)[0]
    singles = [env.reset(seed=20 + index)[0] for index, env in enumerate(ones)]
    for _ in range(9):
        for name in NAMES:
            np.testing.assert_array_equal(shown[name], [single[name] for single in singles])
            np.testing.assert_array_equal(shown[name], other[name])
        actions = random_choices(many, generator)
        shown, reward, _, truncated, info = many.step(actions)
        other, *judged = adapted.step(actions)
        steps = [env.step(action) for env, action in zip(ones, actions, strict=True)]
        singles = [step[0] for step in steps]
        assert reward.tolist() == [step[1] for step in steps] == judged[0].tolist()
        assert truncated.tolist() == [step[3] for step in steps] == judged[2].tolist()
        assert info["is_success"].tolist() == [step[4]["is_success"] for step in steps]
    assert truncated.all()
    assert adapted.single_action_space == many.single_action_space
    assert (adapted.max_episode_steps, adapted.reward_range) == (9, (-1.0, 0.0))


def test_seeds_decide_the_episode_alone_and_a_mask_who_is_reset() -> None:
    env, pair = BitFlipVectorEnv(num_envs=4), BitFlipVectorEnv(num_envs=2)
    first = env.reset(seed=[3, 1, 3, 2])[0]
    np.testing.assert_array_equal(first["observation"][0], first["observation"][2])
    for name in NAMES:
        np.testing.assert_array_equal(pair.reset(seed=[1, 2])[0][name], first[name][[1, 3]])
    mask = np.array([True, False, False, False])
    shown, _ = env.reset(options={"reset_mask": mask})
    changed = (shown["desired_goal"] != first["desired_goal"]).any(axis=1)
    np.testing.assert_array_equal(changed, mask)


def test_starts_and_goals_are_uniform_and_independent() -> None:
    shown, _ = BitFlipVectorEnv(num_envs=4000, bits=3).reset(seed=0)
    codes = [shown[name] @ (4, 2, 1) for name in ("observation", "desired_goal")]
    counts, *_ = np.histogram2d(*codes, bins=8, range=[(0, 8)] * 2)
    assert 30 < counts.min() <= counts.max() < 100  # 62.5 expected of each of 64, deviation 7.8


def test_a_restored_state_goes_on_alike(generator: np.random.Generator) -> None:
    env, other = (BitFlipVectorEnv(num_envs=3) for _ in range(2))
    env.reset(seed=0)
    env.step(random_choices(env, generator))
    other.set_state(env.get_state())
    actions = random_choices(env, generator)
    for mine, theirs in (
        (env.step(actions)[0], other.step(actions)[0]),
        (env.reset()[0], other.reset()[0]),
    ):
        for name in NAMES:
            np.testing.assert_array_equal(mine[name], theirs[name])
    with pytest.raises(ValueError, match=r"\(3, 30\) bits, not \(3, 31\)"):
        BitFlipVectorEnv(num_envs=3, bits=31).set_state(env.get_state())


def test_gymnasium_makes_it_and_its_checkers_and_ours_accept_it() -> None:
    vector = gym.make_vec(IDS["bit_flip"], num_envs=2, bits=11)
    assert isinstance(vector, BitFlipVectorEnv)
    assert vector.max_episode_steps == vector.bits == 11
    assert BitFlipVectorEnv().max_episode_steps == BITS
    env = gym.make(IDS["bit_flip"], bits=6, render_mode="rgb_array", width=12, height=4)
    check_env(env.unwrapped, skip_render_check=True)
    report = check_goal_env(env, episodes=3)
    assert [finding.name for finding in report.findings] == ["goal-drawn-in-pixels"]
    assert report.findings[0].pixels_only
    assert report.unchecked == []


def test_a_frame_shows_bits_above_and_the_goal_below() -> None:
    env = BitFlipVectorEnv(bits=4, render_mode="rgb_array", width=8, height=6)
    env.reset(seed=0)
    env._state[:] = (1, 0, 1, 0)
    env.goals = np.array([[1, 1, 0, 0]])
    (frame,) = env.render() or ()
    assert frame.shape == (6, 8, 3)
    above, below = ([tuple(row[2 * bit].tolist()) for bit in range(4)] for row in frame[[0, -1]])
    assert (above[0], above[2]) == (RIGHT, WRONG)
    assert (below[0], below[1]) == (RIGHT, WRONG)
    assert above[1] == above[3] == below[2] == below[3]
    assert (frame[:3] == frame[0]).all()
    assert (frame[3:] == frame[-1]).all()


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        (np.array([0, 4, 1]), "env 1 at step 0 is 4: choose 0 to 3"),
        (np.array([-1, 0, 0]), "env 0 at step 0 is -1: choose 0 to 3"),
        (np.array([[0], [1], [2]]), r"shape \(3, 1\), not integers of shape \(3,\)"),
        (np.zeros(3), "float64 .* not integers"),
    ],
)
def test_an_action_that_is_no_choice_is_refused(actions: np.ndarray, said: str) -> None:
    env = BitFlipVectorEnv(num_envs=3, bits=3)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(actions)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=said):
        env.step(actions)


@pytest.mark.parametrize("argument", ["num_envs", "bits", "max_episode_steps", "width"])
def test_a_number_out_of_range_is_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument} must be at least 1, not 0"):
        BitFlipVectorEnv(**{argument: 0})


def test_goals_that_are_no_bits_are_refused() -> None:
    env = BitFlipVectorEnv(bits=2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="goals must be 0 and 1"):
        env.goals = np.array([[0.5, 1.0]])
