"""Everything that takes part in learning, built from a configuration and saved as one state."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import torch

from .agents import AGENTS, Agent
from .checkpoint import SavedPolicy
from .config import AgentConfig, Config, Count, ExplorationConfig, Fraction, NonNegative
from .counting import Counts
from .device_replay import DistanceReward, make_replay
from .devices import choose_device
from .distributed import own_seed, size, spread_
from .end_to_end import make_room, show_frames
from .errors import UserError, first_line
from .evaluate import ADVICE, Evaluation, evaluate
from .exploration import Exploration
from .goals.frames import FrameStore
from .guides import Guide, make_guide
from .meters import Averages
from .refusals import refuse_leak, refuse_too_large, teaching
from .relabel import STRATEGIES
from .replay import Replay
from .rollout import Divergence, Lose, NonFiniteError
from .strict import Range, from_mapping
from .types import EpisodeShape, Task

MakeEnv = Callable[..., gym.vector.VectorEnv]
"""Builds the task's vector env: ``(num_envs, test=False, render_mode=None, width=..., height=...)``; what
is drawn for tests, such as goal images, nothing learns from."""


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
    def replay_bytes(self) -> int:
        """Bytes of episodes that a checkpoint refers to when the replay, and a guide's, is full."""
        return self.replay.nbytes + (self.guide.replay_bytes if self.guide else 0)

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


def read_task(env: gym.vector.VectorEnv) -> Task:
    """What the learner must know, read from a vector env of a goal task.

    Raises:
        UserError: if the env is not a goal env of fixed horizon.
    """
    base: Any = env.unwrapped
    space, actions = env.single_observation_space, env.single_action_space
    parts = ("observation", "achieved_goal", "desired_goal")
    if not isinstance(space, gym.spaces.Dict) or any(part not in space.spaces for part in parts):
        raise UserError(f"{base} is not a goal env: its observations must hold {', '.join(parts)}")
    for name in ("compute_reward", "reached", "max_episode_steps"):
        if not hasattr(base, name):
            raise UserError(f"{base} lacks {name}, which learning from relabelled goals needs")
    discrete = isinstance(actions, gym.spaces.Discrete)
    if not (discrete or isinstance(actions, gym.spaces.Box)):
        raise UserError(f"{base} has actions of {actions}: they must be a Box or Discrete")

    def width(part: str) -> int:
        box: Any = space[part]
        return int(box.shape[0])

    shape = EpisodeShape(
        horizon=base.max_episode_steps,
        observation=width("observation"),
        goal=width("achieved_goal"),
        action=1 if discrete else actions.shape[0],
        parts=getattr(base, "goal_parts", 1),
        choices=int(actions.n) if discrete else None,
        embedding=getattr(base, "embedding", 0),
        sight=env.metadata.get("sight", 0),
    )

    def reward(achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        return base.compute_reward(achieved, desired, {})

    rule = getattr(base, "distance_rule", None)
    return Task(
        shape=shape,
        reward=DistanceReward(reward, *rule) if rule else reward,
        reached=base.reached,
        reward_range=getattr(base, "reward_range", (-math.inf, math.inf)),
        gripper=getattr(base, "gripper", None),
    )


def build(
    config: Config,
    make_env: MakeEnv,
    weights: dict[str, torch.Tensor] | None = None,
    teacher: SavedPolicy | None = None,
) -> Learner:
    """Build every collaborator of a run. Seeds torch, so equal configurations give equal learners.

    Ranks are seeded apart, and begin with the weights of the first.

    Args:
        config: of the run.
        make_env: builds the task's vector env.
        weights: of the policy named by ``train.start_from``.
        teacher: the policy named by ``train.teacher``.

    Raises:
        UserError: if the configuration and the env do not fit together, or there is not the memory.
    """
    device, seed = choose_device(config.train.device), own_seed(config.seed)
    torch.manual_seed(seed)
    if config.train.torch_threads:
        torch.set_num_threads(config.train.torch_threads)
    env = make_env(config.env.num_envs)
    task = read_task(env)
    _refuse_misfits(config, task)
    frames = make_room(config, task.shape, env)
    room = config.replay.capacity // task.shape.horizon
    if room < config.env.num_envs:
        raise UserError(
            f"replay.capacity = {config.replay.capacity} holds {room} episodes of "
            f"{task.shape.horizon} steps, fewer than env.num_envs = {config.env.num_envs}"
        )
    refuse_leak(config)
    refuse_too_large(config, task.shape)
    more = teaching(config, task.shape, teacher)
    bonus, cell = config.exploration.count_bonus, config.exploration.count_cell
    counts = Counts(task.shape, bonus, cell) if bonus else None
    taught = counts.rewarded(task) if counts else task
    kind = AGENTS[config.agent.name]
    agent = kind(task.shape, config.agent, taught.reward_range, device=device, **more)
    if weights is not None:
        try:
            agent.start_from(weights)
        except RuntimeError as error:
            start, reason = config.train.start_from, first_line(error)
            raise UserError(f"train.start_from = {start} is of other sizes: {reason}") from error
    tested = -(-config.eval.episodes // size())
    show_frames(agent.policy, env)
    learner = Learner(
        config=config,
        task=task,
        env=env,
        frames=frames,
        test_env=make_env(min(config.eval.num_envs, tested), test=True),
        agent=agent,
        replay=make_replay(
            device,
            task.shape,
            config.replay.capacity,
            STRATEGIES[config.replay.strategy],
            config.replay.k,
            taught.reward,
            seed,
            config.agent.lookahead,
            config.agent.td_lambda,
            config.replay.blur,
        ),
        exploration=Exploration(config.exploration, seed + 1, task.shape.choices),
        guide=_build_guide(config, task, seed + 2),
        counts=counts,
    )
    spread_(learner.shared())
    return learner


CONTINUOUS = ("noise", "sigma", "theta", "guide.name")
"""Settings of ``ExplorationConfig`` that mean nothing to discrete actions."""


def _refuse_misfits(config: Config, task: Task) -> None:
    """Refuse an algorithm that cannot act in the task, and settings without effect.

    Raises:
        UserError: naming what was given and what is allowed.
    """
    name, choices = config.agent.name, task.shape.choices
    kind = AGENTS[name]
    if kind.discrete != (choices is not None):
        given = "continuous actions" if choices is None else f"{choices} discrete actions"
        fitting = [key for key, other in AGENTS.items() if other.discrete != kind.discrete]
        raise UserError(
            f"agent.name = {name} does not fit {config.env.task}, which has {given}: choose "
            f"{' or '.join(fitting)}"
        )
    _refuse_changed("agent", config.agent, AgentConfig(), kind.unused, f"to {name}")
    if config.agent.td_lambda and config.agent.lookahead == 1:
        raise UserError(
            f"agent.td_lambda = {config.agent.td_lambda} needs agent.lookahead above 1: the steps it spans"
        )
    if choices is not None:
        plain = ExplorationConfig()
        _refuse_changed("exploration", config.exploration, plain, CONTINUOUS, "to discrete actions")


def _refuse_changed(
    section: str, given: object, plain: object, names: tuple[str, ...], to: str
) -> None:
    for name in names:
        value, default = attrgetter(name)(given), attrgetter(name)(plain)
        if value != default:
            raise UserError(f"{section}.{name} = {value} means nothing {to}: leave it at {default}")


def _build_guide(config: Config, task: Task, seed: int) -> Guide | None:
    guide = config.exploration.guide
    try:
        return make_guide(task, guide, seed)
    except ValueError as error:
        goal = config.env.goal or "of its own"
        raise UserError(
            f"exploration.guide.name = {guide.name} does not fit {config.env.task} with goal {goal}: "
            f"{error}; choose mover or none"
        ) from error
