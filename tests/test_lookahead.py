"""What a replay tells of the steps after a transition."""

from functools import partial

import numpy as np
import pytest
import torch

from envs.fetch import FetchVectorEnv
from her_robotics.building import read_task
from her_robotics.relabel import STRATEGIES
from her_robotics.replay import Replay
from her_robotics.types import Ahead, Batch, EpisodeShape, RewardFunction, Task

from .conftest import MakeEnv
from .helpers import NO_GOAL, labelled_episodes, random_episodes, sparse_reward
from .test_replay_parts import NOT_ACHIEVED, TWO, marked_episodes

LABELLED = EpisodeShape(horizon=12, observation=2, goal=2, action=2)
EPISODES, DRAWN = 20, 3000
LOOKAHEADS = pytest.mark.parametrize("lookahead", [2, 5, 12, 50])


def labelled(
    strategy: str, lookahead: int, k: float = 4.0, reward: RewardFunction = sparse_reward
) -> Replay:
    capacity = EPISODES * LABELLED.horizon
    replay = Replay(LABELLED, capacity, STRATEGIES[strategy], k, reward, 0, lookahead)
    replay.add(labelled_episodes(EPISODES, LABELLED.horizon))
    return replay


def ahead_of(batch: Batch) -> Ahead:
    assert batch.ahead is not None
    return batch.ahead


@pytest.mark.parametrize("strategy", STRATEGIES)
@LOOKAHEADS
def test_it_is_of_the_same_episode_by_one_to_n_steps(strategy: str, lookahead: int) -> None:
    batch = labelled(strategy, lookahead).sample(DRAWN)
    ahead = ahead_of(batch)
    assert set(ahead.steps.tolist()) <= set(range(1, lookahead + 1))
    assert torch.equal(ahead.observation, ahead.achieved_goal)
    assert torch.equal(ahead.observation[:, 0], batch.observation[0, :, 0])
    assert torch.equal(ahead.observation[:, 1], batch.observation[0, :, 1] + ahead.steps)


@pytest.mark.parametrize("strategy", ["none", "final", "future", "future_actual"])
@LOOKAHEADS
def test_it_ends_where_the_hindsight_goal_was_achieved_or_with_the_episode(
    strategy: str, lookahead: int
) -> None:
    batch = labelled(strategy, lookahead, k=1.0).sample(DRAWN)
    asked = batch.goal[:, 1] == NO_GOAL
    end = torch.where(asked, float(LABELLED.horizon), batch.goal[:, 1])
    left = end - batch.observation[0, :, 1]
    assert torch.equal(ahead_of(batch).steps.float(), left.clamp(max=lookahead))


@LOOKAHEADS
def test_the_first_reward_is_the_transitions_and_the_last_of_hindsight_is_success(
    lookahead: int,
) -> None:
    batch = labelled("future", lookahead, k=1e9).sample(DRAWN)
    ahead = ahead_of(batch)
    assert torch.equal(ahead.rewards[:, 0], batch.reward)
    there = (ahead.achieved_goal == batch.goal).all(dim=1)
    assert there.any()
    last = ahead.rewards[torch.arange(DRAWN), ahead.steps - 1]
    assert torch.equal(last == 0.0, there)
    beyond = torch.arange(1, lookahead + 1) > ahead.steps[:, None]
    assert (ahead.rewards[beyond] == 0.0).all()
    assert torch.equal((ahead.rewards == -1.0).sum(dim=1), ahead.steps - there.long())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_looking_ahead_draws_the_same_transitions(strategy: str) -> None:
    blind, also_blind, seeing = (labelled(strategy, lookahead) for lookahead in (0, 1, 10))
    for _ in range(3):
        one, other, more = (replay.sample(100) for replay in (blind, also_blind, seeing))
        assert one.ahead is None
        assert other.ahead is None
        ahead_of(more)
        for name in Batch._fields[:-1]:
            assert torch.equal(getattr(one, name), getattr(more, name)), name
            assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_it_is_float32_of_the_documented_shapes_and_a_copy(shape: EpisodeShape) -> None:
    replay = Replay(shape, 60, STRATEGIES["future"], 4.0, sparse_reward, 0, lookahead=4)
    replay.add(random_episodes(shape, 10))
    ahead = ahead_of(replay.sample(7))
    assert [tuple(value.shape) for value in ahead] == [(7, 5), (7, 3), (7, 4), (7,)]
    assert all(value.dtype == torch.float32 for value in ahead[:-1])
    for value in ahead[:2]:
        value.fill_(99.0)
    assert all(
        (value != 99.0).all() for value in replay.state_dict().values() if torch.is_tensor(value)
    )


@pytest.fixture(params=["fetch_push", "fetch_push_two"])
def tasks(request: pytest.FixtureRequest, make_env: MakeEnv) -> dict[str, Task]:
    """A task of one object or of two, with either reward."""
    kinds = ("sparse", "dense")
    make = partial(make_env, request.param, num_envs=1)
    envs: list[FetchVectorEnv] = [make(reward_type=kind) for kind in kinds]
    return {kind: read_task(env) for kind, env in zip(kinds, envs, strict=True)}


@pytest.mark.parametrize("kind", ["sparse", "dense"])
@pytest.mark.parametrize("strategy", ["future", "future_actual", "none"])
def test_rewards_are_the_envs_own_of_every_step_on_the_way(
    tasks: dict[str, Task], kind: str, strategy: str
) -> None:
    task, lookahead = tasks[kind], 6
    goal, parts = task.shape.goal, task.shape.parts
    shape = EpisodeShape(horizon=12, observation=2, goal=goal, action=2, parts=parts)
    reward = task.reward
    replay = Replay(shape, 240, STRATEGIES[strategy], 4.0, reward, 0, lookahead)
    labels = labelled_episodes(EPISODES, shape.horizon)
    walks = 0.03 * random_episodes(shape, EPISODES).achieved_goal.cumsum(axis=1)
    replay.add(labels._replace(achieved_goal=walks, desired_goal=walks[:, 8] + 0.01))
    batch = replay.sample(500)
    ahead, expected = ahead_of(batch), np.zeros((500, lookahead), np.float32)
    rows = zip(
        *(batch.observation[0].int().numpy().T), ahead.steps, batch.goal.numpy(), strict=True
    )
    for index, (episode, step, count, wanted) in enumerate(rows):
        passed = walks[episode, step + 1 : step + 1 + count]
        for offset, achieved in enumerate(passed):  # one at a time, as the env is asked in play
            expected[index, offset] = reward(achieved[None], wanted[None])[0]
        np.testing.assert_array_equal(ahead.achieved_goal[index].numpy(), passed[-1])
    np.testing.assert_allclose(ahead.rewards.numpy(), expected, rtol=1e-6)
    assert len(np.unique(expected)) > 1


def test_of_a_goal_in_parts_the_one_achieved_last_decides() -> None:
    def blank(achieved: np.ndarray, goal: np.ndarray) -> np.ndarray:
        return np.zeros(achieved.shape[:-1], np.float32)

    replay = Replay(TWO, 10 * TWO.horizon, STRATEGIES["future"], 1.0, blank, 0, lookahead=4)
    replay.add(marked_episodes())
    batch = replay.sample(DRAWN)
    step, first, second = batch.observation[0, :, 0], batch.goal[:, 1], batch.goal[:, 3]
    ends = [
        torch.where(wanted == NOT_ACHIEVED, float(TWO.horizon), wanted - offset)
        for wanted, offset in ((first, 0.0), (second, 100.0))
    ]
    expected = (torch.maximum(*ends) - step).clamp(max=4.0)
    ahead = ahead_of(batch)
    assert torch.equal(ahead.steps.float(), expected)
    assert torch.equal(ahead.achieved_goal[:, 1], step + ahead.steps)
    assert torch.equal(ahead.achieved_goal[:, 3], step + ahead.steps + 100)
