"""What the return that behaviour got does to the targets of DDPG."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from her_robotics.agents import DDPG
from her_robotics.config import AgentConfig
from her_robotics.relabel import STRATEGIES
from her_robotics.replay import Replay
from her_robotics.types import Ahead, Batch, Episodes, EpisodeShape

from .helpers import random_episodes, sparse_reward

SHAPE = EpisodeShape(horizon=12, observation=5, goal=3, action=2)
CONFIG = AgentConfig(hidden=(32, 32), gamma=0.9, tau=0.05)


def build(**changes: object) -> DDPG:
    agent = DDPG(SHAPE, replace(CONFIG, **changes))
    agent.observe(random_episodes(SHAPE, 20))
    return agent


def opinionated(**changes: object) -> DDPG:
    """An agent whose values differ from state to state, so that some bounds raise their targets."""
    agent = build(num_critics=2, **changes)
    for critic in agent.target_critics:
        critic.body[-1].weight.mul_(20.0)
        critic.body[-1].bias.sub_(5.0)
    return agent


def sampled(count: int, seed: int = 0) -> Batch:
    """Transitions of noise, with what came up to five steps after them."""
    replay = Replay(SHAPE, 600, STRATEGIES["future"], 4.0, sparse_reward, seed, lookahead=5)
    replay.add(random_episodes(SHAPE, 20))
    return replay.sample(count)


def row(batch: Batch, index: int) -> Batch:
    """One transition of a batch."""
    assert batch.ahead is not None
    here = slice(index, index + 1)
    ahead = Ahead(*(value[here] for value in batch.ahead))
    pairs = batch.observation[:, here], batch.achieved_goal[:, here]
    return Batch(*pairs, batch.goal[here], batch.action[here], batch.reward[here], ahead)


def one_step(agent: DDPG, batch: Batch) -> torch.Tensor:
    encoded = agent.policy.encode(batch.observation, batch.achieved_goal, batch.goal)
    return agent.targets(encoded[1], batch.reward)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_targets_are_the_greater_of_the_one_step_ones_and_the_bounds(batch_norm: bool) -> None:
    agent = opinionated(batch_norm=batch_norm)
    for seed in range(3):
        batch = sampled(64, seed)
        assert batch.ahead is not None
        target, bound = one_step(agent, batch), agent.ahead_targets(batch.ahead, batch.goal)
        assert 0.1 < (bound > target).float().mean() < 0.9
        used = agent.update(batch)["target_mean"]
        torch.testing.assert_close(used, torch.maximum(target, bound).mean())


def test_no_target_is_below_the_one_step_one() -> None:
    agent, batch, raised = opinionated(), sampled(24), 0
    for index in range(24):
        alone = row(batch, index)
        target = one_step(agent, alone)[0]
        used = agent.update(alone)["target_mean"]
        assert used >= target
        raised += bool(used > target)
    assert 0 < raised < 24


def constant(agent: DDPG, value: float) -> None:
    """Let the target critics give every state this value."""
    for critic in agent.target_critics:
        critic.body[-1].weight.fill_(0.0)
        critic.body[-1].bias.fill_(value)


@pytest.mark.parametrize(
    ("value", "clipped", "expected"),
    [
        (-2.0, True, [-1.9 - 2.0 * 0.729, -1.0 - 1.8, -1.62]),
        (-1e3, True, [-10.0, -10.0, -10.0]),
        (1e3, True, [0.0, 0.0, 0.0]),
        (1e3, False, [-1.9 + 729.0, -1.0 + 900.0, 810.0]),
    ],
)
def test_the_bound_is_the_sum_written_out(
    value: float, clipped: bool, expected: list[float]
) -> None:
    agent = build(clip_target=clipped, num_critics=2)
    constant(agent, value)
    rewards = [[-1.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    ahead = Ahead(
        torch.randn(3, SHAPE.observation),
        torch.randn(3, SHAPE.goal),
        torch.tensor(rewards),
        torch.tensor([3, 1, 2]),
    )
    bound = agent.ahead_targets(ahead, torch.randn(3, SHAPE.goal))
    torch.testing.assert_close(bound, torch.tensor(expected))


def test_a_look_one_step_ahead_is_the_one_step_target() -> None:
    agent, batch = build(num_critics=2, clip_target=False), sampled(64)
    ahead = Ahead(
        batch.observation[1], batch.achieved_goal[1], batch.reward[:, None], torch.ones(64).long()
    )
    torch.testing.assert_close(agent.ahead_targets(ahead, batch.goal), one_step(agent, batch))


def test_the_value_ahead_is_for_the_same_goal_and_of_the_target_networks() -> None:
    agent, batch = build(clip_target=False), sampled(64)
    assert batch.ahead is not None
    before = agent.ahead_targets(batch.ahead, batch.goal)
    assert not torch.equal(agent.ahead_targets(batch.ahead, batch.goal + 1.0), before)
    for parameter in (*agent.policy.actor.parameters(), *agent.critics.parameters()):
        parameter.data.add_(1.0)
    assert torch.equal(agent.ahead_targets(batch.ahead, batch.goal), before)


FAR, HORIZON = 10, 20
ROW = EpisodeShape(HORIZON, observation=FAR + 1, goal=1, action=1)
TRUTH = 10.0 * 0.9 ** (FAR - 1)
"""Value of the first state of a row at whose far end there is a reward of 1 for ever."""


def values_of_the_first_state(lookahead: int, updates: int) -> list[float]:
    """What the critic takes it for after each update."""
    agent = DDPG(ROW, replace(CONFIG, relative_goal=False, action_l2=0.0), (0.0, 1.0))
    place = np.minimum(np.arange(HORIZON + 1), FAR)
    # No state looks like another, so that the critic cannot guess one from the next.
    walk = Episodes(
        observation=np.eye(FAR + 1, dtype=np.float32)[place][None],
        achieved_goal=place.astype(np.float32)[None, :, None],
        desired_goal=np.full((1, 1), FAR, np.float32),
        action=np.ones((1, HORIZON, 1), np.float32),
    )

    def reward(achieved: np.ndarray, goal: np.ndarray) -> np.ndarray:
        return (achieved == goal)[..., 0].astype(np.float32)

    replay = Replay(ROW, HORIZON, STRATEGIES["none"], 0.0, reward, 0, lookahead)
    replay.add(walk)
    agent.observe(walk)
    arrays = walk.observation[:, 0], walk.achieved_goal[:, 0], walk.desired_goal
    values = []
    for _ in range(updates):
        agent.update(replay.sample(64))
        with torch.no_grad():
            first = agent.policy.encode(*map(torch.from_numpy, arrays))
            values.append(agent.critics[0](first, torch.ones(1, 1)).item())
    return values


def test_news_of_a_distant_reward_come_in_fewer_updates_and_are_true() -> None:
    known = {}
    for lookahead, updates in ((1, 800), (4, 600), (10, 600)):
        values = values_of_the_first_state(lookahead, updates)
        known[lookahead] = next(i for i, value in enumerate(values) if value > 0.8 * TRUTH)
        assert max(values) < 1.05 * TRUTH, "the bound is one from below"
        assert values[-1] > 0.9 * TRUTH
    assert 2 * known[10] < 2 * known[4] < known[1]
