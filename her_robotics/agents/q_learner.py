"""What algorithms share that learn Q(s, a ‖ g) from its own value one step on."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from ..backprop import Network, network
from ..config import AgentConfig
from ..types import Ahead, Batch, Episodes, GoalObs
from .policy import Policy, View

CPU = torch.device("cpu")
SPARSE = (-1.0, 0.0)
"""Range of the sparse reward."""


class QLearner(ABC):
    """A policy, targets of values bounded by what a return can be, and networks that follow others.

    Args:
        policy: what acts and explores.
        config: the agent's configuration.
        reward_range: least and greatest reward of a step, which bound the value of everything.
        critic_view: what critics see, where that is not what the policy sees.
        device: where networks are and batches come from.
    """

    policy_type: ClassVar[type[Policy]]
    """The policy that it learns."""
    discrete: ClassVar[bool]
    """Whether its actions are choices, or else continuous."""
    unused: ClassVar[tuple[str, ...]]
    """Settings of ``AgentConfig`` that mean nothing to it."""

    def __init__(
        self,
        policy: Policy,
        config: AgentConfig,
        reward_range: tuple[float, float],
        critic_view: View | None = None,
        device: torch.device = CPU,
    ):
        # Weights are drawn on the CPU, so that they are a seed's own wherever they are used.
        self.config, self.policy, self.device = config, policy.to(device), device
        self.critic_view = critic_view.to(device) if critic_view else None
        self.averaged = policy
        """The policy that is tested and kept."""
        self.lowest_value, self.highest_value = (r / (1.0 - config.gamma) for r in reward_range)
        """Returns of getting the least, and the greatest, reward for ever."""
        self.updates = 0
        self._followers: list[tuple[torch.Tensor, torch.Tensor, float]] = []
        self._networks: dict[tuple[nn.Module, int], Network] = {}

    def act(self, obs: GoalObs) -> np.ndarray:
        """Greedy actions, ``(n, a)``."""
        return self.policy.act(obs)

    def observe(self, episodes: Episodes) -> None:
        """Take new episodes into the moments of observations and goals."""
        shown = (episodes.observation, episodes.desired_goal)
        observation, goal = (torch.as_tensor(each, device=self.device) for each in shown)
        for view in (self.policy, self.critic_view):
            if view:
                view.observe(observation, goal)

    def encode(
        self, observation: torch.Tensor, achieved_goal: torch.Tensor, goal: torch.Tensor
    ) -> torch.Tensor:
        """s ‖ g as the policy sees it, and behind it as critics do if they see another; ``(..., n)``."""
        seen = self.policy.encode(observation, achieved_goal, goal)
        if self.critic_view is None:
            return seen
        return torch.cat([seen, self.critic_view.encode(observation, achieved_goal, goal)], dim=-1)

    def for_actor(self, state_goal: torch.Tensor) -> torch.Tensor:
        """The actor's part of what ``encode`` gave."""
        return state_goal[..., : self.policy.state_goal_size]

    def for_critics(self, state_goal: torch.Tensor) -> torch.Tensor:
        """The critics' part of what ``encode`` gave."""
        return state_goal[..., self.policy.state_goal_size if self.critic_view else 0 :]

    @torch.no_grad()
    def start_from(self, weights: dict[str, torch.Tensor]) -> None:
        """Begin with a trained policy's weights; what follows the policy's networks begins there too.

        Raises:
            RuntimeError: if they are of another policy.
        """
        self.policy.load_state_dict(weights)
        for follower, followed, _ in self._followers:
            follower.copy_(followed)

    @torch.no_grad()
    def update(self, batch: Batch) -> dict[str, torch.Tensor]:
        """One step on the networks, then their targets; returns diagnostics as 0-d tensors."""
        self.policy.encoder.train()
        state_goal, next_state_goal = self._seen(batch)
        target = self.targets(next_state_goal, batch.reward)
        if batch.ahead is not None:
            later = self.ahead_targets(batch.ahead, batch.goal)
            target = later if self.config.td_lambda else torch.maximum(target, later)
        metrics = self._teach_encoder(state_goal, batch.action, target)
        metrics |= self._learn(state_goal.detach(), batch.action, target)
        for follower, followed, share in self._followers:
            follower.lerp_(followed, share)  # θ' ← τ θ + (1 - τ) θ'
        self.updates += 1
        self.policy.encoder.eval()
        return metrics

    @torch.no_grad()
    def targets(self, next_state_goal: torch.Tensor, reward: torch.Tensor) -> torch.Tensor:
        """y = r + γ V'(s' ‖ g), clipped to what a return can be; ``(b,)``."""
        return self._clip(reward + self.config.gamma * self._target_value(next_state_goal))

    @torch.no_grad()
    def ahead_targets(self, ahead: Ahead, goal: torch.Tensor) -> torch.Tensor:
        """r_0 + γ r_1 + … + γⁿ V'(s_n ‖ g), clipped alike; ``(b,)``.

        With n drawn so that it goes on with probability λ, these are TD(λ) targets: a squared error's
        gradient is linear in its target, so the mean over n is that of the λ-return (Sutton 1988).

        Else they are lower bounds: what behaviour got in n steps is at most what the best policy gets, if
        dynamics are deterministic, and a target raised to it learns in one update what takes n of one
        step each (He et al. 2017, "Learning to Play in a Day: Faster Deep RL by Optimality Tightening",
        equation 3). Behaviour pursued another goal than the hindsight one, so as targets they mislead.
        """
        gamma, count = self.config.gamma, ahead.rewards.shape[1]
        powers = torch.arange(count, dtype=torch.float32, device=self.device)
        discounted = ahead.rewards @ gamma**powers
        state_goal = self.encode(ahead.observation, ahead.achieved_goal, goal)
        value = self._target_value(state_goal)
        return self._clip(discounted + gamma**ahead.steps * value)

    @abstractmethod
    def _target_value(self, state_goal: torch.Tensor) -> torch.Tensor:
        """V'(s ‖ g), what the targets say of acting greedily from there, ``(b,)``."""

    @abstractmethod
    def _learn(
        self, state_goal: torch.Tensor, action: torch.Tensor, target: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Step towards ``target`` ``(b,)``, and improve what acts; returns diagnostics."""

    def _seen(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """s ‖ g and s' ‖ g, ``(b, n)`` each; with a gradient to s ‖ g if there is an encoder to teach."""
        state_goal, next_state_goal = self.encode(
            batch.observation, batch.achieved_goal, batch.goal
        )
        return state_goal, next_state_goal

    def _teach_encoder(
        self, state_goal: torch.Tensor, action: torch.Tensor, target: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Step on a goal encoder that has something to learn; returns diagnostics."""
        return {}

    def _clip(self, target: torch.Tensor) -> torch.Tensor:
        if not self.config.clip_target:
            return target
        return target.clamp_(self.lowest_value, self.highest_value)

    def _target_metrics(self, target: torch.Tensor) -> dict[str, torch.Tensor]:
        at_bound = (target <= self.lowest_value).float().mean()
        return {"target_mean": target.mean(), "target_at_bound": at_bound}

    def _network(self, module: nn.Module, state_goal: torch.Tensor) -> Network:
        """``module`` made ready for a batch as large as this one."""
        key = (module, len(state_goal))
        if key not in self._networks:
            self._networks[key] = network(*key)
        return self._networks[key]


def read_count(value: object) -> int:
    """A saved number of updates.

    Raises:
        ValueError: if it is none.
    """
    if type(value) is not int or value < 0:
        raise ValueError("the number of updates is none")
    return value


def restore(optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Restore Adam's moments, which torch does not compare with what they are of.

    Its settings are left as the configuration has them.

    Raises:
        ValueError: if they are of other parameters.
    """
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    for index, moments in state["state"].items():
        whole = parameters[index].shape
        expected = {"step": torch.Size(), "exp_avg": whole, "exp_avg_sq": whole}
        given = {name: value.shape for name, value in moments.items()}
        # The fused step takes them for contiguous without looking.
        if given != expected or not all(value.is_contiguous() for value in moments.values()):
            raise ValueError("the optimiser's moments are of other parameters")
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state["state"], "param_groups": groups})
