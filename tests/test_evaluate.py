import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her_robotics.building import read_task
from her_robotics.evaluate import Evaluation, evaluate, judge, moved
from her_robotics.rollout import Divergence, episode_seeds
from her_robotics.statistics import wilson_interval
from her_robotics.types import Episodes, EpisodeShape, GoalObs, GoalTest, RewardFunction, Task

from .conftest import MakeEnv
from .helpers import GoalPoints, sparse_reward, within
from .runs import Exploding

FAR, NEAR = 1.0, within(0.05)


def episodes(*distances: list[float]) -> Episodes:
    """Episodes on a line towards a goal at 0, given by the distance left at steps 0..T."""
    left = np.array(distances, np.float32)
    achieved = np.stack([left, np.zeros_like(left)], axis=-1)
    count, horizon = len(left), left.shape[1] - 1
    return Episodes(
        observation=np.zeros((count, horizon + 1, 1), np.float32),
        achieved_goal=achieved,
        desired_goal=np.zeros((count, 2), np.float32),
        action=np.zeros((count, horizon, 1), np.float32),
    )


def verdict(
    *distances: list[float],
    reached: GoalTest = NEAR,
    reward: RewardFunction = sparse_reward,
) -> Evaluation:
    played = episodes(*distances)
    shape = EpisodeShape(played.action.shape[1], observation=1, goal=2, action=1)
    return judge(played, Task(shape, reward, reached, (-1.0, 0.0), None))


def test_success_at_the_last_step_is_told_from_success_at_any() -> None:
    result = verdict(
        [FAR, FAR, 0.0, FAR],
        [FAR, FAR, FAR, 0.0],
        [FAR, FAR, FAR, FAR],
        [FAR, 0.0, FAR, 0.01],
    )
    assert result.success_rate == 0.5
    assert result.success_any == 0.75
    assert result.episodes == 4
    assert result.interval == wilson_interval(2, 4)


def test_the_hitting_time_is_the_mean_first_step_of_those_that_have_one() -> None:
    result = verdict([FAR, FAR, 0.0, 0.0], [FAR, 0.0, FAR, 0.0], [FAR, FAR, FAR, FAR])
    assert result.hitting_time == 1.5
    assert math.isnan(verdict([FAR, FAR, FAR]).hitting_time)


def test_the_final_distance_is_that_of_the_last_step() -> None:
    assert verdict([FAR, 0.0, 0.3], [FAR, 0.0, 0.5]).final_distance == pytest.approx(0.4)


def test_the_return_is_the_sum_of_the_rewards_of_what_was_reached() -> None:
    assert verdict([0.0, FAR, 0.0, FAR], [FAR, FAR, FAR, FAR]).mean_return == -2.5


def test_what_is_achieved_before_the_first_step_does_not_count() -> None:
    result = verdict([0.0, FAR, FAR])
    assert result.success_any == result.success_rate == 0.0
    assert math.isnan(result.hitting_time)
    assert result.mean_return == -2.0


def test_what_counts_as_reached_is_for_the_task_to_say_whatever_the_distance_and_reward() -> None:
    walk = [FAR, 0.0, 0.3, 0.7, FAR]
    plain, odd = verdict(walk), verdict(walk, reached=lambda *goals: ~within(0.5)(*goals))
    assert (plain.success_rate, plain.hitting_time) == (0.0, 1.0)
    assert (odd.success_rate, odd.hitting_time) == (1.0, 3.0)
    assert (odd.final_distance, odd.mean_return) == (plain.final_distance, plain.mean_return)
    rewarded = verdict(walk, reward=lambda *goals: 1.0 + sparse_reward(*goals))
    assert rewarded == plain._replace(mean_return=1.0)


def test_figures_are_flat_numbers_and_what_is_undefined_is_left_out() -> None:
    defined = verdict([FAR, 0.0], [FAR, FAR]).metrics("eval/")
    low, high = wilson_interval(1, 2)
    assert defined["eval/success_rate"] == 0.5
    assert (defined["eval/success_low"], defined["eval/success_high"]) == (low, high)
    assert all(math.isfinite(value) for value in defined.values())
    missing = verdict([FAR, FAR]).metrics("eval/").keys() ^ defined.keys()
    assert missing == {"eval/hitting_time"}


def test_moving_is_told_from_staying() -> None:
    still, nudged, back = [FAR, 0.5, FAR], [FAR, FAR, FAR - 0.02], [FAR, FAR, FAR - 0.005]
    assert moved(episodes(still, nudged, back)).tolist() == [False, True, False]
    assert verdict(still, nudged, back).moved_rate == pytest.approx(1 / 3)


def go(obs: GoalObs) -> np.ndarray:
    """Straight to the goal with the first components of the action."""
    return np.clip(10.0 * (obs.desired_goal - obs.achieved_goal), -1.0, 1.0)


def dawdle(obs: GoalObs) -> np.ndarray:
    """Straight to the goal, but at most so fast that only some goals are reached in time."""
    return 0.5 * go(obs)


def test_every_env_plays_one_episode_of_its_own_seed() -> None:
    shown: list[np.ndarray] = []

    def act(obs: GoalObs) -> np.ndarray:
        shown.append(obs.desired_goal)
        return go(obs)

    env = GoalPoints(6)
    result = evaluate(env, read_task(env), act, 6, seed=3, stream=1)
    assert result.success_rate == result.success_any == 1.0
    assert result.episodes == 6
    assert result.final_distance < 1e-3
    expected, _ = GoalPoints(6).reset(seed=episode_seeds(3, 1, 0, 6))
    np.testing.assert_array_equal(shown[0], expected["desired_goal"])


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 20), num_envs=st.integers(1, 25), seed=st.integers(0, 9))
def test_the_result_does_not_depend_on_how_many_play_at_once(
    count: int, num_envs: int, seed: int
) -> None:
    together, split = (
        evaluate(env, read_task(env), dawdle, count, seed, stream=2).metrics("")
        for env in (GoalPoints(count), GoalPoints(num_envs))
    )
    assert split == together
    assert split["episodes"] == count


def test_dawdling_is_what_tells_episodes_apart() -> None:
    env = GoalPoints(20)
    result = evaluate(env, read_task(env), dawdle, 20, seed=0, stream=2)
    assert 0.2 < result.success_rate < 0.8


@pytest.mark.parametrize("num_envs", [1, 2, 3])
def test_on_real_physics_rounds_give_what_all_at_once_give(
    num_envs: int, make_env: MakeEnv
) -> None:
    def push(obs: GoalObs) -> np.ndarray:
        return np.clip(10.0 * obs.observation[:, [6, 7, 8, 9]], -1.0, 1.0)

    together, rounds = (
        evaluate(env, read_task(env), push, 5, seed=0, stream=0)
        for env in (make_env("fetch_push", num_envs=5), make_env("fetch_push", num_envs=num_envs))
    )
    assert rounds.metrics("") == together.metrics("")
    assert together.moved_rate > 0.0


def test_on_real_physics_a_policy_that_goes_there_succeeds_and_one_that_rests_does_not(
    make_env: MakeEnv,
) -> None:
    env = make_env("fetch_reach", num_envs=20)

    def reach(obs: GoalObs) -> np.ndarray:
        return np.pad(go(obs), ((0, 0), (0, 1)))

    def rest(obs: GoalObs) -> np.ndarray:
        return np.zeros((20, 4))

    good, bad = (evaluate(env, read_task(env), act, 20, seed=0, stream=0) for act in (reach, rest))
    assert good.success_rate == 1.0
    assert good.hitting_time < 15
    assert good.mean_return > -15
    assert bad.success_rate < 0.3
    assert bad.mean_return < -35
    assert good.moved_rate > 0.9
    assert bad.moved_rate == 0.0


@pytest.mark.parametrize(("envs", "rate"), [((1,), 2 / 3), ((0, 1, 2), 0.0)])
def test_an_episode_whose_simulation_diverges_counts_as_missed(
    envs: tuple[int, ...], rate: float, make_env: MakeEnv
) -> None:
    env = Exploding(make_env("fetch_reach", num_envs=3), {45}, envs)
    told: list[Divergence] = []

    def reach(obs: GoalObs) -> np.ndarray:
        return np.pad(go(obs), ((0, 0), (0, 1)))

    result = evaluate(env, read_task(env), reach, 3, seed=0, stream=0, lose=told.append)
    assert tuple(each.env for each in told) == envs
    assert (result.episodes, result.diverged) == (3, len(envs))
    assert result.success_rate == result.success_any == pytest.approx(rate)
    assert result.interval[0] < rate + 1e-9 < result.interval[1] + 1e-9
    assert result.metrics("")["diverged"] == len(envs)
    assert ("final_distance" in result.metrics("")) == (rate > 0.0)
