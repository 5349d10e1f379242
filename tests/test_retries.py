"""Episodes that begin as failed ones did: which, how often, and over a resume."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her_robotics.building import build, read_task
from her_robotics.checkpoint import load_checkpoint, save_checkpoint
from her_robotics.cli.making import env_maker
from her_robotics.errors import UserError
from her_robotics.learner import Learner
from her_robotics.refusals import refuse_misfits
from her_robotics.retries import ROOM, Retries
from her_robotics.types import Episodes, EpisodeShape

from .conftest import MakeEnv
from .helpers import random_episodes, within
from .runs import PUSH, after, exploding, reports_of, same, start, tiny

SHAPE = EpisodeShape(horizon=3, observation=2, goal=2, action=1)


def ending(successes: list[bool]) -> Episodes:
    """Episodes whose last step alone is at the goal, or all but that."""
    episodes = random_episodes(SHAPE, len(successes))
    there = np.repeat(episodes.desired_goal[:, None], SHAPE.horizon + 1, axis=1)
    there[:, -1] += np.where(successes, 0.0, 1.0)[:, None]
    there[:, :-1] += np.where(successes, 1.0, 0.0)[:, None, None]
    return episodes._replace(achieved_goal=there)


@settings(deadline=None)
@given(
    share=st.floats(0.0, 1.0),
    rounds=st.lists(st.lists(st.booleans(), min_size=1, max_size=6), max_size=8),
)
def test_what_failed_at_its_last_step_is_begun_anew_and_then_forgotten_until_it_fails_again(
    share: float, rounds: list[list[bool]]
) -> None:
    retries, failed, fresh = Retries(share, within(0.5), 0), Counter[int](), 0
    for successes in rounds:
        new = list(range(fresh, fresh + len(successes)))
        fresh += len(new)
        seeds = retries.choose(new)
        again = Counter(seed for seed, own in zip(seeds, new, strict=True) if seed != own)
        assert again <= failed
        failed -= again
        retries.observe(seeds, ending(successes))
        failed += Counter(seed for seed, good in zip(seeds, successes, strict=True) if not good)
        assert Counter(retries.state_dict()["failed"]) == failed


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_share_of_episodes_is_begun_anew(share: float) -> None:
    retries, fresh = Retries(share, within(0.5), 0), list(range(1000, 1400))
    retries.observe(list(range(ROOM)), ending([False] * ROOM))
    again = [seed for seed in retries.choose(fresh) if seed < ROOM]
    assert len(again) == pytest.approx(400 * share, abs=40 * (share < 1.0))
    assert len(set(again)) == len(again)
    assert abs(np.mean(again) - ROOM / 2) < 60, "not just the first or the last"


def test_only_failures_of_late_are_remembered() -> None:
    retries = Retries(1.0, within(0.5), 0)
    for first in (0, 400):
        retries.observe(list(range(first, first + 400)), ending([False] * 400))
    assert retries.state_dict()["failed"] == list(range(800 - ROOM, 800))


def begun(learner: Learner) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts, goals and whether they were reached, of all stored episodes."""
    state = learner.replay.state_dict()
    names = ("observation", "achieved_goal", "desired_goal")
    observation, achieved, goal = (state[name].numpy() for name in names)
    return observation[:, 0], goal, learner.task.reached(achieved[:, -1], goal)


def test_an_episode_that_is_begun_anew_has_the_start_and_the_goal_of_the_one_that_failed() -> None:
    learner = start(tiny(PUSH, exploration={"retry": 1.0}, train={"steps": 400}))
    reports_of(learner)
    starts, goals, reached = begun(learner)
    assert len(starts) == 8
    assert not reached.all()
    for index in range(2, 8):
        earlier = [i for i in range(index - index % 2) if not reached[i]]
        repeats = [i for i in earlier if (goals[i] == goals[index]).all()]
        assert repeats or not earlier
        for i in repeats:
            np.testing.assert_array_equal(starts[i], starts[index])
    learner.close()


def test_a_resumed_run_equals_one_that_never_stopped(tmp_path: Path) -> None:
    whole, half, resumed = (start(tiny(PUSH, exploration={"retry": 0.5})) for _ in range(3))
    expected = [report.metrics for report in reports_of(whole)]
    found = [report.metrics for report in reports_of(half, after(3))]
    save_checkpoint(tmp_path, half.state_dict())
    resumed.load_state_dict(load_checkpoint(tmp_path))
    assert found + [report.metrics for report in reports_of(resumed)] == expected
    assert same(*(each.state_dict()["retries"] for each in (whole, resumed)))
    assert whole.state_dict()["retries"]["failed"]
    for each in (whole, half, resumed):
        each.close()


@pytest.mark.parametrize("failed", [{3}, [1.0], [True], [-1], [2**32], list(range(ROOM + 1))])
def test_a_saved_list_of_anything_else_is_refused(failed: object) -> None:
    retries = Retries(0.5, within(0.5), 0)
    state = retries.state_dict()
    with pytest.raises(ValueError, match="failed episodes are no list of seeds"):
        retries.load_state_dict({**state, "failed": failed})


def test_where_rewards_do_without_the_simulators_goals_retries_do_too(make_env: MakeEnv) -> None:
    task = read_task(make_env("fetch_push"))
    config = tiny(PUSH, exploration={"retry": 0.5})
    refuse_misfits(config, task)
    with pytest.raises(UserError, match=r"exploration\.retry = 0\.5 looks at .* set it to 0"):
        refuse_misfits(config, task._replace(rewarded=slice(0, 1)))


def test_episodes_that_are_lost_are_not_begun_anew() -> None:
    config = tiny(exploration={"retry": 0.5}, train={"steps": 1500})
    learner = build(config, exploding(env_maker(config.env), {60, 170, 600}, 2))
    lost: list[int] = []
    learner.keep = lambda divergence: lost.append(divergence.seed)
    reports_of(learner)
    assert learner.retries is not None
    failed = learner.retries.state_dict()["failed"]
    assert len(lost) == 3
    assert len(failed) > 5
    assert not set(lost) & set(failed)
    learner.close()
