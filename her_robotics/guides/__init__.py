"""Guides: small agents that lead the main one to where there is something to learn."""

from ..config import GuideConfig
from ..types import Task
from .guide import Guide
from .mover import Mover
from .relay import Relay

__all__ = ["GUIDES", "Guide", "Mover", "Relay", "make_guide"]

GUIDES = {"mover": Mover, "relay": Relay}


def make_guide(
    task: Task, config: GuideConfig, seed: int, near_scale: float | None = None
) -> Guide | None:
    """The guide asked for, or None for none; it sees what is near as the main agent does.

    Raises:
        ValueError: if it cannot guide in the task.
    """
    return None if config.name == "none" else GUIDES[config.name](task, config, seed, near_scale)
