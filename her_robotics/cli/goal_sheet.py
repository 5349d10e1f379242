"""`her-robotics goals`: what goals look like."""

import dataclasses
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from envs.goal_images import GoalImages, GoalPhotographer

from ..errors import UserError
from ..pictures import check_name, contact_sheet, write_picture
from .parse import at_least, parse


@dataclasses.dataclass(frozen=True)
class GoalsArguments:
    """Draw a sheet of goal images: goals of a task, reached in the simulator, as a camera sees them."""

    task: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK")]
    """A task of ours, such as fetch_push."""
    count: int = 16
    """Goals."""
    out: str = "goals.png"
    """The sheet."""
    size: int = 64
    """Width and height of a goal image, in pixels."""
    camera: str | None = None
    """A camera of the scene; None takes the one that is meant for the task."""
    seed: int = 0
    """Seed of the goals."""


def goals(arguments: list[str]) -> int:
    """Draw goal images; returns the exit code."""
    given = parse(GoalsArguments, arguments, "her-robotics goals")
    at_least("--count", given.count, 1)
    at_least("--size", given.size, 16)
    at_least("--seed", given.seed, 0)
    out = Path(given.out)
    check_name(out)
    try:
        photographer = GoalPhotographer(
            given.task, camera=given.camera, size=given.size, num_envs=min(given.count, 64)
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    images = photographer.draw(given.count, given.seed, progress=True)
    write_picture(out, contact_sheet(images.pictures, list(map(_caption, images.achieved))))
    print(f"{out}: {given.count} goals of {given.task}; {_account(images)}")
    return 0


def _caption(goal: np.ndarray) -> list[str]:
    """A goal's positions, a line each."""
    return [" ".join(f"{value:.3f}" for value in point) for point in goal.reshape(-1, 3)]


def _account(images: GoalImages) -> str:
    offsets = (images.achieved - images.desired).reshape(-1, 3)
    farthest = 1000.0 * np.linalg.norm(offsets, axis=1).max()
    replaced = f"{images.redrawn} more could not be reached" if images.redrawn else "all reached"
    return f"{replaced}, to within {farthest:.1f} mm"
