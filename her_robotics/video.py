"""Films of a policy: several episodes side by side, goal visible, success marked."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import gymnasium as gym
import imageio_ffmpeg
import numpy as np

from .errors import UserError
from .files import replacing
from .rollout import ActionFunction, advance, start
from .types import GoalObs, Task

FPS = 25
SUCCESS_COLOUR, PENDING_COLOUR = (46, 160, 67), (120, 120, 120)
BORDER, BAR = 4, 28
"""Pixels of the frame around each episode and of the line of text above it."""


class VideoError(UserError):
    """A film could not be made."""


class Seen(NamedTuple):
    """One step of n episodes.

    Attributes:
        frame: all of them side by side, ``(height, width, 3)`` uint8.
        distance: of each from its goal, ``(n,)``, in the goal's unit.
        reached: whether that counts as reached, ``(n,)`` bool.
    """

    frame: np.ndarray
    distance: np.ndarray
    reached: np.ndarray


def film(
    env: gym.vector.VectorEnv,
    task: Task,
    act: ActionFunction,
    seeds: list[int],
    title: str,
    goal: np.ndarray | None = None,
    goal_picture: np.ndarray | None = None,
) -> np.ndarray:
    """Play one episode in every env and draw all of them side by side, as ``watch`` does.

    Returns:
        ``(horizon + 1, height, width, 3)`` uint8 frames.

    Raises:
        VideoError: if the env renders nothing, or no goal can be given to it.
    """
    return np.stack(
        [seen.frame for seen in watch(env, task, act, seeds, title, goal, goal_picture)]
    )


def watch(
    env: gym.vector.VectorEnv,
    task: Task,
    act: ActionFunction,
    seeds: list[int],
    title: str,
    goal: np.ndarray | None = None,
    goal_picture: np.ndarray | None = None,
) -> Iterator[Seen]:
    """Play one episode in every env, step by step.

    Args:
        env: a vector env with ``render_mode="rgb_array"``.
        task: what is known of it; the border turns green where its goal is reached.
        act: the policy.
        seeds: one for each env.
        title: written above each episode.
        goal: the goal of all of them, ``(g,)``, in place of those that the env draws.
        goal_picture: the same as an image, ``(size, size, 3)`` uint8, where goals are images.

    Yields:
        What is seen at the start and after each step.

    Raises:
        VideoError: if the env renders nothing, or no goal can be given to it.
    """
    obs = start(env, seeds)
    if goal is not None:
        obs = _give_goal(env, obs, goal)
    if goal_picture is not None:
        obs = _give_picture(env, obs, goal_picture)
    for step in range(task.shape.horizon + 1):
        pictures: Any = env.render()
        if pictures is None:
            raise VideoError("the env renders nothing: it was made without render_mode='rgb_array'")
        offsets = (obs.achieved_goal - obs.desired_goal)[..., task.shape.judged]
        distances = np.linalg.norm(offsets, axis=-1)
        reached = task.reached(obs.achieved_goal, obs.desired_goal)
        beside = getattr(env.unwrapped, "goal_pictures", [None] * len(pictures))
        tiles = [
            _tile(_beside(wanted, picture), title, step, *judged)
            for wanted, picture, *judged in zip(beside, pictures, distances, reached, strict=True)
        ]
        yield Seen(_grid(tiles), distances, reached)
        if step < task.shape.horizon:
            obs = advance(env, act(obs), step)


def _give_goal(env: gym.vector.VectorEnv, obs: GoalObs, goal: np.ndarray) -> GoalObs:
    """Pursue ``goal`` in every env; what they show then."""
    base: Any = env.unwrapped
    if hasattr(base, "pursue_picture"):
        raise VideoError("goals of this policy are images: give one by --goal-image FILE")
    if not hasattr(base, "goals"):
        raise VideoError(f"{base} draws its goals itself: none can be given to it")
    if goal.shape != obs.desired_goal.shape[1:] or not np.isfinite(goal).all():
        width = obs.desired_goal.shape[1]
        raise VideoError(f"a goal of this task is {width} finite numbers, not {goal.tolist()}")
    goals = np.broadcast_to(goal, obs.desired_goal.shape).astype(np.float64)
    base.goals = goals
    return obs._replace(desired_goal=goals)


def _give_picture(env: gym.vector.VectorEnv, obs: GoalObs, picture: np.ndarray) -> GoalObs:
    """Pursue what a picture shows in every env; what they show then."""
    base: Any = env.unwrapped
    if not hasattr(base, "pursue_picture"):
        raise VideoError("goals of this policy are no images: give one by --goal X Y Z")
    return obs._replace(desired_goal=base.pursue_picture(picture))


def _beside(goal: np.ndarray | None, picture: np.ndarray) -> np.ndarray:
    """A picture with its goal image, if there is one, to its left in the same size."""
    if goal is None:
        return picture
    height = len(picture)
    large = cv2.resize(goal, (height, height), interpolation=cv2.INTER_NEAREST)
    return np.concatenate([large, picture], axis=1)


class Window:
    """A window that shows frames as time passes, until it is closed or q is pressed.

    Args:
        title: of the window.
        fps: frames per second.
    """

    def __init__(self, title: str, fps: int = FPS):
        self._title, self._wait = title, round(1000 / fps)

    @staticmethod
    def available() -> bool:
        """Whether there is a display to open it on. OpenCV would abort without one."""
        on_a_desktop = sys.platform in ("win32", "darwin")
        return on_a_desktop or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))

    def show(self, frame: np.ndarray) -> bool:
        """Show a ``(height, width, 3)`` RGB frame for its time; False once the window is to close."""
        cv2.imshow(self._title, frame[..., ::-1])
        key = cv2.waitKey(self._wait) & 0xFF
        closed = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
        return not (closed or key in (ord("q"), 27))

    def close(self) -> None:
        """Close it."""
        cv2.destroyAllWindows()


def write_video(path: Path, frames: np.ndarray, fps: int = FPS) -> None:
    """Write frames as H.264 in MP4, in the pixel format every browser plays.

    The encoder is the ffmpeg that imageio-ffmpeg ships, run directly: the package's own writer does
    not tell when it fails.

    Args:
        path: the file, ending in ``.mp4``.
        frames: ``(n, height, width, 3)`` uint8; an odd last row or column is left out.
        fps: frames per second.

    Raises:
        VideoError: if the encoder fails or the file cannot be written.
    """
    if path.suffix != ".mp4":
        raise VideoError(f"cannot write the film {path}: its name must end in .mp4")
    height, width = (size - size % 2 for size in frames.shape[1:3])
    pixels = np.ascontiguousarray(frames[:, :height, :width]).tobytes()
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps)]
    coding = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "23", "-movflags", "+faststart"]
    try:
        with replacing(path) as aside:
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *source, "-i", "-"]
            command += [*coding, "-f", "mp4", str(aside)]
            encoder = subprocess.run(command, input=pixels, capture_output=True, check=False)
            if encoder.returncode:
                raise RuntimeError(_reason(encoder.stderr.decode(errors="replace")))
    except (OSError, RuntimeError) as error:
        raise VideoError(f"cannot write the film {path}: {error}") from error


def read_video(path: Path) -> np.ndarray:
    """The frames of a film, ``(n, height, width, 3)`` uint8.

    Raises:
        VideoError: if there is none to be read.
    """
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        read, frame = capture.read()
        if not read:
            break
        frames.append(frame[..., ::-1])
    capture.release()
    if not frames:
        raise VideoError(f"{path} is not a film that can be read")
    return np.stack(frames)


def _reason(spoken: str) -> str:
    """The first line of what the encoder said."""
    lines = spoken.strip().splitlines()
    return lines[0] if lines else "the encoder failed without a word"


def _tile(picture: np.ndarray, title: str, step: int, distance: float, reached: bool) -> np.ndarray:
    """One episode's picture under a line of text, in a border that says whether the goal is reached."""
    colour = SUCCESS_COLOUR if reached else PENDING_COLOUR
    bar = np.full((BAR, picture.shape[1], 3), 24, np.uint8)
    text = f"{title}  step {step:2d}  {distance:.3f}{'  reached' if reached else ''}"
    scale = len(picture) / 760
    cv2.putText(
        bar, text, (8, BAR - 9), cv2.FONT_HERSHEY_SIMPLEX, scale, (235, 235, 235), 1, cv2.LINE_AA
    )
    tile = np.concatenate([bar, picture])
    return cv2.copyMakeBorder(
        tile, BORDER, BORDER, BORDER, BORDER, cv2.BORDER_CONSTANT, value=colour
    )


def _grid(tiles: list[np.ndarray]) -> np.ndarray:
    """Tiles in rows of at most four, the last row filled up with black."""
    columns = min(4, len(tiles))
    blanks = -len(tiles) % columns
    tiles = tiles + [np.zeros_like(tiles[0])] * blanks
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows)
