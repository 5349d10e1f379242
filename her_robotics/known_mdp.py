"""Policy gradients where dynamics and reward are known: E[R_T] back-propagated through trajectories.

A policy is a function a_t = π(s_t ‖ g, z_t; θ) of fixed noise. The return of a trajectory is then a
function of θ that autograd differentiates from end to end, the policy being deterministic or not.
REINFORCE needs neither dynamics nor reward, and is here to compare with.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import torch
from torch import nn
from torch.distributions import Distribution, Independent, Normal

from .gradients import leave_one_out, likelihood_ratio, reparametrise
from .networks import mlp


class KnownMDP(Protocol):
    """A goal-conditioned MDP that can be differentiated; states ``(..., s)``, actions ``(..., a)``."""

    @property
    def horizon(self) -> int:
        """Steps in an episode, T."""
        ...

    @property
    def action_size(self) -> int:
        """Width of an action, a."""
        ...

    def start(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Start states and goals, ``(count, s), (count, g)``."""
        ...

    def step(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """s' of s and a."""
        ...

    def reward(
        self, next_state: torch.Tensor, action: torch.Tensor, goal: torch.Tensor
    ) -> torch.Tensor:
        """r(s', a, g), ``(...)``."""
        ...


class Policy(Protocol):
    """What a policy gradient through a trajectory needs."""

    def act(self, state: torch.Tensor, goal: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """a = π(s ‖ g, z; θ), ``(..., s), (..., g), (..., a) -> (..., a)``."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """θ."""
        ...


class DeterministicPolicy(nn.Module):
    """a = μ(s ‖ g; θ), whatever the noise.

    Args:
        state: width of a state.
        goal: width of a goal.
        action: width of an action.
        hidden: widths of the hidden layers.
    """

    def __init__(self, state: int, goal: int, action: int, hidden: tuple[int, ...] = (32,)):
        super().__init__()
        self.mean = mlp(state + goal, hidden, action)

    def act(self, state: torch.Tensor, goal: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return self.mean(torch.cat([state, goal], dim=-1))


class GaussianPolicy(nn.Module):
    """a = μ(s ‖ g; θ) + z ⊙ σ(s ‖ g; θ).

    Args:
        state: width of a state.
        goal: width of a goal.
        action: width of an action.
        hidden: widths of the hidden layers.
        deviation: about what σ is at first.
        steady: whether σ is the same in all states.
    """

    def __init__(
        self,
        state: int,
        goal: int,
        action: int,
        hidden: tuple[int, ...] = (32,),
        deviation: float = 0.5,
        steady: bool = False,
    ):
        super().__init__()
        self.moments = mlp(state + goal, hidden, action if steady else 2 * action)
        self._log_deviation = math.log(deviation)
        self.raw = nn.Parameter(torch.zeros(action)) if steady else None

    def distribution(self, state: torch.Tensor, goal: torch.Tensor) -> Distribution:
        """π(· | s ‖ g; θ), a batch of Gaussians of ``(a,)``."""
        outputs = self.moments(torch.cat([state, goal], dim=-1))
        mean, raw = outputs.chunk(2, dim=-1) if self.raw is None else (outputs, self.raw)
        return Independent(Normal(mean, (raw + self._log_deviation).exp().expand_as(mean)), 1)

    def act(self, state: torch.Tensor, goal: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return reparametrise(self.distribution(state, goal), noise)


class Trajectories(NamedTuple):
    """b trajectories of T steps.

    Attributes:
        state: ``(T + 1, b, s)``.
        action: ``(T, b, a)``.
        reward: ``(T, b)``.
    """

    state: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor


def rollout(
    mdp: KnownMDP, policy: Policy, state: torch.Tensor, goal: torch.Tensor, noise: torch.Tensor
) -> Trajectories:
    """Whole trajectories from ``state`` ``(b, s)`` to ``goal`` ``(b, g)`` under z ``(T, b, a)``."""
    states, actions, rewards = [state], [], []
    for step_noise in noise:
        actions.append(policy.act(states[-1], goal, step_noise))
        states.append(mdp.step(states[-1], actions[-1]))
        rewards.append(mdp.reward(states[-1], actions[-1], goal))
    return Trajectories(*map(torch.stack, (states, actions, rewards)))


def draw(
    mdp: KnownMDP, count: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All that is random in trajectories: starts ``(b, s)``, goals ``(b, g)``, noise ``(T, b, a)``."""
    state, goal = mdp.start(count, generator)
    return state, goal, torch.randn(mdp.horizon, count, mdp.action_size, generator=generator)


def pathwise_loss(
    mdp: KnownMDP, policy: Policy, state: torch.Tensor, goal: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """-R_T of each trajectory, ``(b,)``, differentiable through dynamics, rewards and actions."""
    return -rollout(mdp, policy, state, goal, noise).reward.sum(0)


def reinforce_loss(
    mdp: KnownMDP,
    policy: GaussianPolicy,
    state: torch.Tensor,
    goal: torch.Tensor,
    noise: torch.Tensor,
) -> torch.Tensor:
    """-Σ_t log π(a_t | s_t ‖ g; θ) (Σ_{t' >= t} r_t' - b_t) of each trajectory, ``(b,)``.

    Its gradient is REINFORCE's (Williams 1992), with what is still to come in place of the whole
    return, and as a baseline the mean of that over the other trajectories.
    """
    with torch.no_grad():
        seen = rollout(mdp, policy, state, goal, noise)
        to_come = seen.reward.flip(0).cumsum(0).flip(0)  # (T, b)
    distribution = policy.distribution(seen.state[:-1], goal.expand(len(noise), *goal.shape))
    baseline = leave_one_out(to_come, dim=1)
    return -likelihood_ratio(distribution, seen.action, to_come, baseline).sum(0)


Loss = Callable[..., torch.Tensor]
"""``(mdp, policy, state (b, s), goal (b, g), noise (T, b, a)) -> (b,)``."""


def improve(
    mdp: KnownMDP,
    policy: Policy,
    loss: Loss,
    trajectories: int,
    step_size: float,
    generator: torch.Generator,
) -> Iterator[int]:
    """Follow a policy gradient by Adam for as long as asked; yields the trajectories used so far.

    Args:
        mdp: the problem.
        policy: changed in place.
        loss: ``pathwise_loss`` or ``reinforce_loss``.
        trajectories: how many make up each update, b.
        step_size: Adam's.
        generator: of starts, goals and noise, all on the CPU.
    """
    optimizer = torch.optim.Adam(policy.parameters(), step_size)
    used = 0
    while True:
        optimizer.zero_grad()
        loss(mdp, policy, *draw(mdp, trajectories, generator)).mean().backward()
        optimizer.step()
        used += trajectories
        yield used
