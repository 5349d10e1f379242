"""Learnt dynamics in the place of known ones, for policy gradients through real trajectories.

What happened is written as what a model says, x' = f̂(x, a, ξ; φ), of the noise ξ that makes it come true.
The path from actions to rewards can then be differentiated at the states that were really met, and errors
of the model do not add up along it (Heess et al. 2015, section 4.1).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.distributions import Distribution, Independent, Normal

from .gradients import infer_noise, reparametrise, straight_through
from .networks import mlp
from .normalizer import Normalizer
from .types import Episodes, EpisodeShape, RewardFunction

START = -1.0
"""Logarithm of the noise's deviation at first, in deviations of what changes in a step."""


class WorldModel(nn.Module):
    """Gaussian dynamics p(x' | x, a) of x = (observation ‖ achieved goal), which takes no reward.

    A network predicts what changes in a step; what it cannot tell is noise, of one deviation for each part
    of x. Inputs and changes are standardised by the moments of the first episodes for good.

    Args:
        shape: widths of observation, goal and action.
        hidden: widths of the hidden layers.
    """

    def __init__(self, shape: EpisodeShape, hidden: tuple[int, ...]):
        super().__init__()
        size = shape.observation + shape.goal
        self.state = Normalizer(size, clip=10.0, min_std=1e-4)
        self.change = Normalizer(size, min_std=1e-4)
        self.mean = mlp(size + shape.action, hidden, size)
        self.log_deviation = nn.Parameter(torch.full((size,), START))

    def fit_scales(self, state: torch.Tensor) -> None:
        """Take the moments of states and their changes from episodes ``(n, T + 1, x)``."""
        self.state.update(state)
        self.change.update(state.diff(dim=1))

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> Distribution:
        """p(x' | x, a), ``(..., x), (..., a)`` to a batch of Gaussians of ``(x,)``."""
        seen = torch.cat([self.state(state), action], dim=-1)
        mean = state + self.change.shift + self.mean(seen) / self.change.scale
        deviation = (self.log_deviation.exp() / self.change.scale).expand_as(mean)
        return Independent(Normal(mean, deviation, validate_args=False), 1)


Dynamics = Callable[[torch.Tensor, torch.Tensor], Distribution]
"""p(x' | x, a), ``(b, x), (b, a)`` to Gaussians of ``(x,)``: a ``WorldModel``, or dynamics that are known."""


class KnownReward(torch.autograd.Function):
    """A reward that is known but was not written for autograd, with its slope by central differences.

    ``KnownReward.apply(reward, width, achieved, desired)``. Where a reward is flat its slope is 0: a sparse
    one tells nothing but near the edge of its threshold.
    """

    @staticmethod
    def forward(
        ctx: Any,
        reward: RewardFunction,
        width: torch.Tensor,
        achieved: torch.Tensor,
        desired: torch.Tensor,
    ) -> torch.Tensor:
        """r(g', g), ``(..., g), (..., g) -> (...)``.

        Args:
            ctx: autograd's.
            reward: of arrays.
            width: half of what is between the two points of a difference, ``(g,)``, in the goal's units.
            achieved: g', by which it is differentiated.
            desired: g.
        """
        ctx.reward, ctx.width = reward, width
        ctx.save_for_backward(achieved, desired)
        return _rewards(reward, achieved, desired).to(achieved.dtype)

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[None, None, torch.Tensor, None]:
        """dL/dr ``(...)`` to dL/dg' ``(..., g)``."""
        (slope,) = slopes
        achieved, desired = (each.double().unsqueeze(-2) for each in ctx.saved_tensors)
        width = ctx.width.double()
        offsets = torch.diag(width)  # each row moves one coordinate
        above, below = (
            _rewards(ctx.reward, achieved + sign * offsets, desired) for sign in (1.0, -1.0)
        )
        gradient = (above - below) / (2.0 * width)  # (..., g)
        return None, None, slope.unsqueeze(-1) * gradient.to(slope.dtype), None


def _rewards(reward: RewardFunction, achieved: torch.Tensor, desired: torch.Tensor) -> torch.Tensor:
    """Float64 rewards of goals, ``(..., g), (..., g) -> (...)``, the second of which may broadcast."""
    flat = (
        each.double().flatten(0, -2).numpy() for each in (achieved, desired.expand_as(achieved))
    )
    values = np.asarray(reward(*flat), dtype=np.float64)
    return torch.from_numpy(values).view(achieved.shape[:-1])


class Played(NamedTuple):
    """n real episodes of T steps, the time first.

    Attributes:
        state: x, ``(T + 1, n, x)``.
        action: a as it was taken, ``(T, n, a)``.
    """

    state: torch.Tensor
    action: torch.Tensor

    @classmethod
    def of(cls, episodes: Episodes) -> "Played":
        """Episodes as tensors."""
        joined = np.concatenate([episodes.observation, episodes.achieved_goal], axis=-1)
        return cls(*(torch.from_numpy(each).transpose(0, 1) for each in (joined, episodes.action)))


def replayed(
    dynamics: Dynamics, act: Callable[[int, torch.Tensor], torch.Tensor], played: Played
) -> torch.Tensor:
    """The real states after each step, ``(T, n, x)``, as functions of a policy's parameters.

    x_{t+1} = f̂(x_t, π(x_t, z_t; θ), ξ_t), with ξ_t inferred from what happened. States and actions have the
    values that were real, whatever model and policy say, and the slopes that model and policy have there.
    This is what the backward recursion of Heess et al. (2015), algorithm 1, differentiates.

    Args:
        dynamics: p(x' | x, a); it is not learnt from here.
        act: what the policy does at step t in the states ``(n, x)`` under the noise that it had, ``(n, a)``.
        played: what happened.
    """
    state, reached = played.state[0], []
    for step, taken in enumerate(played.action):
        action = straight_through(taken, act(step, state))
        gaussian, real = dynamics(state, action), played.state[step + 1]
        noise = infer_noise(gaussian, real).detach()
        state = straight_through(real, reparametrise(gaussian, noise))
        reached.append(state)
    return torch.stack(reached)
