"""The bonus for what was seldom come to: α / √N by hand, in what is learnt from, and over a resume."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from her_robotics.building import build, read_task
from her_robotics.checkpoint import load_checkpoint, save_checkpoint
from her_robotics.counting import SLOTS, Counts
from her_robotics.errors import UserError
from her_robotics.learner import Learner
from her_robotics.types import Episodes, EpisodeShape

from .helpers import GoalPoints, random_episodes
from .runs import after, reports_of, same, tiny

SHAPE = EpisodeShape(horizon=30, observation=3, goal=2, action=1)
ALPHA, CELL = 0.5, 0.3
EXPLORATION = {"random_episodes": 2, "count_bonus": ALPHA, "count_cell": CELL}


def cells(episodes: Episodes) -> list[tuple[int, ...]]:
    """Where every step came to, counted by hand."""
    offset = episodes.achieved_goal[:, 1:] - episodes.desired_goal[:, None]
    return [
        tuple(math.floor(x / np.float32(CELL)) for x in row)
        for row in offset.reshape(-1, offset.shape[-1])
    ]


def counted(**changes: object) -> Learner:
    """A learner on points in a plane, with the bonus."""
    agent = {"hidden": [8], "lookahead": 4}
    return build(tiny(exploration=EXPLORATION, agent=agent, **changes), GoalPoints)


def test_the_bonus_is_alpha_by_the_root_of_how_often_a_cell_was_come_to() -> None:
    counts, first, second = Counts(slice(None), ALPHA, CELL), *map(_walks, (0, 1))
    counts.observe(first)
    counts.observe(second)
    visits = Counter(cells(first) + cells(second))
    assert max(visits.values()) > 20 > 2 > min(visits.values())
    bonus = counts.bonus(second.achieved_goal[:, 1:], second.desired_goal[:, None])
    expected = [ALPHA / math.sqrt(visits[cell]) for cell in cells(second)]
    np.testing.assert_allclose(bonus.ravel(), expected)
    assert counts.mean(second) == pytest.approx(np.mean(expected))


def _walks(seed: int) -> Episodes:
    return random_episodes(SHAPE, 40, seed)


def test_what_was_never_come_to_has_the_whole_bonus() -> None:
    counts = Counts(slice(None), ALPHA, CELL)
    counts.observe(_walks(0))
    assert counts.bonus(np.full((1, 2), 50.0), np.zeros((1, 2))) == ALPHA


def test_only_what_is_rewarded_of_a_goal_is_counted() -> None:
    counts, seen = (Counts(rewarded, ALPHA, CELL) for rewarded in (slice(2, None), slice(None)))
    walks = _walks(0)
    noise = np.random.default_rng(1).normal(size=walks.achieved_goal.shape)
    wider = walks._replace(
        achieved_goal=np.concatenate([noise, walks.achieved_goal], axis=-1),
        desired_goal=np.concatenate([walks.desired_goal] * 2, axis=-1),
    )
    counts.observe(wider)
    seen.observe(walks)
    assert same(counts.state_dict(), seen.state_dict())


def test_cells_rarely_share_a_counter_even_where_they_differ_in_one_coordinate_by_one() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(-11, 11)] * 3), axis=-1).reshape(-1, 3) + 0.5
    slots = Counts(slice(None), 1.0, 1.0)._slots(grid, np.zeros_like(grid))
    shared = len(grid) - len(set(slots.tolist()))
    expected = len(grid) ** 2 / (2 * SLOTS)
    assert shared < expected + 5 * math.sqrt(expected)


def test_what_is_learnt_from_has_the_bonus_and_what_is_judged_has_not() -> None:
    learner = counted()
    reports = reports_of(learner)
    counts = learner.counts
    assert counts is not None
    batch = learner.replay.sample(500)
    achieved, goal = batch.achieved_goal[1].numpy(), batch.goal.numpy()
    bonus = counts.bonus(achieved, goal)
    assert np.unique(bonus).size > 5
    plain = learner.task.reward(achieved, goal)
    np.testing.assert_allclose(batch.reward, plain + bonus, rtol=1e-6)
    assert batch.ahead is not None
    assert torch.equal(batch.ahead.rewards[:, 0], batch.reward)
    for report in reports:
        assert 0.0 < report.metrics["train/bonus"] < ALPHA
        assert report.metrics["train/return"] == round(report.metrics["train/return"])
        assert -15.0 <= report.evaluation.mean_return <= 0.0
    falling = [report.metrics["train/bonus"] for report in reports]
    assert falling[-1] < falling[0]


def test_values_may_be_as_high_as_the_bonus_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GoalPoints, "reward_range", (-1.0, 0.0), raising=False)
    agent = counted().agent
    highest, lowest = agent.highest_value, agent.lowest_value
    assert (lowest, highest) == pytest.approx((-1.0 / 0.02, ALPHA / 0.02))
    assert read_task(GoalPoints(1)).reward_range == (-1.0, 0.0)


def test_counts_come_back_to_the_last_one_over_the_disk(tmp_path: object) -> None:
    whole, half, resumed = counted(), counted(), counted()
    expected = [report.metrics for report in reports_of(whole)]
    found = [report.metrics for report in reports_of(half, after(9))]
    save_checkpoint(tmp_path, half.state_dict())
    resumed.load_state_dict(load_checkpoint(tmp_path))
    found += [report.metrics for report in reports_of(resumed)]
    assert found == expected
    assert whole.counts is not None
    assert resumed.counts is not None
    assert same(resumed.counts.state_dict(), whole.counts.state_dict())
    assert int(whole.counts.state_dict()["visits"].sum()) == whole.progress.steps


def test_without_a_bonus_nothing_is_counted_and_nothing_differs() -> None:
    plain, off = (
        build(tiny(exploration=changes), GoalPoints) for changes in ({}, {"count_cell": 9.0})
    )
    assert off.counts is None
    assert [r.metrics for r in reports_of(plain)] == [r.metrics for r in reports_of(off)]
    assert same(plain.agent.state_dict(), off.agent.state_dict())


@pytest.mark.parametrize(
    "wrong",
    [
        {"visits": torch.zeros(3, dtype=torch.int64)},
        {"visits": torch.ones(2, dtype=torch.int64)},
        {"visits": torch.ones(3)},
        {"slots": torch.tensor([0, 1, SLOTS])},
        {"slots": torch.tensor([-1, 1, 2])},
        {"slots": torch.tensor([1, 1, 2])},
    ],
)
def test_what_are_no_counts_is_refused(wrong: dict[str, torch.Tensor]) -> None:
    state = {"slots": torch.tensor([0, 1, 5]), "visits": torch.tensor([2, 1, 7])}
    counts = Counts(slice(None), ALPHA, CELL)
    counts.load_state_dict(state)
    with pytest.raises(ValueError, match="no counts of cells"):
        counts.load_state_dict(state | wrong)
    assert same(counts.state_dict(), state)


def test_a_checkpoint_without_counts_is_refused_where_they_are_asked_for() -> None:
    state = build(tiny(agent={"hidden": [8], "lookahead": 4}), GoalPoints).state_dict()
    with pytest.raises(UserError, match="does not fit this configuration"):
        counted().load_state_dict(state)
