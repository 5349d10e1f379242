"""Deep deterministic policy gradient on universal value functions (Lillicrap et al. 2015)."""

import copy

import numpy as np
import torch
from torch import nn

from ..backprop import Network, flatten, network
from ..config import AgentConfig
from ..goals import GOAL_ENCODERS
from ..networks import Actor, Critic, Critics
from ..normalizer import Normalizer
from ..types import Ahead, Batch, Episodes, EpisodeShape, GoalObs

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
        # One vector each, so that Adam and the averages touch one tensor in place of a dozen.
        actor, target_actor = flatten(self.policy.actor), flatten(self.target_actor)
        critics, target_critics = flatten(self.critics), flatten(self.target_critics)
        self.actor_optimizer = torch.optim.Adam([actor], config.actor_lr, fused=True)
        self.critic_optimizer = torch.optim.Adam([critics], config.critic_lr, fused=True)
        self.averaged = self.policy
        """The policy that is tested and kept: of averaged weights if ``config.average`` is below 1."""
        self._followers = [
            *_pairs(self.target_actor, target_actor, self.policy.actor, actor, config.tau),
            *_pairs(self.target_critics, target_critics, self.critics, critics, config.tau),
        ]
        if config.average < 1.0:
            self.averaged = copy.copy(self.policy)
            self.averaged._modules = {**self.policy._modules}  # all is shared but the actor
            kept = copy.deepcopy(self.policy.actor).requires_grad_(False)
            self.averaged.actor = kept
            self._followers += _pairs(kept, flatten(kept), self.policy.actor, actor, config.average)
        self._networks: dict[tuple[nn.Module, int], Network] = {}
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

    @torch.no_grad()
    def update(self, batch: Batch) -> dict[str, torch.Tensor]:
        """One step on critics and actor, then targets; returns diagnostics as 0-d tensors."""
        state_goal, next_state_goal = self.policy.encode(
            batch.observation, batch.achieved_goal, batch.goal
        )
        target = self.targets(next_state_goal, batch.reward)
        if batch.ahead is not None:
            target = torch.maximum(target, self.lower_bound(batch.ahead, batch.goal))
        metrics = self._update_critics(state_goal, batch.action, target)
        if self.updates % self.config.actor_every == 0:
            metrics |= self._update_actor(state_goal)
        self._update_targets()
        self.updates += 1
        return metrics

    @torch.no_grad()
    def targets(self, next_state_goal: torch.Tensor, reward: torch.Tensor) -> torch.Tensor:
        """y = r + γ min Q'(s' ‖ g, μ'(s' ‖ g)), clipped to what a return can be; ``(b,)``."""
        return self._clip(reward + self.config.gamma * self._target_value(next_state_goal))

    @torch.no_grad()
    def lower_bound(self, ahead: Ahead, goal: torch.Tensor) -> torch.Tensor:
        """r_0 + γ r_1 + … + γⁿ min Q'(s_n ‖ g, μ'(s_n ‖ g)), clipped alike; ``(b,)``.

        What behaviour got in n steps is a lower bound of what the best policy gets, if dynamics are
        deterministic; a target raised to it learns in one update what takes n of one step each (He
        et al. 2017, "Learning to Play in a Day: Faster Deep RL by Optimality Tightening", equation 3).
        Behaviour pursued another goal than the hindsight one, so without the maximum it would mislead.
        """
        gamma, count = self.config.gamma, ahead.rewards.shape[1]
        discounted = ahead.rewards @ (gamma ** torch.arange(count, dtype=torch.float32))
        state_goal = self.policy.encode(ahead.observation, ahead.achieved_goal, goal)
        value = self._target_value(state_goal)
        return self._clip(discounted + gamma**ahead.steps * value)

    def _target_value(self, state_goal: torch.Tensor) -> torch.Tensor:
        """min Q'(s ‖ g, μ'(s ‖ g)), ``(b,)``."""
        self._set_training(self.target_actor, False)
        self._set_training(self.target_critics, False)
        action = self._network(self.target_actor, state_goal).forward(state_goal)
        first, *others = (
            self._network(critic, state_goal).forward(state_goal, action).view(-1)
            for critic in self.target_critics
        )
        for other in others:
            first = torch.minimum(first, other)
        return first

    def _clip(self, target: torch.Tensor) -> torch.Tensor:
        if not self.config.clip_target:
            return target
        return target.clamp_(self.lowest_value, self.highest_value)

    def _update_critics(
        self, state_goal: torch.Tensor, action: torch.Tensor, target: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Descend the critics' mean squared errors from ``target`` ``(b,)``."""
        self._set_training(self.critics, True)
        losses, means = [], []
        for critic in self.critics:
            net = self._network(critic, state_goal)
            values = net.forward(state_goal, action)
            error = values - target.view(values.shape)
            net.backward(error * (2.0 / len(target)))
            losses.append(error.square().mean())
            means.append(values.mean())
        self.critic_optimizer.step()
        return {
            "critic_loss": torch.stack(losses).sum(),
            "q_mean": torch.stack(means).mean(),
            "target_mean": target.mean(),
            "target_at_bound": (target <= self.lowest_value).float().mean(),
        }

    def _update_actor(self, state_goal: torch.Tensor) -> dict[str, torch.Tensor]:
        """Ascend Q(s ‖ g, μ(s ‖ g)) less the action's weighted mean square, by the pathwise gradient
        ∇θ μ(s ‖ g) ∇a Q(s ‖ g, a) (Silver et al. 2014; Lillicrap et al. 2015, equation 6).
        """
        self._set_training(self.policy.actor, True)
        self._set_training(self.critics, False)
        actor, critic = (
            self._network(each, state_goal) for each in (self.policy.actor, self.critics[0])
        )
        action = actor.forward(state_goal)
        value = critic.forward(state_goal, action)
        ascent = torch.full_like(value, -1.0 / len(value))
        gradient = critic.backward(ascent, parameters=False, inputs=True)
        assert gradient is not None
        actor.backward(gradient + action * (2.0 * self.config.action_l2 / action.numel()))
        self.actor_optimizer.step()
        saturated = (action.abs() > 0.99).float().mean()
        return {"actor_q": value.mean(), "action_saturation": saturated}

    @torch.no_grad()
    def _update_targets(self) -> None:
        """θ' ← τ θ + (1 - τ) θ', and the same for the policy that is kept."""
        for follower, followed, share in self._followers:
            follower.lerp_(followed, share)

    def _network(self, module: nn.Module, state_goal: torch.Tensor) -> Network:
        """``module`` made ready for a batch as large as this one."""
        key = (module, len(state_goal))
        if key not in self._networks:
            self._networks[key] = network(*key)
        return self._networks[key]

    def _set_training(self, module: nn.Module, training: bool) -> None:
        if self.config.batch_norm:  # only batch normalisation knows the difference
            module.train(training)

    def state_dict(self) -> dict:
        """Everything that learning goes on from."""
        return {
            "policy": self.policy.state_dict(),
            "averaged_actor": self.averaged.actor.state_dict(),
            "critics": self.critics.state_dict(),
            "target_actor": self.target_actor.state_dict(),
            "target_critics": self.target_critics.state_dict(),
            "actor_optimizer": self.actor_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            Exception: of many kinds, if it was given by another agent.
        """
        self.policy.load_state_dict(state["policy"])
        self.averaged.actor.load_state_dict(state["averaged_actor"])
        self.critics.load_state_dict(state["critics"])
        self.target_actor.load_state_dict(state["target_actor"])
        self.target_critics.load_state_dict(state["target_critics"])
        _restore(self.actor_optimizer, state["actor_optimizer"])
        _restore(self.critic_optimizer, state["critic_optimizer"])
        if type(state["updates"]) is not int or state["updates"] < 0:
            raise ValueError("the number of updates is none")
        self.updates = state["updates"]


def _restore(optimizer: torch.optim.Optimizer, state: dict) -> None:
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


def _pairs(
    follower: nn.Module,
    weights: torch.Tensor,
    followed: nn.Module,
    source: torch.Tensor,
    share: float,
) -> list[tuple[torch.Tensor, torch.Tensor, float]]:
    """What moves by ``share`` of its way to what: all weights, and batch normalisation's moments."""
    moments = zip(_moments(follower), _moments(followed), strict=True)
    return [(weights, source, share), *((ours, theirs, share) for ours, theirs in moments)]


def _moments(module: nn.Module) -> list[torch.Tensor]:
    """Batch normalisation's moments, in a fixed order."""
    return [value for value in module.buffers() if value.is_floating_point()]
