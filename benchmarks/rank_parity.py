"""What ranks make together, against what one process makes of all that they have: moments, gradients."""

import numpy as np
import torch

from her_robotics.agents import DDPG
from her_robotics.config import AgentConfig
from her_robotics.distributed import check_alike, checksum, rank, size, spread_
from her_robotics.normalizer import Normalizer
from her_robotics.types import Batch, EpisodeShape

SHAPE = EpisodeShape(horizon=10, observation=10, goal=3, action=4)
BATCH = 32
"""Transitions of a rank's batch."""


def compared(updates: int, agent: AgentConfig) -> dict[str, float]:
    """The largest differences between what ranks share and the whole, as a share of the whole's largest.

    Args:
        updates: that follow, in which ranks see batches and observations of their own.
        agent: how they learn.

    Returns:
        Differences ``moments`` and ``gradients``, and the ``checksum`` of all weights in the end.

    Raises:
        RankError: if weights are not the same in all ranks then.
    """
    generator = np.random.default_rng(0)  # of the whole, which every rank knows here
    own = _agent(agent)
    errors = {"moments": _moments(generator), "gradients": _gradients(own, agent, generator)}
    for _ in range(updates):
        own.policy.normalizer.update(torch.randn(5 + rank(), SHAPE.observation))
        own.update(_batch(np.random.default_rng(torch.initial_seed()), BATCH))
    check_alike(own.state_dict(), f"after {updates} updates")
    return {**errors, "checksum": float(checksum(own.state_dict()))}


def _agent(config: AgentConfig) -> DDPG:
    """An agent that begins with the first rank's weights."""
    torch.manual_seed(rank())
    agent = DDPG(SHAPE, config)
    spread_(agent.state_dict())
    return agent


def _moments(generator: np.random.Generator) -> float:
    """Of equal shares, then of unequal ones of which the first rank has none, against those of all."""
    values = torch.as_tensor(generator.normal(3.0, 2.0, (100 * size(), SHAPE.observation)))
    first, second = values.chunk(2)
    edges = [
        len(second) * max(0, number - 1) ** 2 // (size() - 1) ** 2 for number in range(size() + 1)
    ]
    shared, whole = Normalizer(SHAPE.observation), Normalizer(SHAPE.observation)
    shared.update(first.chunk(size())[rank()])
    shared.update(second[edges[rank()] : edges[rank() + 1]])
    mean = values.mean(dim=0)
    whole.merge(len(values), mean, ((values - mean) ** 2).sum(dim=0))
    pairs = zip(shared.buffers(), whole.buffers(), strict=True)
    return max(_difference(ours, theirs) for ours, theirs in pairs)


def _gradients(agent: DDPG, config: AgentConfig, generator: np.random.Generator) -> float:
    """Of the mean over ranks, each with its part of a batch, against those of the batch."""
    batch, reference = _batch(generator, BATCH * size()), _agent(config)
    rows = slice(BATCH * rank(), BATCH * (rank() + 1))
    pair = (batch.observation[:, rows], batch.achieved_goal[:, rows])
    agent.update(Batch(*pair, batch.goal[rows], batch.action[rows], batch.reward[rows]))
    reference.update(batch)  # the same everywhere, so the mean over ranks is it
    pairs = zip(agent.critics.parameters(), reference.critics.parameters(), strict=True)
    return max(_difference(_grad(ours), _grad(theirs)) for ours, theirs in pairs)


def _grad(parameter: torch.nn.Parameter) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def _batch(generator: np.random.Generator, count: int) -> Batch:
    def draw(*shape: int) -> torch.Tensor:
        return torch.as_tensor(generator.standard_normal(shape, dtype=np.float32))

    return Batch(
        observation=draw(2, count, SHAPE.observation),
        achieved_goal=draw(2, count, SHAPE.goal),
        goal=draw(count, SHAPE.goal),
        action=draw(count, SHAPE.action).tanh(),
        reward=draw(count).sign().clamp(max=0.0),
    )
