import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from her_robotics.relabel import STRATEGIES, GoalIndex, relabel
from her_robotics.replay import Replay
from her_robotics.types import EpisodeShape

from .helpers import NO_GOAL, labelled_episodes, sparse_reward

EVERY_STRATEGY = pytest.mark.parametrize("name", STRATEGIES)
OWN_EPISODE = ["final", "future", "episode"]
HORIZON, STORED, DRAWS = 10, 7, 20_000


def transitions(count: int, horizon: int, stored: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    episode = generator.integers(0, stored, size=count)
    return episode, generator.integers(0, horizon, size=count)


def relabelled(
    name: str,
    k: float,
    count: int = DRAWS,
    horizon: int = HORIZON,
    stored: int = STORED,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, GoalIndex]:
    episode, step = transitions(count, horizon, stored, seed)
    generator = np.random.default_rng(seed + 1)
    goals = relabel(generator, STRATEGIES[name], k, episode, step, horizon, stored)
    return episode, step, goals


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(sorted(STRATEGIES)),
    k=st.floats(0.0, 50.0),
    count=st.integers(1, 60),
    horizon=st.integers(1, 60),
    stored=st.integers(1, 40),
    seed=st.integers(0, 2**32),
)
def test_indices_are_never_out_of_range(
    name: str, k: float, count: int, horizon: int, stored: int, seed: int
) -> None:
    _, _, goals = relabelled(name, k, count, horizon, stored, seed)
    assert all(array.shape == (count,) for array in goals)
    assert goals.desired.dtype == bool
    for array, low, high in ((goals.episode, 0, stored - 1), (goals.step, 1, horizon)):
        assert np.issubdtype(array.dtype, np.integer)
        assert low <= array.min()
        assert array.max() <= high


@pytest.mark.parametrize("name", OWN_EPISODE)
def test_hindsight_goals_come_from_the_same_episode(name: str) -> None:
    episode, _, goals = relabelled(name, k=4.0)
    np.testing.assert_array_equal(goals.episode, episode)


def test_future_goals_are_achieved_after_the_state_and_at_any_step_to_the_last() -> None:
    _, step, goals = relabelled("future", k=1e9)
    offset = goals.step - step
    assert offset.min() == 1
    for start in range(HORIZON):
        assert set(goals.step[step == start]) == set(range(start + 1, HORIZON + 1))


def test_final_goals_are_achieved_at_the_last_step() -> None:
    _, _, goals = relabelled("final", k=1e9)
    assert (goals.step == HORIZON).all()


@pytest.mark.parametrize("name", ["episode", "random"])
def test_episode_and_random_goals_are_achieved_at_every_step_alike(name: str) -> None:
    _, _, goals = relabelled(name, k=1e9)
    counts = np.bincount(goals.step, minlength=HORIZON + 1)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:]).pvalue > 1e-4


def test_random_goals_come_from_every_stored_episode_alike() -> None:
    episode, _, goals = relabelled("random", k=1e9)
    counts = np.bincount(goals.episode, minlength=STORED)
    assert stats.chisquare(counts).pvalue > 1e-4
    assert (goals.episode != episode).any()


def test_future_actual_is_half_future_and_half_goals_really_pursued() -> None:
    episode, step, goals = relabelled("future_actual", k=1e9)
    actual = goals.desired
    assert stats.binomtest(int(actual.sum()), DRAWS, 0.5).pvalue > 1e-4
    np.testing.assert_array_equal(goals.episode[~actual], episode[~actual])
    assert (goals.step[~actual] > step[~actual]).all()
    counts = np.bincount(goals.episode[actual], minlength=STORED)
    assert stats.chisquare(counts).pvalue > 1e-4


@EVERY_STRATEGY
def test_without_hindsight_every_transition_keeps_its_own_desired_goal(name: str) -> None:
    episode, _, goals = relabelled(name, k=0.0)
    assert goals.desired.all()
    np.testing.assert_array_equal(goals.episode, episode)


def test_the_none_strategy_keeps_own_desired_goals_whatever_k() -> None:
    episode, _, goals = relabelled("none", k=100.0)
    assert goals.desired.all()
    np.testing.assert_array_equal(goals.episode, episode)


@pytest.mark.parametrize("k", [0.5, 1.0, 4.0, 8.0])
@pytest.mark.parametrize("name", [*OWN_EPISODE, "random"])
def test_a_share_of_one_minus_one_over_one_plus_k_is_relabelled(name: str, k: float) -> None:
    _, _, goals = relabelled(name, k)
    changed = int((~goals.desired).sum())
    assert stats.binomtest(changed, DRAWS, 1.0 - 1.0 / (1.0 + k)).pvalue > 1e-4


@EVERY_STRATEGY
def test_relabelling_is_pure(name: str) -> None:
    episode, step = transitions(100, HORIZON, STORED, seed=3)
    kept = episode.copy(), step.copy()
    runs = [
        relabel(np.random.default_rng(5), STRATEGIES[name], 4.0, episode, step, HORIZON, STORED)
        for _ in range(2)
    ]
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(episode, kept[0])
    np.testing.assert_array_equal(step, kept[1])


def offsets_of_ours(name: str) -> tuple[np.ndarray, float]:
    """(goal step - t) of the transitions that our replay relabelled, and their share."""
    shape = EpisodeShape(HORIZON, 2, 2, 2)
    replay = Replay(shape, HORIZON * STORED, STRATEGIES[name], 4.0, sparse_reward, seed=0)
    replay.add(labelled_episodes(STORED, HORIZON))
    batch = replay.sample(DRAWS)
    return _offsets(batch.achieved_goal[0].numpy(), batch.goal.numpy())


def offsets_of_sb3(name: str) -> tuple[np.ndarray, float]:
    """The same of stable-baselines3's HerReplayBuffer, filled with the same episodes."""
    pytest.importorskip("stable_baselines3")
    from .sb3 import filled_her_buffer

    buffer = filled_her_buffer(labelled_episodes(STORED, HORIZON), name)
    state = np.random.get_state()  # noqa: NPY002  (the buffer draws from the global generator)
    np.random.seed(0)  # noqa: NPY002
    sample = buffer.sample(DRAWS)
    np.random.set_state(state)  # noqa: NPY002
    observations = sample.observations
    return _offsets(observations["achieved_goal"].numpy(), observations["desired_goal"].numpy())


def _offsets(achieved: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, float]:
    changed = goal[:, 1] != NO_GOAL
    np.testing.assert_array_equal(goal[:, 0], achieved[:, 0])
    return (goal[:, 1] - achieved[:, 1])[changed].astype(int), float(changed.mean())


@pytest.mark.parametrize("name", OWN_EPISODE)
def test_goals_are_distributed_as_stable_baselines3_distributes_them(name: str) -> None:
    (ours, our_share), (theirs, their_share) = offsets_of_ours(name), offsets_of_sb3(name)
    assert our_share == pytest.approx(their_share, abs=5.0 * np.sqrt(0.8 * 0.2 / DRAWS))
    low = min(ours.min(), theirs.min())
    counts = [np.bincount(offset - low, minlength=2 * HORIZON) for offset in (ours, theirs)]
    table = np.stack(counts)[:, np.sum(counts, axis=0) > 0]
    assert table.shape[1] >= HORIZON
    assert stats.chi2_contingency(table).pvalue > 1e-4
