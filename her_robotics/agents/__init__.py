"""Learning algorithms. An agent acts, observes new episodes and updates on batches."""

from typing import ClassVar, Protocol

import numpy as np
import torch

from ..types import Batch, Episodes, GoalObs
from .dagger import DAgger
from .ddpg import DDPG
from .dqn import DQN
from .policy import Policy
from .svg import SVG

__all__ = ["AGENTS", "DDPG", "DQN", "SVG", "Agent", "DAgger", "Policy"]


class Agent(Protocol):
    """What the training loop asks of an algorithm."""

    policy_type: ClassVar[type[Policy]]
    """The policy that it learns."""
    discrete: ClassVar[bool]
    """Whether its actions are choices, or else continuous."""
    unused: ClassVar[tuple[str, ...]]
    """Settings of ``AgentConfig`` that mean nothing to it."""

    @property
    def policy(self) -> Policy:
        """The policy that explores."""
        ...

    @property
    def averaged(self) -> Policy:
        """The policy that is tested and kept, where that is another than the one that explores."""
        ...

    def act(self, obs: GoalObs) -> np.ndarray:
        """Actions to explore from, ``(n, a)``: in [-1, 1], or the indices of choices."""
        ...

    def observe(self, episodes: Episodes) -> None:
        """Take note of new episodes before learning from them."""
        ...

    def start_from(self, weights: dict[str, torch.Tensor]) -> None:
        """Begin with a trained policy's weights."""
        ...

    def update(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Learn from a batch; returns diagnostics as 0-d tensors."""
        ...

    def state_dict(self) -> dict:
        """Everything that learning goes on from."""
        ...

    def load_state_dict(self, state: dict) -> None:
        """Restore what ``state_dict`` gave."""
        ...


AGENTS: dict[str, type[DDPG] | type[DQN] | type[DAgger]] = {
    "ddpg": DDPG,
    "svg": SVG,
    "dqn": DQN,
    "dagger": DAgger,
}
