"""Deep deterministic policy gradient on universal value functions (Lillicrap et al. 2015)."""

import copy

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..config import AgentConfig
from ..goals import GOAL_ENCODERS
from ..networks import Actor, Critic, Critics
from ..normalizer import Normalizer
from ..types import Batch, Episodes, EpisodeShape, GoalObs

SPARSE = (-1.0, 0.0)
"""Range of the sparse reward."""


class Policy(nn.Module):
    """All that is needed to act: observation normaliser, goal encoder and actor.

    Args:
        shape: widths of observation, goal and action.
        config: the agent's configuration.
    """

    def __init__(self, shape: EpisodeShape, config: AgentConfig):
        super().__init__()
        self.normalizer = Normalizer(shape.observation)
        self.encoder = GOAL_ENCODERS[config.goal_encoder](shape.goal, config.relative_goal)
        self.state_goal_size = shape.observation + self.encoder.output_size
        self.actor = Actor(self.state_goal_size, shape.action, config.hidden, config.batch_norm)

    def encode(
        self, observation: torch.Tensor, achieved_goal: torch.Tensor, goal: torch.Tensor
    ) -> torch.Tensor:
        """s ‖ g as the networks see it, ``(..., o), (..., g), (..., g) -> (..., state_goal_size)``."""
        embedding = self.encoder(achieved_goal, goal)
        return torch.cat([self.normalizer(observation), embedding], dim=-1)

    @torch.no_grad()
    def act(self, obs: GoalObs) -> np.ndarray:
        """Greedy actions, ``(n, a)`` in [-1, 1]."""
        arrays = (obs.observation, obs.achieved_goal, obs.desired_goal)
        tensors = [torch.as_tensor(np.asarray(array, dtype=np.float32)) for array in arrays]
        self.actor.eval()
        return self.actor(self.encode(*tensors)).numpy()


class DDPG:
    """Actor, critics, their targets and optimisers.

    Args:
        shape: widths of observation, goal and action.
        config: the agent's configuration.
        reward_range: least and greatest reward of a step, which bound the value of everything.
    """

    def __init__(
        self,
        shape: EpisodeShape,
        config: AgentConfig,
        reward_range: tuple[float, float] = SPARSE,
    ):
        self.config = config
        self.policy = Policy(shape, config)
        norm = "batch" if config.batch_norm else config.critic_norm
        sizes = (self.policy.state_goal_size, shape.action, config.hidden)
        self.critics = Critics(Critic(*sizes, norm) for _ in range(config.num_critics))
        self.target_actor = copy.deepcopy(self.policy.actor).requires_grad_(False)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.actor_optimizer = torch.optim.Adam(
            self.policy.actor.parameters(), config.actor_lr, fused=True
        )
        self.critic_optimizer = torch.optim.Adam(
            self.critics.parameters(), config.critic_lr, fused=True
        )
        self._polyak = get_ema_multi_avg_fn(1.0 - config.tau)
        self._averaged = (
            [*_floats(self.target_actor), *_floats(self.target_critics)],
            [*_floats(self.policy.actor), *_floats(self.critics)],
        )
        self.lowest_value, self.highest_value = (r / (1.0 - config.gamma) for r in reward_range)
        """Returns of getting the least, and the greatest, reward for ever."""
        self.updates = 0

    def act(self, obs: GoalObs) -> np.ndarray:
        """Greedy actions, ``(n, a)`` in [-1, 1]."""
        return self.policy.act(obs)

    def observe(self, episodes: Episodes) -> None:
        """Take new episodes into the moments of observations and goals."""
        self.policy.normalizer.update(torch.as_tensor(episodes.observation))
        self.policy.encoder.observe(torch.as_tensor(episodes.desired_goal))

    def update(self, batch: Batch) -> dict[str, torch.Tensor]:
        """One step on critics and actor, then targets; returns diagnostics as 0-d tensors."""
        with torch.no_grad():
            state_goal, next_state_goal = self.policy.encode(
                batch.observation, batch.achieved_goal, batch.goal
            )
        metrics = self._update_critics(state_goal, next_state_goal, batch)
        if self.updates % self.config.actor_every == 0:
            metrics |= self._update_actor(state_goal)
        self._update_targets()
        self.updates += 1
        return metrics

    @torch.no_grad()
    def targets(self, next_state_goal: torch.Tensor, reward: torch.Tensor) -> torch.Tensor:
        """y = r + γ min Q'(s' ‖ g, μ'(s' ‖ g)), clipped to what a return can be; ``(b,)``."""
        self.target_actor.eval()
        self.target_critics.eval()
        next_action = self.target_actor(next_state_goal)
        next_value = self.target_critics(next_state_goal, next_action).amin(dim=0)
        target = reward + self.config.gamma * next_value
        if self.config.clip_target:
            target = target.clamp(self.lowest_value, self.highest_value)
        return target

    def _update_critics(
        self, state_goal: torch.Tensor, next_state_goal: torch.Tensor, batch: Batch
    ) -> dict[str, torch.Tensor]:
        target = self.targets(next_state_goal, batch.reward)
        self.critics.train()
        values = self.critics(state_goal, batch.action)
        loss = (values - target).square().mean(dim=1).sum()
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.critic_optimizer.step()
        return {
            "critic_loss": loss.detach(),
            "q_mean": values.detach().mean(),
            "target_mean": target.mean(),
            "target_at_bound": (target <= self.lowest_value).float().mean(),
        }

    def _update_actor(self, state_goal: torch.Tensor) -> dict[str, torch.Tensor]:
        """Ascend Q(s ‖ g, μ(s ‖ g)) less the action's weighted mean square, by the pathwise gradient."""
        self.policy.actor.train()
        self.critics.eval()
        action = self.policy.actor(state_goal)
        value = self.critics[0](state_goal, action).mean()
        loss = self.config.action_l2 * action.square().mean() - value
        parameters = list(self.policy.actor.parameters())
        # Only the actor's gradients are asked for, so the critic's weights cost none.
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(loss, parameters), strict=True
        ):
            parameter.grad = gradient
        self.actor_optimizer.step()
        saturated = (action.detach().abs() > 0.99).float().mean()
        return {"actor_q": value.detach(), "action_saturation": saturated}

    @torch.no_grad()
    def _update_targets(self) -> None:
        """θ' ← τ θ + (1 - τ) θ'."""
        targets, sources = self._averaged
        self._polyak(targets, sources, None)

    def state_dict(self) -> dict:
        """Everything that learning goes on from."""
        return {
            "policy": self.policy.state_dict(),
            "critics": self.critics.state_dict(),
            "target_actor": self.target_actor.state_dict(),
            "target_critics": self.target_critics.state_dict(),
            "actor_optimizer": self.actor_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict) -> None:
        """Restore what ``state_dict`` gave."""
        self.policy.load_state_dict(state["policy"])
        self.critics.load_state_dict(state["critics"])
        self.target_actor.load_state_dict(state["target_actor"])
        self.target_critics.load_state_dict(state["target_critics"])
        self.actor_optimizer.load_state_dict(state["actor_optimizer"])
        self.critic_optimizer.load_state_dict(state["critic_optimizer"])
        self.updates = state["updates"]


def _floats(module: nn.Module) -> list[torch.Tensor]:
    """Parameters and floating buffers (batch normalisation's moments), in a fixed order."""
    return [value for value in module.state_dict().values() if value.is_floating_point()]
