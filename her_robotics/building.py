"""Everything that takes part in learning, built from a configuration."""

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from .agents import AGENTS
from .config import Config
from .counting import Counts
from .device_replay import DistanceReward, make_replay
from .devices import choose_device
from .distributed import own_seed, size, spread_
from .end_to_end import make_room, show_frames
from .errors import UserError, first_line
from .exploration import Exploration
from .guides import Guide, make_guide
from .learner import Learner
from .refusals import refuse_leak, refuse_misfits, refuse_room, teaching
from .relabel import STRATEGIES
from .replay import Replay
from .retries import Retries
from .saved_policy import SavedPolicy
from .types import EpisodeShape, Task

MakeEnv = Callable[..., gym.vector.VectorEnv]
"""Builds the task's vector env: ``(num_envs, test=False, render_mode=None, width=..., height=...)``; what
is drawn for tests, such as goal images, nothing learns from."""


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
        rewarded=getattr(base, "rewarded", slice(None)),
        gripper=env.metadata.get("gripper", getattr(base, "gripper", None)),
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
    refuse_misfits(config, task)
    frames = make_room(config, task.shape, env)
    refuse_leak(config)
    refuse_room(config, task.shape)
    more = teaching(config, task.shape, teacher)
    bonus, cell = config.exploration.count_bonus, config.exploration.count_cell
    retry = config.exploration.retry
    counts = Counts(task.rewarded, bonus, cell) if bonus else None
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
        replay=_build_replay(config, taught, device, seed),
        exploration=Exploration(config.exploration, seed + 1, task.shape.choices),
        guide=_build_guide(config, task, seed + 2),
        counts=counts,
        retries=Retries(retry, task.reached, seed + 3) if retry else None,
    )
    spread_(learner.shared())
    return learner


def _build_replay(config: Config, task: Task, device: torch.device, seed: int) -> Replay:
    return make_replay(
        device,
        task.shape,
        config.replay.capacity,
        STRATEGIES[config.replay.strategy],
        config.replay.k,
        task.reward,
        seed,
        config.agent.lookahead,
        config.agent.td_lambda,
        config.replay.blur,
        config.replay.scatter,
        config.replay.rings,
        config.replay.rings_after,
        config.replay.k_end,
        config.replay.k_until,
    )


def _build_guide(config: Config, task: Task, seed: int) -> Guide | None:
    guide = config.exploration.guide
    try:
        return make_guide(task, guide, seed, config.agent.near_scale)
    except ValueError as error:
        goal = config.env.goal or "of its own"
        raise UserError(
            f"exploration.guide.name = {guide.name} does not fit {config.env.task} with goal {goal}: "
            f"{error}; choose mover or none"
        ) from error
