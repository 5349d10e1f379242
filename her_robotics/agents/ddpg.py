"""Deep deterministic policy gradient on universal value functions (Lillicrap et al. 2015)."""

import copy
from collections.abc import Callable
from typing import ClassVar, Self

import torch
from torch import nn

from ..backprop import flatten
from ..config import AgentConfig
from ..goals import CNNGoal
from ..networks import Actor, Critic, Critics
from ..types import Batch, EpisodeShape
from .policy import Policy, View
from .q_learner import CPU, SPARSE, QLearner, read_count, restore

Pull = Callable[[torch.Tensor], object]
"""Pulls the loss's gradient ``(b, a)`` with respect to actions back into the actor's parameters."""


class ActorPolicy(Policy):
    """A policy that acts by an actor π(s ‖ g).

    Args:
        shape: widths of observation, goal and action.
        config: the agent's configuration.
    """

    def __init__(self, shape: EpisodeShape, config: AgentConfig):
        super().__init__(shape, config)
        self.actor = self.build_actor(shape.action, config)

    def build_actor(self, actions: int, config: AgentConfig) -> Actor:
        """The network behind the actions."""
        return Actor(self.state_goal_size, actions, config.hidden, config.batch_norm)

    def twin(self) -> Self:
        """The same policy with another actor that starts as its own; all else is shared."""
        twin = copy.copy(self)  # shares what modules are kept in
        twin._modules = {**self._modules}
        twin.actor = copy.deepcopy(self.actor).requires_grad_(False)
        return twin

    def choose(self, state_goal: torch.Tensor) -> torch.Tensor:
        self.actor.eval()
        return self.actor(state_goal)


class DDPG(QLearner):
    """Actor, critics, their targets and optimisers.

    Where an observation has a ``sight`` (``EpisodeShape``), the actor sees that and goals as images, and
    critics, which only training needs, the simulator's state and goals: asymmetric actor-critic (Pinto et
    al. 2017).

    Args:
        shape: widths of observation, goal and action.
        config: the agent's configuration.
        reward_range: least and greatest reward of a step, which bound the value of everything.
        device: where networks are and batches come from.
    """

    policy_type: ClassVar[type[Policy]] = ActorPolicy
    discrete = False
    unused = ("double_q", "covariance", "policy_sigma")
    policy: ActorPolicy
    averaged: ActorPolicy
    """The policy that is tested and kept: of averaged weights if ``config.average`` is below 1."""

    def __init__(
        self,
        shape: EpisodeShape,
        config: AgentConfig,
        reward_range: tuple[float, float] = SPARSE,
        device: torch.device = CPU,
    ):
        view = View(shape.state, shape.judged, config) if shape.sight else None
        super().__init__(self.policy_type(shape, config), config, reward_range, view, device)
        norm = "batch" if config.batch_norm else config.critic_norm
        sizes = ((view or self.policy).state_goal_size, shape.action, config.hidden)
        self.critics = Critics(Critic(*sizes, norm) for _ in range(config.num_critics)).to(device)
        self.target_actor = copy.deepcopy(self.policy.actor).requires_grad_(False)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        # One vector each, so that Adam and the averages touch one tensor in place of a dozen.
        actor, target_actor = flatten(self.policy.actor), flatten(self.target_actor)
        critics, target_critics = flatten(self.critics), flatten(self.target_critics)
        self.actor_optimizer = torch.optim.Adam([actor], config.actor_lr, fused=True)
        self.critic_optimizer = torch.optim.Adam([critics], config.critic_lr, fused=True)
        self._followers = [
            *followers(self.target_actor, target_actor, self.policy.actor, actor, config.tau),
            *followers(self.target_critics, target_critics, self.critics, critics, config.tau),
        ]
        self.encoder_optimizer, encoder = None, self.policy.encoder
        if isinstance(encoder, CNNGoal):
            learnt, following = flatten(encoder.network), flatten(encoder.follower)
            self.encoder_optimizer = torch.optim.Adam([learnt], config.encoder_lr, fused=True)
            followed = (encoder.follower, following, encoder.network, learnt)
            self._followers += followers(*followed, config.tau)
        self.averaged, averaging = averaged(self.policy, actor, config.average)
        self._followers += averaging

    def _target_value(self, state_goal: torch.Tensor) -> torch.Tensor:
        """min Q'(s ‖ g, μ'(s ‖ g)), ``(b,)``."""
        self._set_training(self.target_actor, False)
        self._set_training(self.target_critics, False)
        action, _ = self._action(self.target_actor, self.for_actor(state_goal))
        state_goal = self.for_critics(state_goal)
        first, *others = (
            self._network(critic, state_goal).forward(state_goal, action).view(-1)
            for critic in self.target_critics
        )
        for other in others:
            first = torch.minimum(first, other)
        return first

    def _learn(
        self, state_goal: torch.Tensor, action: torch.Tensor, target: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        metrics = self._update_critics(self.for_critics(state_goal), action, target)
        late = self.updates >= self.config.actor_after
        if late and self.updates % self.config.actor_every == 0:
            metrics |= self._update_actor(state_goal)
        return metrics

    def _seen(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        if self.encoder_optimizer is None:
            return super()._seen(batch)
        shown, later = zip(batch.observation, batch.achieved_goal, strict=True)
        with torch.enable_grad():
            state_goal = self.encode(*shown, batch.goal)
        return state_goal, self.encode(*later, batch.goal)

    def _teach_encoder(
        self, state_goal: torch.Tensor, action: torch.Tensor, target: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Descend the first critic's mean squared error by what the goal encoder makes of goals: end-to-end
        learning. The actor has no say in it (Kostrikov et al. 2020).
        """
        encoder = self.policy.encoder
        if self.encoder_optimizer is None or not isinstance(encoder, CNNGoal):
            return {}
        with torch.enable_grad():
            values = self.critics[0](state_goal, action)
            loss = (values - target).square().mean()
        learnt = list(encoder.network.parameters())
        for parameter, gradient in zip(learnt, torch.autograd.grad(loss, learnt), strict=True):
            assert parameter.grad is not None
            parameter.grad.copy_(gradient)
        self.encoder_optimizer.step()
        encoder.version += 1
        return {"encoder_loss": loss.detach()}

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
            **self._target_metrics(target),
        }

    def _update_actor(self, state_goal: torch.Tensor) -> dict[str, torch.Tensor]:
        """Ascend Q(s ‖ g, μ(s ‖ g)) less the action's weighted mean square, by the pathwise gradient
        ∇θ μ(s ‖ g) ∇a Q(s ‖ g, a) (Silver et al. 2014; Lillicrap et al. 2015, equation 6).
        """
        self._set_training(self.policy.actor, True)
        self._set_training(self.critics, False)
        critic = self._network(self.critics[0], state_goal)
        action, pull = self._action(self.policy.actor, self.for_actor(state_goal))
        value = critic.forward(self.for_critics(state_goal), action)
        ascent = torch.full_like(value, -1.0 / len(value))
        gradient = critic.backward(ascent, parameters=False, inputs=True)
        assert gradient is not None
        pull(gradient + action * (2.0 * self.config.action_l2 / action.numel()))
        self.actor_optimizer.step()
        saturated = (action.abs() > 0.99).float().mean()
        return {"actor_q": value.mean(), "action_saturation": saturated}

    def _action(self, actor: Actor, state_goal: torch.Tensor) -> tuple[torch.Tensor, Pull]:
        """An actor's actions ``(b, a)`` in a batch, and what pulls gradients back from them."""
        network = self._network(actor, state_goal)
        return network.forward(state_goal), network.backward

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
            **({"critic_view": self.critic_view.state_dict()} if self.critic_view else {}),
            **(
                {"encoder_optimizer": self.encoder_optimizer.state_dict()}
                if self.encoder_optimizer
                else {}
            ),
        }

    def load_state_dict(self, state: dict) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            Exception: of many kinds, if it was given by another agent.
        """
        self.policy.load_state_dict(state["policy"])
        self.averaged.actor.load_state_dict(state["averaged_actor"])
        if self.critic_view:
            self.critic_view.load_state_dict(state["critic_view"])
        self.critics.load_state_dict(state["critics"])
        self.target_actor.load_state_dict(state["target_actor"])
        self.target_critics.load_state_dict(state["target_critics"])
        restore(self.actor_optimizer, state["actor_optimizer"])
        restore(self.critic_optimizer, state["critic_optimizer"])
        if self.encoder_optimizer:
            restore(self.encoder_optimizer, state["encoder_optimizer"])
        self.updates = read_count(state["updates"])


def followers(
    follower: nn.Module,
    weights: torch.Tensor,
    followed: nn.Module,
    source: torch.Tensor,
    share: float,
) -> list[tuple[torch.Tensor, torch.Tensor, float]]:
    """What moves by ``share`` of its way to what: all weights, and batch normalisation's moments."""
    moments = zip(_moments(follower), _moments(followed), strict=True)
    return [(weights, source, share), *((ours, theirs, share) for ours, theirs in moments)]


def averaged(
    policy: ActorPolicy, weights: torch.Tensor, share: float
) -> tuple[ActorPolicy, list[tuple[torch.Tensor, torch.Tensor, float]]]:
    """A policy whose actor follows another's, ``weights`` in one vector, and what moves to what in it.

    Where it would move all of its way it is that policy itself.
    """
    if share == 1.0:
        return policy, []
    twin = policy.twin()
    return twin, followers(twin.actor, flatten(twin.actor), policy.actor, weights, share)


def _moments(module: nn.Module) -> list[torch.Tensor]:
    """Batch normalisation's moments, in a fixed order."""
    return [value for value in module.buffers() if value.is_floating_point()]
