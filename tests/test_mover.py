from collections.abc import Iterator

import numpy as np
import pytest

from her_robotics.config import GuideConfig
from her_robotics.evaluate import moved
from her_robotics.guides import Mover
from her_robotics.rollout import episode_seeds, play
from her_robotics.types import Episodes, EpisodeShape, GoalObs, Task

from .guiding import ENVS, HORIZON, Push, led, make, opened, uniform
from .helpers import push_the_object, random_episodes, sparse_reward, within

SHAPE = EpisodeShape(horizon=4, observation=3, goal=2, action=2)
CORNERS = np.array([[0.0, 0.0], [1.0, 0.5]], np.float32)
INSIDE, OUTSIDE = (0.5, 0.2), (0.5, 0.9)
BESIDE = (0.5, 0.52)
"""Out of the box, but by less than what is forgiven."""


@pytest.fixture(scope="module")
def push() -> Iterator[Push]:
    yield from opened("fetch_push")


def mover(updates: int = 10) -> Mover:
    task = Task(SHAPE, sparse_reward, within(0.05), (-1.0, 0.0), None)
    return Mover(task, GuideConfig(name="mover", share=1.0, updates=updates), seed=0)


def going(*places: tuple[float, float], asked: np.ndarray = CORNERS) -> Episodes:
    """Two episodes through the same places, and goals asked for in them."""
    episodes = random_episodes(SHAPE, 2)
    path = np.array([places, places], np.float32)
    return episodes._replace(achieved_goal=path, desired_goal=asked.astype(np.float32))


def flags(episodes: Episodes) -> list[float]:
    """What a mover that sees these episodes first says has changed, in either of them."""
    one, other = mover().lesson(episodes).achieved_goal[..., 0]
    np.testing.assert_array_equal(one, other)
    return one.tolist()


STILL = going(*[INSIDE] * 5)
NUDGED = going(INSIDE, INSIDE, (0.55, 0.2), (0.55, 0.2), (0.55, 0.25))
ASTRAY = going(OUTSIDE, (0.5, 1.0), (0.6, 1.0), (0.6, 1.0), (0.6, 0.9))


@pytest.mark.parametrize(
    ("episodes", "expected"),
    [
        (STILL, [0, 0, 0, 0, 0]),
        (NUDGED, [0, 0, 1, 0, 1]),
        (ASTRAY, [0, 0, 0, 0, 0]),
        (going(OUTSIDE, INSIDE, OUTSIDE, BESIDE, INSIDE), [0, 1, 0, 1, 1]),
        (going(INSIDE, (0.501, 0.2), (0.502, 0.2), (0.503, 0.2), (0.51, 0.2)), [0, 0, 0, 0, 1]),
    ],
    ids=["still", "nudged", "astray", "in and out", "trembling"],
)
def test_a_step_is_flagged_if_it_changed_something_within_the_box(
    episodes: Episodes, expected: list[float]
) -> None:
    assert flags(episodes) == expected


def test_flags_know_no_unit() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        steps = generator.choice([0.0, 0.001, 0.01, 0.3], (5, 1)) * generator.normal(size=(5, 2))
        places = np.cumsum(steps, axis=0) + INSIDE
        in_metres, in_miles = (
            going(*(scale * places + start), asked=scale * CORNERS + start)
            for scale, start in ((1.0, 0.0), (1024.0, 64.0))
        )
        assert flags(in_metres) == flags(in_miles)


def test_the_box_only_grows() -> None:
    guide, path = mover(), going(INSIDE, (0.55, 0.2), OUTSIDE, (1.5, 0.2), (1.6, 0.2))
    asked = [CORNERS, CORNERS.mean(axis=0, keepdims=True).repeat(2, axis=0)]
    seen = [guide.lesson(path._replace(desired_goal=goals)).achieved_goal for goals in asked]
    np.testing.assert_array_equal(seen[0], seen[1], "goals in the midst of it change nothing")
    assert seen[1][0, :, 0].tolist() == [0, 1, 0, 0, 0]
    guide.lesson(path._replace(desired_goal=2.0 * CORNERS))
    assert guide.lesson(path).achieved_goal[0, :, 0].tolist() == [0, 1, 1, 1, 1]


def test_the_rest_of_an_episode_is_learnt_from_as_it_was() -> None:
    lesson = mover().lesson(NUDGED)
    np.testing.assert_array_equal(lesson.observation, NUDGED.observation)
    np.testing.assert_array_equal(lesson.action, NUDGED.action)
    assert lesson.achieved_goal.shape == (2, 5, 1)
    np.testing.assert_array_equal(lesson.desired_goal, [[1.0], [1.0]])


def test_it_is_rewarded_for_change_alone() -> None:
    guide = mover()
    guide.learn(NUDGED)
    batch = guide._replay.sample(500)
    changed = batch.achieved_goal[1, :, 0]
    assert set(changed.tolist()) == {0.0, 1.0}
    assert (batch.reward == changed - 1.0).all()


@pytest.mark.parametrize("episodes", [STILL, ASTRAY], ids=["still", "astray"])
def test_it_learns_nothing_before_something_moved_within_the_box(episodes: Episodes) -> None:
    guide = mover(updates=20)
    guide.learn(episodes)
    assert not guide.taught
    assert guide.agent.updates == 0
    guide.learn(NUDGED)
    assert guide.taught
    assert guide.agent.updates == 8, "one a step of the new episodes"
    guide.learn(episodes)
    assert guide.agent.updates == 16, "what moved once is still remembered"


@pytest.mark.parametrize("before", [STILL, NUDGED], ids=["untaught", "taught"])
def test_a_resumed_one_knows_its_box_and_whether_it_was_taught(before: Episodes) -> None:
    guide, resumed = mover(), mover()
    guide.learn(before)
    resumed.load_state_dict(guide.state_dict())
    assert resumed.taught == guide.taught == (before is NUDGED)
    np.testing.assert_array_equal(
        resumed.changed(NUDGED.achieved_goal), guide.changed(NUDGED.achieved_goal)
    )
    elsewhere = np.full((2, 2), INSIDE, np.float32)
    after = NUDGED._replace(desired_goal=elsewhere)
    one, other = (each.lesson(after).achieved_goal for each in (resumed, guide))
    np.testing.assert_array_equal(one, other)


def test_the_state_of_a_fresh_one_is_that_of_a_fresh_one() -> None:
    guide, resumed = mover(), mover()
    guide.learn(NUDGED)
    guide.load_state_dict(resumed.state_dict())
    assert not guide.taught
    assert guide.lesson(NUDGED).achieved_goal[0, :, 0].tolist() == [0, 0, 1, 0, 1]


def test_it_learns_from_a_few_pushes_to_move_the_object_and_keep_it_on_the_table(
    push: Push,
) -> None:
    # With little noise it shows what it has learnt, not what noise makes of that.
    guide = make("mover", push, updates=4000, sigma=0.1)
    generator = np.random.default_rng(0)

    def aimed(obs: GoalObs) -> np.ndarray:
        return push_the_object(obs.observation, generator)

    def random(obs: GoalObs) -> np.ndarray:
        return uniform(generator)

    undone = []
    for index in range(4):
        seeds = episode_seeds(0, 0, 2 * index * ENVS, ENVS)
        undone.append(play(push.env, HORIZON, seeds, random))
        guide.learn(undone[-1])
        guide.learn(play(push.env, HORIZON, seeds, aimed))
    while guide.agent.updates < 4000:
        guide.learn(led(push, guide, guide.agent.updates))
    done = [led(push, guide, 10_000 + index * ENVS) for index in range(3)]
    before, after = (np.mean([moved(each) for each in played]) for played in (undone, done))
    assert after > before + 0.3
    changed, unchanged = (
        np.mean([guide.lesson(each).achieved_goal for each in played]) for played in (done, undone)
    )
    assert changed > 3.0 * unchanged
