"""What all methods share that learn a Gaussian policy from its own latest episodes."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from ..gradients import likelihood_ratio
from ..known_mdp import GaussianPolicy
from ..types import Episodes, GoalObs
from .inputs import Inputs
from .method import Iterate, Player, Problem, uniform

DISCOUNT = 0.99
"""γ of all returns that are learnt from, as in Duan et al. (2016)."""
RIDGE = 1e-5
"""Weight of squared coefficients in the baseline's fit."""


class Samples(NamedTuple):
    """n episodes of T steps of the latest policy, as updates see them.

    Attributes:
        state: ``(n, T, s)``, standardised.
        goal: ``(n, T, g)``, embedded.
        action: ``(n, T, a)``, as drawn; envs clip to [-1, 1].
        reward: ``(n, T)``.
        advantage: ``(n, T)``, discounted rewards to come less the baseline; of mean 0, deviation 1.
        features: ``(n, T + 1, f)``, what linear functions of state, goal and time are made of.
    """

    state: torch.Tensor
    goal: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    advantage: torch.Tensor
    features: torch.Tensor


Update = Callable[[Samples], object]
"""Improves a policy by its latest samples."""


def learn(
    problem: Problem, episodes: int, updater: Callable[[GaussianPolicy], Update]
) -> Iterator[Iterate]:
    """Collect, update, and again, until the budget is spent.

    The first episodes are random: inputs are standardised by them, and the baseline is fitted to them.

    Args:
        problem: what is to be learnt.
        episodes: how many make up each update, n.
        updater: gives the update of a policy.
    """
    with Player(problem, episodes) as player:
        student = Student(problem, player)
        update = updater(student.policy)
        yield Iterate(player.steps, student.act)
        while player.steps < problem.budget:
            update(student.collect())
            yield Iterate(player.steps, student.act)


class Student:
    """A Gaussian policy and the baseline of its returns.

    Args:
        problem: what is to be learnt.
        player: plays it; it plays the random episodes here already.
    """

    def __init__(self, problem: Problem, player: Player):
        shape = player.task.shape
        self._player = player
        with torch.random.fork_rng():
            torch.manual_seed(problem.seed)
            self.inputs = Inputs(shape, problem.relative_goal)
            self.policy = GaussianPolicy(
                *self.inputs.sizes, shape.action, problem.hidden, steady=True
            )
        self._generator = torch.Generator().manual_seed(problem.seed)
        first = player.play(uniform(player, np.random.default_rng(problem.seed)))
        self.inputs.fit(first)
        self._baseline = fit_baseline(*self._read(first))

    def collect(self) -> Samples:
        """Play one episode in every env, and judge what was done by the baseline of those before."""
        episodes = self._player.play(self._explore)
        state, goal = self.inputs.of_episodes(episodes)
        features, to_come = self._read(episodes)
        advantage = to_come - features[:, :-1] @ self._baseline
        self._baseline = fit_baseline(features, to_come)
        reward = torch.from_numpy(self._player.rewards(episodes))
        action = torch.from_numpy(episodes.action)
        return Samples(
            state[:, :-1], goal[:, :-1], action, reward, standardised(advantage).float(), features
        )

    @torch.no_grad()
    def act(self, obs: GoalObs) -> np.ndarray:
        """The policy's mean, ``(n, a)``."""
        state, goal = self.inputs(obs)
        return self.policy.act(state, goal, torch.zeros(len(state), self._actions)).numpy()

    @torch.no_grad()
    def _explore(self, obs: GoalObs) -> np.ndarray:
        state, goal = self.inputs(obs)
        noise = torch.randn(len(state), self._actions, generator=self._generator)
        return self.policy.act(state, goal, noise).numpy()

    @property
    def _actions(self) -> int:
        return self._player.task.shape.action

    def _read(self, episodes: Episodes) -> tuple[torch.Tensor, torch.Tensor]:
        """Features ``(n, T + 1, f)`` and discounted rewards to come ``(n, T)``, in float64."""
        features = value_features(*self.inputs.of_episodes(episodes))
        return features, discounted(torch.from_numpy(self._player.rewards(episodes)), DISCOUNT)


def discounted(reward: torch.Tensor, discount: float) -> torch.Tensor:
    """Rewards to come, Σ_{t' >= t} γ^(t' - t) r_t', of every step, ``(n, T) -> (n, T)``."""
    to_come, later = torch.empty_like(reward), torch.zeros_like(reward[:, 0])
    for step in reversed(range(reward.shape[1])):
        later = reward[:, step] + discount * later
        to_come[:, step] = later
    return to_come


def value_features(state: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """Features of a linear value function (Duan et al. 2016, supplement), ``(n, T + 1, f)`` float64.

    State, goal and their squares; the time, its square and its cube; and one.
    """
    seen = torch.cat([state, goal], dim=-1).double()
    count, steps, _ = seen.shape
    time = torch.linspace(0.0, 1.0, steps, dtype=torch.float64).expand(count, steps)[..., None]
    ones = torch.ones_like(time)
    return torch.cat([seen, seen.square(), time, time.square(), time**3, ones], dim=-1)


def fit_baseline(features: torch.Tensor, to_come: torch.Tensor) -> torch.Tensor:
    """Coefficients ``(f,)`` of rewards to come ``(n, T)``, by ridge regression on all steps but the last."""
    seen, target = features[:, :-1].flatten(0, 1), to_come.flatten()
    ridge = RIDGE * len(seen) * torch.eye(seen.shape[1], dtype=seen.dtype)
    return torch.linalg.solve(seen.T @ seen + ridge, seen.T @ target)


def standardised(values: torch.Tensor) -> torch.Tensor:
    """``values`` of mean 0 and deviation 1; all 0 where there is no deviation."""
    centred = values - values.mean()
    return centred / centred.std(correction=0).clamp(min=1e-8)


def regress(
    problem: Problem,
    episodes: int,
    weigh: Callable[[Samples], torch.Tensor],
    fits: int,
    step_size: float,
) -> Iterator[Iterate]:
    """Weigh what was done, regress the policy on it, and again, until the budget is spent.

    Args:
        problem: what is to be learnt.
        episodes: of each update.
        weigh: weights of samples, ``(n, T)``, none below 0.
        fits: Adam's steps towards each regression.
        step_size: Adam's.
    """

    def updater(policy: GaussianPolicy) -> Update:
        optimizer = torch.optim.Adam(policy.parameters(), step_size)
        return lambda samples: weighted_fit(policy, optimizer, samples, weigh(samples), fits)

    return learn(problem, episodes, updater)


def weighted_fit(
    policy: GaussianPolicy,
    optimizer: torch.optim.Optimizer,
    samples: Samples,
    weights: torch.Tensor,
    steps: int,
) -> None:
    """Raise the weighted log likelihood of what was done, E[w log π(a | s ‖ g; θ)], step by step.

    Args:
        policy: changed in place.
        optimizer: of its parameters.
        samples: what was done.
        weights: w ``(n, T)``, none below 0.
        steps: of the optimiser.
    """
    for _ in range(steps):
        optimizer.zero_grad()
        distribution = policy.distribution(samples.state, samples.goal)
        (-likelihood_ratio(distribution, samples.action, weights).mean()).backward()
        optimizer.step()
