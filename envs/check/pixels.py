"""The check of pictures: the goal must not be drawn where a policy learns from them."""

import numpy as np

from .report import Broken, Finding, raised
from .subject import Subject

GOALS = 4
"""Goals tried: not every one need be in sight."""


class _NoPictureError(Exception):
    """Why there is no picture."""


def check_pixels(subject: Subject) -> Finding | str | None:
    """Whether pictures stay the same when only the desired goal changes."""
    try:
        frames = _pictures(subject)
    except _NoPictureError as why:
        return f"Whether pictures show the goal could not be told, because {why}."
    for frame in frames[2:]:
        changed = int((frame != frames[0]).any(axis=-1).sum())
        if changed:
            return Finding(
                "goal-drawn-in-pixels",
                f"{changed} of {frame.shape[0] * frame.shape[1]} pixels changed when only the "
                "desired goal did, so for a policy that learns from pictures relabelled "
                "transitions still show the goal they were lived for: hide the marker "
                "when learning from pictures.",
                pixels_only=True,
            )
    return None


def _pictures(subject: Subject) -> list[np.ndarray]:
    """The same moment drawn twice with its own goal, then with others, each ``(height, width, 3)``.

    Raises:
        _NoPictureError: if that cannot be done.
    """
    if subject.env.render_mode != "rgb_array":
        raise _NoPictureError("the env was not made with render_mode='rgb_array'")
    if not subject.can_set_goal:
        raise _NoPictureError("the env offers no way to change only the goal, such as `goal`")
    if subject.replay_difference is not None:
        raise _NoPictureError("the same moment cannot be met twice")
    others = subject.goals_other_than(subject.episodes[0].shown[0]["desired_goal"])[:GOALS]
    frames = [_picture(subject, goal) for goal in (None, None, *others)]
    if not np.array_equal(frames[0], frames[1]):
        raise _NoPictureError("two pictures of the same moment differ")
    return frames


def _picture(subject: Subject, goal: np.ndarray | None) -> np.ndarray:
    """What the first episode looks like after a step towards a goal."""
    first, frames = subject.episodes[0], []

    def draw() -> None:
        # Whatever prevents drawing, often the machine, is no fault of the goals.
        try:
            frames.append(np.array(subject.env.render()))
        except Exception as error:
            raise _NoPictureError(f"render {raised(error)}") from error

    try:
        subject.play(first.seed, first.actions[:1], goal=goal, after_step=draw)
    except Broken as broken:
        raise _NoPictureError(f"a goal could not be set ({broken})") from broken
    if frames[0].ndim != 3:
        raise _NoPictureError(f"render gave shape {frames[0].shape}, not (height, width, 3)")
    return frames[0]
