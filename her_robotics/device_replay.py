"""A replay for learning on a GPU: episodes are kept there too, relabelled and judged there."""

from typing import Any

import numpy as np
import torch

from .relabel import GoalIndex
from .replay import Replay
from .types import Ahead, Batch, Episodes, RewardFunction


class DistanceReward:
    """A reward made of distances, which a device can compute as well as the env that it is of.

    Args:
        compute: the env's own.
        parts: parts of equal width that make up a goal.
        threshold: how far a part may be from its own to count as reached.
        dense: whether it is minus the mean distance, or else minus the share of parts beyond the threshold.
    """

    def __init__(self, compute: RewardFunction, parts: int, threshold: float, dense: bool):
        self._compute = compute
        self._parts, self._threshold, self._dense = parts, threshold, dense

    def __call__(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """The env's own, ``(..., g), (..., g) -> (...)``."""
        return self._compute(achieved, desired)

    def on_device(self, achieved: torch.Tensor, desired: torch.Tensor) -> torch.Tensor:
        """The same of tensors, ``(..., g), (..., g) -> (...)`` float32."""
        difference = (achieved - desired).unflatten(-1, (self._parts, -1))
        distances = torch.linalg.vector_norm(difference, dim=-1)
        if self._dense:
            return -distances.mean(dim=-1)
        return -(distances > self._threshold).float().mean(dim=-1)


class DeviceReplay(Replay):
    """A replay whose batches are made on a device, and are those of a ``Replay`` of the same seed.

    Which transitions and whose goals are drawn is arithmetic on a few hundred indices, and stays on the host
    with its generator; everything they point to is gathered on the device, from a copy of the episodes. The
    reward is computed there if it is a ``DistanceReward``; any other is asked on the host, for which goals
    travel there and back. The host keeps what checkpoints save.

    Args:
        device: where batches are to be.
        arguments: of ``Replay``.
    """

    def __init__(self, device: torch.device, *arguments: Any):
        super().__init__(*arguments)
        self._device = device
        self._there = {
            name: torch.zeros(ring.shape, device=device)
            for name, ring in zip(Episodes._fields, self._data, strict=True)
        }

    def add(self, episodes: Episodes) -> None:
        super().add(episodes)
        count = len(episodes.desired_goal)
        slots = self._send((self.added - count + np.arange(count)) % self.max_episodes)
        for copy, new in zip(self._there.values(), episodes, strict=True):
            copy[slots] = self._send(np.asarray(new, np.float32))

    def sample(self, batch_size: int) -> Batch:
        drawn_episode, drawn_step, parts = self._draw(self.generator, batch_size)
        episode, step = self._send(np.stack([drawn_episode, drawn_step]))
        goal = self._relabelled(parts)
        if self._scatter:
            goal = goal + self._send(self._offsets(parts))
        judged = goal
        if self._blur:
            judged = goal + self._send(self._moves(self._blur, len(goal)))
        pair = torch.stack([step, step + 1])  # s and s'
        achieved = self._rows("achieved_goal", episode, pair)
        batch = Batch(
            observation=self._rows("observation", episode, pair),
            achieved_goal=achieved,
            goal=goal,
            action=self._rows("action", episode, step),
            reward=self._judge_there(achieved[1], judged),
        )
        if self._lookahead < 2:
            return batch
        steps = np.minimum(self._reach(drawn_episode, drawn_step, parts), self._lookahead)
        return batch._replace(ahead=self._ahead(episode, step, self._send(steps), judged))

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        for copy, ring in zip(self._there.values(), self._data, strict=True):
            copy[: len(self)] = self._send(ring[: len(self)])

    def _relabelled(self, parts: list[GoalIndex]) -> torch.Tensor:
        """The goals that were drawn, ``(b, g)``."""
        width, chosen = self.shape.goal // self.shape.parts, []
        for number, index in enumerate(parts):
            episode, step, desired = self._send(np.stack(index))
            achieved = self._rows("achieved_goal", episode, step)
            goal = torch.where(
                desired.bool()[:, None], self._there["desired_goal"][episode], achieved
            )
            chosen.append(goal[:, number * width : (number + 1) * width])
        return torch.cat(chosen, dim=1)

    def _judge_there(self, achieved: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        """As ``Replay`` judges, of tensors."""
        if not isinstance(self._reward, DistanceReward):
            return self._send(self._judge(achieved.cpu().numpy(), goal.cpu().numpy()))
        return self._over_rings(self._reward.on_device, achieved, goal)

    def _ahead(
        self, episode: torch.Tensor, step: torch.Tensor, steps: torch.Tensor, goal: torch.Tensor
    ) -> Ahead:
        """As ``Replay`` looks ahead, from tensors."""
        offset = torch.arange(1, self._lookahead + 1, device=self._device)  # (n,)
        passed = step[:, None] + torch.minimum(offset, steps[:, None])  # (b, n)
        achieved = self._rows("achieved_goal", episode[:, None], passed)  # (b, n, g)
        rewards = self._judge_there(achieved, goal[:, None].expand_as(achieved))
        return Ahead(
            observation=self._rows("observation", episode, step + steps),
            achieved_goal=achieved[:, -1],
            rewards=torch.where(offset <= steps[:, None], rewards, 0.0),
            steps=steps,
        )

    def _rows(self, name: str, episode: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """What is kept of some steps, by one flat index."""
        ring = self._there[name]
        return ring.view(-1, ring.shape[-1])[episode * ring.shape[1] + step]

    def _send(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self._device)


def make_replay(device: torch.device, *arguments: Any) -> Replay:
    """A replay for learning on ``device``; ``arguments`` are those of ``Replay``."""
    return Replay(*arguments) if device.type == "cpu" else DeviceReplay(device, *arguments)
