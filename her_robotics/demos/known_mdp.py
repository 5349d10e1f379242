"""Policy gradients through a known point robot, against REINFORCE."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from torch.nn.utils import parameters_to_vector

from ..config import Positive, PositiveCount
from ..known_mdp import (
    DeterministicPolicy,
    GaussianPolicy,
    Loss,
    Policy,
    draw,
    improve,
    pathwise_loss,
    reinforce_loss,
    rollout,
)
from ..plots import picture as drawing
from ..point_robot import PointRobot
from ..statistics import bootstrap_interval, interquartile_mean
from ..strict import Range
from .demo import Demo, table, within

ROBOT = PointRobot()
TEST_EPISODES = 256
TEST_SEED = 2**40
"""Beyond the seeds of any training."""
REACHED = 0.1
"""Metres."""
GRADIENTS = 12
"""Of which a gradient's noise is told."""


class Method(NamedTuple):
    """A policy and the gradient it follows."""

    policy: Callable[..., Policy]
    loss: Loss


REINFORCE = "REINFORCE, Gaussian"
METHODS = {
    "pathwise, deterministic": Method(DeterministicPolicy, pathwise_loss),
    "pathwise, Gaussian": Method(GaussianPolicy, pathwise_loss),
    REINFORCE: Method(GaussianPolicy, reinforce_loss),
}


@dataclass(frozen=True)
class KnownMDPDemo(Demo):
    """Back-propagation of the return through a known MDP, against REINFORCE."""

    seeds: Annotated[int, Range(2)] = 8
    """Policies trained by each method, with seeds from --seed on."""
    updates: PositiveCount = 200
    """Updates of each."""
    trajectories: Annotated[int, Range(2)] = 32
    """Trajectories in each update, of all methods."""
    step_size: Positive = 0.01
    """Adam's, of all methods."""

    def run(self, picture: Path) -> str:
        seeds = range(self.seed, self.seed + self.seeds)
        policies = {
            name: [self._learn(method, seed) for seed in seeds] for name, method in METHODS.items()
        }
        curves = {
            name: np.array([[_test(policy) for policy in learning] for learning in each])
            for name, each in policies.items()
        }  # (seeds, tests, 3)
        used = self.trajectories * np.array([0, *self._tested])
        with drawing(picture, 2, figsize=(11, 4.2)) as axes:
            _draw(axes, used, curves)
        return f"{self._results(used, curves)}\n\n{self._noises(used, policies[REINFORCE])}"

    @property
    def _tested(self) -> list[int]:
        """After which updates a policy is tested."""
        every = max(1, self.updates // 40)
        return [*range(every, self.updates, every), self.updates]

    def _learn(self, method: Method, seed: int) -> list[Policy]:
        """One policy as it learns: at first, and after each of the tested updates."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            policy = method.policy(ROBOT.state_size, ROBOT.goal_size, ROBOT.action_size)
        generator = torch.Generator().manual_seed(seed)
        learning = improve(ROBOT, policy, method.loss, self.trajectories, self.step_size, generator)
        kept = [copy.deepcopy(policy)]
        for update, _ in enumerate(islice(learning, self.updates), start=1):
            if update in self._tested:
                kept.append(copy.deepcopy(policy))
        return kept

    def _results(self, used: np.ndarray, curves: dict[str, np.ndarray]) -> str:
        early, rows = len(used) // 4, []
        for name, values in curves.items():
            middle, (low, high) = interquartile_mean(values), bootstrap_interval(values)
            figures = [(early, 0), (-1, 0), (-1, 1), (-1, 2)]
            rows.append((name, *(within(middle[i], low[i], high[i]) for i in figures)))
        header = (
            f"{self.seeds} seeds",
            f"return, {used[early]:,d} trajectories",
            f"return, {used[-1]:,d}",
            "final distance",
            f"within {REACHED:g} m",
        )
        return table(header, rows)

    def _noises(self, used: np.ndarray, policies: list[list[Policy]]) -> str:
        """How noisy both gradients are at the same policies."""
        shown, rows = (0, len(used) // 4, len(used) - 1), []
        for name, loss in (("pathwise", pathwise_loss), ("REINFORCE", reinforce_loss)):
            values = np.array(
                [[self._noise(learning[i], loss) for i in shown] for learning in policies]
            )
            middle, (low, high) = interquartile_mean(values), bootstrap_interval(values)
            rows.append((name, *(within(*each) for each in zip(middle, low, high, strict=True))))
        header = [f"after {used[i]:,d} trajectories" for i in shown]
        return table(("noise of a gradient, at REINFORCE's policies", *header), rows)

    def _noise(self, policy: Policy, loss: Loss) -> float:
        """Root of the summed variance of an update's gradient."""
        parameters, generator = list(policy.parameters()), torch.Generator().manual_seed(TEST_SEED)
        gradients = []
        for _ in range(GRADIENTS):
            given = draw(ROBOT, self.trajectories, generator)
            found = torch.autograd.grad(loss(ROBOT, policy, *given).mean(), parameters)
            gradients.append(parameters_to_vector(found))
        return torch.stack(gradients).var(0).sum().sqrt().item()


@torch.no_grad()
def _test(policy: Policy) -> tuple[float, float, float]:
    """Mean return, final distance and success without noise, on the same episodes every time."""
    state, goal = ROBOT.start(TEST_EPISODES, torch.Generator().manual_seed(TEST_SEED))
    silence = torch.zeros(ROBOT.horizon, TEST_EPISODES, ROBOT.action_size)
    seen = rollout(ROBOT, policy, state, goal, silence)
    distance = ROBOT.distance(seen.state[-1], goal)
    success = (distance < REACHED).float().mean()
    return seen.reward.sum(0).mean().item(), distance.mean().item(), success.item()


def _draw(axes: Any, used: np.ndarray, curves: dict[str, np.ndarray]) -> None:
    for colour, (name, values) in enumerate(curves.items()):
        shown = np.stack([-values[..., 0], values[..., 1]], axis=-1)
        middle, (low, high) = interquartile_mean(shown), bootstrap_interval(shown)
        for column, axis in enumerate(axes):
            axis.plot(used, middle[:, column], color=f"C{colour}", label=name)
            ends = low[:, column], high[:, column]
            axis.fill_between(used, *ends, color=f"C{colour}", alpha=0.2, lw=0)
    axes[0].set(ylabel="minus the return")
    axes[1].set(ylabel="final distance, m")
    for axis in axes:
        axis.set(xlabel="trajectories", yscale="log")
        axis.grid(alpha=0.3)
    axes[0].legend()
