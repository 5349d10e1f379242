"""SVG(∞), policy gradients from end to end through a learnt model (Heess et al. 2015)."""

from collections.abc import Iterator

import numpy as np
import torch

from ..known_mdp import GaussianPolicy
from ..relabel import STRATEGIES
from ..replay import Replay
from ..types import Episodes, GoalObs
from ..world_model import KnownReward, Played, WorldModel, replayed
from .inputs import Inputs
from .method import Iterate, Player, Problem, uniform
from .on_policy import DISCOUNT

BATCH = 256
"""Transitions of each step of the model's fit."""
LONGEST = 1.0
"""Norm to which gradients of the policy are cut: through many steps they can explode."""
WIDTH = 0.01
"""Over which the reward is differentiated, in deviations of what is achieved in random play."""


def svg_infinity(
    problem: Problem,
    episodes: int = 4,
    fits: int = 100,
    step_size: float = 0.01,
    model_step_size: float = 0.003,
    deviation: float = 0.5,
) -> Iterator[Iterate]:
    """Play, fit the model to all that was played, follow the gradient through what was played last.

    The reward is the env's own, taken for known: only the dynamics are learnt. Its slope is taken by
    differences, so a sparse reward gives next to none.

    Args:
        problem: what is to be learnt.
        episodes: of each update.
        fits: Adam's steps on the model before each update.
        step_size: Adam's, for the policy; it falls to 0 over the budget.
        model_step_size: Adam's, for the model.
        deviation: of the policy's noise at first, before actions are squashed.
    """
    with Player(problem, episodes) as player:
        student = Student(problem, player, model_step_size, deviation)
        yield Iterate(player.steps, student.act)
        while player.steps < problem.budget:
            student.learn(fits, step_size * (1.0 - player.steps / problem.budget))
            yield Iterate(player.steps, student.act)


class Student:
    """A squashed Gaussian policy, a = tanh(μ + z ⊙ σ), and a model of what actions do.

    Args:
        problem: what is to be learnt.
        player: plays it; it plays the random episodes here already.
        model_step_size: Adam's, for the model.
        deviation: σ at first.
    """

    def __init__(
        self,
        problem: Problem,
        player: Player,
        model_step_size: float,
        deviation: float,
    ):
        shape = player.task.shape
        self._player, self._shape = player, shape
        with torch.random.fork_rng():
            torch.manual_seed(problem.seed)
            self.inputs = Inputs(shape, problem.relative_goal)
            self.policy = GaussianPolicy(
                *self.inputs.sizes, shape.action, problem.hidden, deviation, steady=True
            )
            self.model = WorldModel(shape, problem.hidden)
        self._optimizer = torch.optim.Adam(self.policy.parameters())
        self._model_optimizer = torch.optim.Adam(self.model.parameters(), model_step_size)
        self._generator = torch.Generator().manual_seed(problem.seed)
        room = problem.budget + player.env.num_envs * shape.horizon
        none = STRATEGIES["none"]
        self._replay = Replay(shape, room, none, 0.0, player.task.reward, problem.seed)
        first = player.play(uniform(player, np.random.default_rng(problem.seed)))
        self.inputs.fit(first)
        self.model.fit_scales(Played.of(first).state.transpose(0, 1))
        self._width = WIDTH / self.model.state.scale[shape.observation :]
        self._replay.add(first)

    def learn(self, fits: int, step_size: float) -> None:
        """One iteration: episodes, ``fits`` steps on the model, one of ``step_size`` on the policy."""
        shape = self._shape
        noise = torch.randn(
            shape.horizon, self._player.env.num_envs, shape.action, generator=self._generator
        )
        steps = iter(noise)
        episodes = self._player.play(lambda obs: self._act(obs, next(steps)))
        self._replay.add(episodes)
        for _ in range(fits):
            self.fit()
        self._optimizer.zero_grad()
        loss = -self.value(episodes, noise).mean()
        loss.backward(inputs=list(self.policy.parameters()))
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), LONGEST)
        self._optimizer.param_groups[0]["lr"] = step_size
        self._optimizer.step()

    def fit(self) -> torch.Tensor:
        """One step up the likelihood of what was played; the loss before it, 0-d."""
        batch = self._replay.sample(BATCH)
        state, following = torch.cat([batch.observation, batch.achieved_goal], dim=-1)
        loss = -self.model(state, batch.action.clamp(-1.0, 1.0)).log_prob(following).mean()
        self._model_optimizer.zero_grad()
        loss.backward()
        self._model_optimizer.step()
        return loss.detach()

    def value(self, episodes: Episodes, noise: torch.Tensor) -> torch.Tensor:
        """Discounted returns ``(n,)``, differentiable from end to end by the policy's parameters.

        Args:
            episodes: played under the policy.
            noise: that it had, ``(T, n, a)``.
        """
        played, goal = Played.of(episodes), torch.from_numpy(episodes.desired_goal)
        reached = replayed(
            self.model, lambda step, state: self._choose(state, goal, noise[step]), played
        )
        achieved = reached[..., self._shape.observation :]
        judge, desired = self._player.task.reward, goal.expand_as(achieved)
        reward = KnownReward.apply(judge, self._width, achieved, desired)
        weights = DISCOUNT ** torch.arange(len(reward), dtype=reward.dtype)
        return weights @ reward

    @torch.no_grad()
    def act(self, obs: GoalObs) -> np.ndarray:
        """The policy's median, ``(n, a)``."""
        return self._act(obs, torch.zeros(len(obs.observation), self._shape.action))

    @torch.no_grad()
    def _act(self, obs: GoalObs, noise: torch.Tensor) -> np.ndarray:
        state = np.concatenate([obs.observation, obs.achieved_goal], axis=-1, dtype=np.float32)
        goal = torch.from_numpy(np.asarray(obs.desired_goal, dtype=np.float32))
        return self._choose(torch.from_numpy(state), goal, noise).numpy()

    def _choose(self, state: torch.Tensor, goal: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """π(x ‖ g, z; θ), ``(n, x), (n, g), (n, a) -> (n, a)``."""
        observation, achieved = state.split([self._shape.observation, self._shape.goal], dim=-1)
        seen = self.inputs.normalizer(observation)
        return self.policy.act(seen, self.inputs.encoder(achieved, goal), noise).tanh()
