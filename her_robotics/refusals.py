"""Runs that are refused before they start: they want memory or a teacher, or an actor would see too much."""

import dataclasses
from typing import Any

from .checkpoint import SavedPolicy
from .config import Config
from .errors import UserError
from .health.machine import free_memory
from .replay import Replay
from .types import EpisodeShape


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


def refuse_too_large(config: Config, shape: EpisodeShape) -> None:
    """Refuse a run whose replay would not fit into memory by the time that it is filled.

    Raises:
        UserError: if so; the message says what would fit.
    """
    cycle = config.env.num_envs * shape.horizon
    steps = min(-(-config.train.steps // cycle) * cycle, config.replay.capacity)
    needed, free = Replay.memory(shape, steps), free_memory()
    if free is not None and needed > free:
        raise UserError(
            f"the replay would fill {needed / 2**20:,.0f} MiB, of which {free / 2**20:,.0f} MiB are free: "
            f"--replay.capacity {int(steps * free / needed)} would fit"
        )
