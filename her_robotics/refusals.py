"""Runs that are refused before they start: settings that do not fit, or no teacher, or too little memory."""

import dataclasses
from operator import attrgetter
from typing import Any

from .agents import AGENTS
from .config import AgentConfig, Config, ExplorationConfig
from .errors import UserError
from .health.machine import free_memory
from .replay import Replay
from .saved_policy import SavedPolicy
from .types import EpisodeShape, Task

CONTINUOUS = ("noise", "sigma", "theta", "guide.name")
"""Settings of ``ExplorationConfig`` that mean nothing to discrete actions."""


def refuse_misfits(config: Config, task: Task) -> None:
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
    if config.agent.goal_encoder != "cnn":
        to = f"to agent.goal_encoder = {config.agent.goal_encoder}, which does not learn from the critic"
        _refuse_changed("agent", config.agent, AgentConfig(), ("encoder_lr",), to)
    if config.agent.td_lambda and config.agent.lookahead == 1:
        raise UserError(
            f"agent.td_lambda = {config.agent.td_lambda} needs agent.lookahead above 1: the steps it spans"
        )
    if config.agent.near_waves and config.agent.near_scale is None:
        raise UserError(
            "agent.near_waves = True needs agent.near_scale: the length over which the waves rise and fall"
        )
    if config.replay.rings_after and config.replay.rings == 1:
        raise UserError(
            f"replay.rings_after = {config.replay.rings_after} needs replay.rings above 1: the rings that "
            "begin then"
        )
    if config.replay.k_until is not None and config.replay.strategy == "none":
        raise UserError(
            f"replay.k_until = {config.replay.k_until} is for hindsight goals, and replay.strategy = none "
            "has none: leave it out, or choose another strategy"
        )
    if config.replay.k_end and config.replay.k_until is None:
        raise UserError(
            f"replay.k_end = {config.replay.k_end} needs replay.k_until: over how many transitions k comes "
            "to it"
        )
    if config.exploration.retry and task.rewarded != slice(None):
        raise UserError(
            f"exploration.retry = {config.exploration.retry} looks at whether the simulator's goals were "
            f"reached, and env.goal_reward = {config.env.goal_reward} is to do without: set it to 0"
        )
    if config.replay.scatter and config.env.goal == "image":
        raise UserError(
            f"replay.scatter = {config.replay.scatter} moves goals, and with env.goal = image there are no "
            "pictures of where they come to: set it to 0"
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


def teaching(config: Config, shape: EpisodeShape, teacher: SavedPolicy | None) -> dict[str, Any]:
    """What an agent that learns from a teacher takes beside what all agents take.

    Raises:
        UserError: if there is a teacher and nobody to be taught or the reverse, or it sees something else.
    """
    name, given = config.agent.name, config.train.teacher
    if (name == "dagger") != (teacher is not None):
        raise UserError(
            f"train.teacher = {given} with agent.name = {name}: dagger needs one, and "
            "nothing else has any"
        )
    if teacher is None:
        return {}
    state, goal = (part.stop - part.start for part in (shape.state, shape.judged))
    wanted = dataclasses.replace(shape, observation=state, goal=goal, embedding=0, sight=0)
    if teacher.shape != wanted:
        raise UserError(
            f"train.teacher = {given} acts on {teacher.shape}; here it would see {wanted}"
        )
    return {"teacher": teacher.policy.requires_grad_(False)}


def refuse_leak(config: Config) -> None:
    """Refuse goals that tell an actor what observations as images keep from it.

    Raises:
        UserError: if they would.
    """
    observation = config.env.observation
    if observation != "state" and config.env.goal != "image" and config.agent.relative_goal:
        raise UserError(
            f"env.observation = {observation} keeps the simulator's state from the actor, and "
            "agent.relative_goal shows it what is achieved: turn that off, or choose env.goal = image"
        )


def refuse_room(config: Config, shape: EpisodeShape) -> None:
    """Refuse a replay that does not hold an episode of each env, or would not fit into memory once filled.

    Raises:
        UserError: if so; the message says what would fit.
    """
    room = config.replay.capacity // shape.horizon
    if room < config.env.num_envs:
        raise UserError(
            f"replay.capacity = {config.replay.capacity} holds {room} episodes of "
            f"{shape.horizon} steps, fewer than env.num_envs = {config.env.num_envs}"
        )
    cycle = config.env.num_envs * shape.horizon
    steps = min(-(-config.train.steps // cycle) * cycle, config.replay.capacity)
    needed, free = Replay.memory(shape, steps), free_memory()
    if free is not None and needed > free:
        raise UserError(
            f"the replay would fill {needed / 2**20:,.0f} MiB, of which {free / 2**20:,.0f} MiB are free: "
            f"--replay.capacity {int(steps * free / needed)} would fit"
        )
