"""Everything that takes part in learning, saved as one state."""

import json
from dataclasses import dataclass, field
from typing import Annotated, Any

import gymnasium as gym
import torch

from .agents import Agent
from .config import Config, Count, Fraction, NonNegative
from .counting import Counts
from .errors import UserError, first_line
from .evaluate import ADVICE, Evaluation, evaluate
from .exploration import Exploration
from .goals.frames import FrameStore
from .guides import Guide
from .meters import Averages
from .replay import Replay
from .retries import Retries
from .rollout import Divergence, Lose, NonFiniteError
from .strict import Range, from_mapping
from .types import Task

MEMORY = 10
"""Episodes over which it is judged whether most of them diverge."""


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        steps: env steps taken, over all envs.
        episodes: training episodes played.
        updates: updates made.
        tested_at: env steps at the last test.
        seconds: time spent collecting and updating, tests left out.
        best_success: best tested success rate so far, -1 before any.
        best_step: env steps at which it was.
        diverged: episodes lost in training and in tests, to simulations that diverged or processes that died.
        diverging: share of training episodes that are, of about the last ``MEMORY``.
    """

    steps: Count = 0
    episodes: Count = 0
    updates: Count = 0
    tested_at: Count = 0
    seconds: NonNegative = 0.0
    best_success: Annotated[float, Range(-1.0, 1.0)] = -1.0
    best_step: Count = 0
    diverged: Count = 0
    diverging: Fraction = 0.0


@dataclass
class Learner:
    """The collaborators of the training loop."""

    config: Config
    task: Task
    env: gym.vector.VectorEnv
    test_env: gym.vector.VectorEnv
    agent: Agent
    replay: Replay
    exploration: Exploration
    guide: Guide | None = None
    counts: Counts | None = None
    retries: Retries | None = None
    frames: FrameStore | None = None
    progress: Progress = field(default_factory=Progress)
    averages: Averages = field(default_factory=Averages)
    best_policy: dict[str, torch.Tensor] = field(default_factory=dict)
    keep: Lose = lambda divergence: None
    """Keeps an episode that diverged for inspection."""

    def lose(self, divergence: Divergence) -> None:
        """Count an episode that was lost, and keep it for inspection."""
        self.progress.diverged += 1
        self.keep(divergence)

    def evaluate(self, stream: int) -> Evaluation:
        """Test the kept policy, without exploration, on the run's own test episodes of a stream.

        Raises:
            NonFiniteError: if an action is not finite, or most episodes diverge.
        """
        episodes, seed = self.config.eval.episodes, self.config.seed
        act = self.agent.averaged.act
        result = evaluate(self.test_env, self.task, act, episodes, seed, stream, self.lose)
        if 2 * result.diverged > episodes:
            raise NonFiniteError(
                f"{result.diverged} of {episodes} test episodes diverged: {ADVICE}"
            )
        return result

    @property
    def leader(self) -> Guide | None:
        """The guide, as long as it leads."""
        until = self.config.exploration.guide.until
        return self.guide if until is None or self.progress.steps < until else None

    @property
    def episode_bytes(self) -> int:
        """Bytes of episodes that a checkpoint refers to when all room for them is filled."""
        guide = self.guide.replay_bytes if self.guide else 0
        return self.replay.nbytes + guide + (self.frames.saved_bytes if self.frames else 0)

    def shared(self) -> dict[str, Any]:
        """What is the same in all ranks, by name: networks and how they are optimised."""
        guide = self.guide.agent.state_dict() if self.guide else {}
        own = {"best_policy": self.best_policy, **self.agent.state_dict()}
        return {**own, **{f"guide.{name}": part for name, part in guide.items()}}

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs to equal an uninterrupted one, between two cycles."""
        return {
            "agent": self.agent.state_dict(),
            "replay": self.replay.state_dict(),
            "exploration": json.dumps(self.exploration.generator.bit_generator.state),
            "guide": self.guide.state_dict() if self.guide else None,
            "counts": self.counts.state_dict() if self.counts else None,
            "torch": torch.get_rng_state(),
            "progress": vars(self.progress).copy(),
            "averages": self.averages.state_dict(),
            "best_policy": self.best_policy,
            **({"retries": self.retries.state_dict()} if self.retries else {}),
            **({"frames": self.frames.state_dict()} if self.frames else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            UserError: if it was given by a learner of another configuration.
        """
        try:
            self._load(state)
        except Exception as error:  # a state of anything fails in any way
            reason = first_line(error)
            raise UserError(f"the saved state does not fit this configuration: {reason}") from error

    def _load(self, state: dict[str, Any]) -> None:
        self.agent.load_state_dict(state["agent"])
        self.replay.load_state_dict(state["replay"])
        if self.frames:
            self.frames.load_state_dict(state["frames"])
        self.exploration.generator.bit_generator.state = json.loads(state["exploration"])
        if self.guide:
            self.guide.load_state_dict(state["guide"])
        if self.counts:
            self.counts.load_state_dict(state["counts"])
        if self.retries:
            self.retries.load_state_dict(state["retries"])
        torch.set_rng_state(state["torch"])
        if missing := vars(Progress()).keys() - state["progress"].keys():
            raise ValueError(f"its progress lacks {', '.join(sorted(missing))}")
        self.progress = from_mapping(Progress, state["progress"], "progress.")
        self.averages.load_state_dict(state["averages"])
        self.best_policy = self._fitting(state["best_policy"])

    def _fitting(self, policy: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A saved best policy, if it is one of this agent, or there has been no test yet.

        Raises:
            ValueError: if not.
        """
        expected = self.agent.averaged.state_dict() if self.progress.tested_at else {}
        kinds = [
            {name: (value.shape, value.dtype) for name, value in each.items()}
            for each in (policy, expected)
        ]
        if kinds[0] != kinds[1] or not all(value.isfinite().all() for value in policy.values()):
            raise ValueError("its best policy is none of this agent")
        return policy

    def close(self) -> None:
        """Close both envs."""
        self.env.close()
        self.test_env.close()
