import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.single import FetchEnv
from her_robotics.relabel import STRATEGIES
from her_robotics.replay import Replay
from her_robotics.types import Batch, Episodes, EpisodeShape

from .helpers import NO_GOAL, labelled_episodes, random_episodes, sparse_reward, within

LABELLED = EpisodeShape(horizon=6, observation=2, goal=2, action=2)
FETCH_PUSH = EpisodeShape(horizon=50, observation=25, goal=3, action=4)
OWN_EPISODE = ["none", "final", "future", "episode"]


def labelled_replay(
    episodes: int, room: int, strategy: str = "future", k: float = 4.0, seed: int = 0
) -> Replay:
    """A replay that was given episodes 0, 1, 2, ... one after another."""
    capacity = room * LABELLED.horizon
    replay = Replay(LABELLED, capacity, STRATEGIES[strategy], k, sparse_reward, seed)
    for index in range(episodes):
        replay.add(labelled_episodes(1, LABELLED.horizon, first=index))
    return replay


def assert_same(one: Batch, other: Batch) -> None:
    assert one.ahead is None
    assert other.ahead is None
    for name, left, right in zip(Batch._fields[:-1], one[:-1], other[:-1], strict=True):
        assert torch.equal(left, right), name


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("reward_type", ["sparse", "dense"])
def test_rewards_are_the_envs_own_of_the_next_achieved_goal(
    strategy: str, reward_type: str
) -> None:
    env = FetchEnv("fetch_push", reward_type=reward_type)
    shape = EpisodeShape(horizon=8, observation=4, goal=3, action=4)
    replay = Replay(
        shape,
        800,
        STRATEGIES[strategy],
        4.0,
        lambda achieved, goal: env.compute_reward(achieved, goal, {}),
        seed=0,
    )
    walks = random_episodes(shape, 100)
    replay.add(walks._replace(achieved_goal=0.03 * walks.achieved_goal.cumsum(axis=1)))
    batch = replay.sample(2000)
    _, following = batch.achieved_goal.numpy()
    expected = env.compute_reward(following, batch.goal.numpy(), {})
    np.testing.assert_array_equal(batch.reward.numpy(), expected.astype(np.float32))
    of_the_state = env.compute_reward(batch.achieved_goal[0].numpy(), batch.goal.numpy(), {})
    if strategy != "none":
        assert (batch.reward.numpy() != of_the_state).any(), "s and s' must be told apart"


def test_a_goal_achieved_by_the_very_transition_is_a_success() -> None:
    batch = labelled_replay(20, 20, "future", k=1e9).sample(3000)
    achieved_now = (batch.goal == batch.achieved_goal[1]).all(dim=1)
    assert achieved_now.any()
    assert torch.equal(batch.reward == 0.0, achieved_now)


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "none"])
def test_there_is_hindsight_until_k_has_come_to_none(strategy: str) -> None:
    until = 7 * LABELLED.horizon
    how = {"strategy": STRATEGIES[strategy], "k": 1e9, "reward": sparse_reward, "seed": 0}
    replay = Replay(LABELLED, 5 * LABELLED.horizon, **how, k_until=until)
    for index in range(7):
        if index:
            own = pursued(replay.sample(3000))
            assert not own.all(), "there is hindsight until then"
        replay.add(labelled_episodes(1, LABELLED.horizon, first=index))
    assert pursued(replay.sample(3000)).all(), "episodes that made room for others count"
    assert np.isnan(replay.satisfied_share(within(1.0)))


@pytest.mark.parametrize(("k", "end"), [(4.0, 0.0), (4.0, 0.5), (0.0, 3.0)])
def test_k_evenly_comes_to_its_end_and_stays_there(k: float, end: float) -> None:
    until = 8 * LABELLED.horizon
    how = {"strategy": STRATEGIES["future"], "k": k, "reward": sparse_reward, "seed": 0}
    replay = Replay(LABELLED, 3 * LABELLED.horizon, **how, k_end=end, k_until=until)
    for stored in range(1, 12):
        replay.add(labelled_episodes(1, LABELLED.horizon, first=stored))
        by_now = k + (end - k) * min(1.0, stored / 8)
        share = float(pursued(replay.sample(20_000)).float().mean())
        assert share == pytest.approx(1.0 / (1.0 + by_now), abs=0.015)


def pursued(batch: Batch) -> torch.Tensor:
    """Which transitions are judged by the goal that their own episode pursued."""
    own = batch.goal[:, 0] == batch.observation[0, :, 0]
    return own & (batch.goal[:, 1] == NO_GOAL)


@pytest.mark.parametrize("strategy", OWN_EPISODE)
def test_no_goal_comes_from_another_episode(strategy: str) -> None:
    batch = labelled_replay(20, 20, strategy).sample(3000)
    assert torch.equal(batch.goal[:, 0], batch.observation[0, :, 0])


@pytest.mark.parametrize("strategy", ["random", "future_actual"])
def test_goals_of_other_episodes_are_only_of_stored_ones(strategy: str) -> None:
    batch = labelled_replay(17, 5, strategy, k=1e9).sample(3000)
    assert (batch.goal[:, 0] != batch.observation[0, :, 0]).any()
    assert set(batch.goal[:, 0].int().tolist()) <= set(range(12, 17))


@settings(deadline=None, max_examples=30)
@given(
    room=st.integers(1, 8),
    chunks=st.lists(st.integers(0, 8), min_size=1, max_size=6),
    strategy=st.sampled_from(sorted(STRATEGIES)),
)
def test_what_was_stored_is_what_is_read(room: int, chunks: list[int], strategy: str) -> None:
    replay = labelled_replay(1, room, strategy)
    for chunk in chunks:
        count = min(chunk, room)
        replay.add(labelled_episodes(count, LABELLED.horizon, first=replay.added))
    kept = range(max(0, replay.added - room), replay.added)
    assert len(replay) == len(kept)
    batch = replay.sample(200)
    now, following = batch.observation
    assert torch.equal(batch.action, now)
    assert torch.equal(batch.observation, batch.achieved_goal)
    assert torch.equal(following[:, 0], now[:, 0])
    assert torch.equal(following[:, 1], now[:, 1] + 1)
    assert set(now[:, 0].int().tolist()) <= set(kept)
    assert set(now[:, 1].int().tolist()) <= set(range(LABELLED.horizon))


def test_every_stored_transition_is_drawn_and_the_oldest_were_overwritten() -> None:
    now = labelled_replay(17, 5).sample(3000).observation[0].int()
    drawn = {tuple(row) for row in now.tolist()}
    assert drawn == {(episode, step) for episode in range(12, 17) for step in range(6)}


def test_own_goals_are_those_the_episode_pursued() -> None:
    batch = labelled_replay(20, 20, "none").sample(500)
    assert (batch.goal[:, 1] == NO_GOAL).all()


def test_a_batch_is_float32_of_the_documented_shapes(shape: EpisodeShape) -> None:
    replay = Replay(shape, 600, STRATEGIES["future"], 4.0, sparse_reward, seed=0)
    replay.add(random_episodes(shape, 10))
    batch = replay.sample(7)
    assert [tuple(value.shape) for value in batch[:-1]] == [
        (2, 7, 5),
        (2, 7, 3),
        (7, 3),
        (7, 2),
        (7,),
    ]
    assert all(value.dtype == torch.float32 for value in batch[:-1])


def test_a_batch_does_not_share_memory_with_the_ring(shape: EpisodeShape) -> None:
    replay = Replay(shape, 6, STRATEGIES["future"], 4.0, sparse_reward, seed=0)
    episodes = random_episodes(shape, 1)
    replay.add(episodes)
    for value in replay.sample(50)[:-1]:
        value.fill_(99.0)
    assert all((value != 99.0).all() for value in replay.sample(50)[:-1])


@settings(deadline=None, max_examples=30)
@given(
    st.builds(
        EpisodeShape, st.integers(1, 60), st.integers(1, 30), st.integers(1, 14), st.integers(1, 8)
    ),
    st.integers(60, 5000),
)
def test_memory_is_told_to_the_byte(shape: EpisodeShape, capacity: int) -> None:
    replay = Replay(shape, capacity, STRATEGIES["future"], 4.0, sparse_reward, seed=0)
    assert Replay.memory(shape, capacity) == sum(ring.nbytes for ring in replay._data)
    assert all(ring.dtype == np.float32 for ring in replay._data)


def test_a_million_steps_of_fetch_push_take_less_than_200_mb() -> None:
    assert 100e6 < Replay.memory(FETCH_PUSH, 1_000_000) < 200e6


def test_sampling_from_an_empty_replay_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        labelled_replay(0, 5).sample(4)


@pytest.mark.parametrize("name", ["observation", "achieved_goal", "action"])
@pytest.mark.parametrize("axis", [1, 2])
def test_a_wrong_shape_is_refused_by_name_and_nothing_is_stored(name: str, axis: int) -> None:
    replay = labelled_replay(0, 5)
    episodes = labelled_episodes(2, LABELLED.horizon)
    cut = getattr(episodes, name).take(range(1), axis=axis)
    with pytest.raises(ValueError, match=name):
        replay.add(episodes._replace(**{name: cut}))
    assert len(replay) == 0


def test_a_wrong_desired_goal_is_refused_by_name() -> None:
    episodes = labelled_episodes(2, LABELLED.horizon)
    with pytest.raises(ValueError, match="desired_goal"):
        labelled_replay(0, 5).add(episodes._replace(desired_goal=np.zeros((2, 3))))


def test_more_episodes_than_fit_and_too_little_room_are_refused() -> None:
    with pytest.raises(ValueError, match="6 episodes at once do not fit in room for 5"):
        labelled_replay(0, 5).add(labelled_episodes(6, LABELLED.horizon))
    with pytest.raises(ValueError, match="capacity 5 holds no episode of 6 steps"):
        Replay(LABELLED, 5, STRATEGIES["future"], 4.0, sparse_reward, seed=0)


@pytest.mark.parametrize("stored", [3, 17])
def test_a_restored_replay_goes_on_with_the_same_samples(stored: int) -> None:
    original, restored = labelled_replay(stored, 5), labelled_replay(0, 5, seed=9)
    original.sample(10)
    file = io.BytesIO()
    torch.save(original.state_dict(), file)
    file.seek(0)
    restored.load_state_dict(torch.load(file))
    for index in range(3):
        assert_same(original.sample(50), restored.sample(50))
        for replay in (original, restored):
            replay.add(labelled_episodes(2, LABELLED.horizon, first=100 + 2 * index))


def test_a_state_of_another_size_is_refused() -> None:
    saved = labelled_replay(17, 5).state_dict()
    with pytest.raises(ValueError, match="observation"):
        labelled_replay(0, 9).load_state_dict(saved)


def test_the_seed_decides_the_samples() -> None:
    first, second, other = (labelled_replay(20, 20, seed=seed) for seed in (4, 4, 5))
    batch = first.sample(100)
    assert_same(batch, second.sample(100))
    assert not torch.equal(batch.observation, other.sample(100).observation)


def test_episodes_are_kept_once_and_copied(shape: EpisodeShape) -> None:
    replay = Replay(shape, 12, STRATEGIES["none"], 0.0, sparse_reward, seed=0)
    episodes = random_episodes(shape, 2)
    replay.add(episodes)
    expected = replay.state_dict()["observation"].clone()
    Episodes._make(array.fill(0.0) for array in episodes)
    assert torch.equal(replay.state_dict()["observation"], expected)


def test_hindsight_goals_are_all_satisfied_where_nothing_moves_and_none_where_all_does() -> None:
    moving = labelled_replay(10, 10, "future")
    assert moving.satisfied_share(within(0.5)) == 0.0
    still = labelled_replay(0, 10, "future")
    episodes = labelled_episodes(10, LABELLED.horizon)
    still.add(episodes._replace(achieved_goal=0.0 * episodes.achieved_goal))
    assert still.satisfied_share(within(0.5)) == 1.0
    assert np.isnan(labelled_replay(10, 10, "none").satisfied_share(within(0.5)))


def test_hindsight_goals_are_satisfied_as_the_given_test_says() -> None:
    replay = labelled_replay(10, 10, "future")
    share = replay.satisfied_share(within(2.5))
    assert 0.0 < share < 1.0
    assert replay.satisfied_share(lambda *goals: ~within(2.5)(*goals)) == pytest.approx(1.0 - share)


def test_asking_for_the_satisfied_share_leaves_the_samples_as_they_were() -> None:
    asked, left = labelled_replay(10, 10), labelled_replay(10, 10)
    assert asked.satisfied_share(within(2.0)) == asked.satisfied_share(within(2.0)) > 0.0
    assert_same(asked.sample(50), left.sample(50))
