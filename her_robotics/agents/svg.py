"""Stochastic value gradients with one critic, SVG(0) (Heess et al. 2015), on universal value functions.

The policy is a Gaussian before actions are squashed, a = tanh(m(s ‖ g) + L(s ‖ g) z) with z ~ N(0, I),
and the pathwise gradient of Q(s ‖ g, a) flows through it to m and L. What DDPG's deterministic policy
gets is the limit of no noise, L → 0, and everything else is DDPG's.
"""

import numpy as np
import torch
from torch.distributions import Independent, MultivariateNormal, Normal

from ..config import AgentConfig
from ..gradients import reparametrise
from ..networks import Actor
from ..types import EpisodeShape, GoalObs
from .ddpg import DDPG, ActorPolicy, Pull
from .q_learner import CPU, SPARSE

LOG_RANGE = (-5.0, 2.0)
"""Least and greatest logarithm of a deviation, as a multiple of ``policy_sigma``."""


class GaussianPolicy(ActorPolicy):
    """A squashed Gaussian policy; greedy actions are those of its mean.

    Args:
        shape: widths of observation, goal and action.
        config: the agent's configuration.
    """

    def __init__(self, shape: EpisodeShape, config: AgentConfig):
        super().__init__(shape, config)
        self.actions, self.sigma = shape.action, config.policy_sigma
        rows, columns = np.tril_indices(shape.action, -1)
        self._below = (rows, columns) if config.covariance == "full" else None

    def build_actor(self, actions: int, config: AgentConfig) -> Actor:
        """Outputs are the mean, the logarithms of L's diagonal and, where it is full, what is below."""
        below = actions * (actions - 1) // 2 if config.covariance == "full" else 0
        sizes = (self.state_goal_size, 2 * actions + below)
        return Actor(*sizes, config.hidden, config.batch_norm, squash=False)

    def choose(self, state_goal: torch.Tensor) -> torch.Tensor:
        return super().choose(state_goal)[:, : self.actions].tanh()

    @torch.no_grad()
    def outputs(self, obs: GoalObs) -> torch.Tensor:
        """What the network says of what n envs show, ``(n, outputs)``."""
        return super().choose(self.see(obs))

    def sample(self, outputs: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """a = tanh(m + L z), differentiable in the network's outputs.

        Args:
            outputs: of the network, ``(n, outputs)``.
            noise: z, ``(n, a)``, standard normal.
        """
        return reparametrise(self.distribution(outputs), noise).tanh()

    def distribution(self, outputs: torch.Tensor) -> Independent | MultivariateNormal:
        """N(m, L Lᵀ) before squashing, as the network's outputs ``(n, outputs)`` give it."""
        mean = outputs[:, : self.actions]
        logarithm = outputs[:, self.actions : 2 * self.actions].clamp(*LOG_RANGE)
        deviation = self.sigma * logarithm.exp()
        if not self._below:
            return Independent(Normal(mean, deviation, validate_args=False), 1)
        factor = torch.diag_embed(deviation)
        rows, columns = self._below
        factor[:, rows, columns] = self.sigma * outputs[:, 2 * self.actions :]
        return MultivariateNormal(mean, scale_tril=factor, validate_args=False)


class SVG(DDPG):
    """DDPG whose policy is Gaussian: it explores by its own noise and learns how much of it to have.

    Args:
        shape: widths of observation, goal and action.
        config: the agent's configuration.
        reward_range: least and greatest reward of a step.
        device: where networks are and batches come from.
    """

    policy_type = GaussianPolicy
    unused = ("double_q", "goal_encoder")

    def __init__(
        self,
        shape: EpisodeShape,
        config: AgentConfig,
        reward_range: tuple[float, float] = SPARSE,
        device: torch.device = CPU,
    ):
        super().__init__(shape, config, reward_range, device)
        assert isinstance(self.policy, GaussianPolicy)
        self.gaussian = self.policy
        self._generator = torch.Generator().manual_seed(torch.initial_seed())

    def act(self, obs: GoalObs) -> np.ndarray:
        """Actions drawn from the policy, ``(n, a)`` in [-1, 1]."""
        outputs = self.gaussian.outputs(obs)
        return self.gaussian.sample(outputs, self._noise(len(outputs))).cpu().numpy()

    def _action(self, actor: Actor, state_goal: torch.Tensor) -> tuple[torch.Tensor, Pull]:
        network = self._network(actor, state_goal)
        outputs = network.forward(state_goal).detach().requires_grad_()
        with torch.enable_grad():
            action = self.gaussian.sample(outputs, self._noise(len(outputs)))

        def pull(gradient: torch.Tensor) -> None:
            """dQ/da · da/d(m, L), and on through the network."""
            (pulled,) = torch.autograd.grad(action, outputs, gradient)
            network.backward(pulled)

        return action.detach(), pull

    def _noise(self, count: int) -> torch.Tensor:
        noise = torch.randn(count, self.gaussian.actions, generator=self._generator)
        return noise.to(self.device)

    def state_dict(self) -> dict:
        return {**super().state_dict(), "noise": self._generator.get_state()}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self._generator.set_state(state["noise"])
