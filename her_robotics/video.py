"""Films of a policy: several episodes side by side, goal visible, success marked."""

import subprocess
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import imageio_ffmpeg
import numpy as np

from .errors import UserError
from .files import replacing
from .rollout import ActionFunction, advance, start
from .types import Task

FPS = 25
SUCCESS_COLOUR, PENDING_COLOUR = (46, 160, 67), (120, 120, 120)
BORDER, BAR = 4, 28
"""Pixels of the frame around each episode and of the line of text above it."""


class VideoError(UserError):
    """A film could not be made."""


def film(
    env: gym.vector.VectorEnv,
    task: Task,
    act: ActionFunction,
    seeds: list[int],
    title: str,
) -> np.ndarray:
    """Play one episode in every env and draw all of them side by side.

    Args:
        env: a vector env with ``render_mode="rgb_array"``.
        task: what is known of it; the border turns green where its goal is reached.
        act: the policy.
        seeds: one for each env.
        title: written above each episode.

    Returns:
        ``(horizon + 1, height, width, 3)`` uint8 frames.

    Raises:
        VideoError: if the env renders nothing.
    """
    obs = start(env, seeds)
    frames = []
    for step in range(task.shape.horizon + 1):
        pictures: Any = env.render()
        if pictures is None:
            raise VideoError("the env renders nothing: it was made without render_mode='rgb_array'")
        distances = np.linalg.norm(obs.achieved_goal - obs.desired_goal, axis=-1)
        reached = task.reached(obs.achieved_goal, obs.desired_goal)
        tiles = [
            _tile(picture, title, step, *judged)
            for picture, *judged in zip(pictures, distances, reached, strict=True)
        ]
        frames.append(_grid(tiles))
        if step < task.shape.horizon:
            obs = advance(env, act(obs), step)
    return np.stack(frames)


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


def _reason(spoken: str) -> str:
    """The first line of what the encoder said."""
    lines = spoken.strip().splitlines()
    return lines[0] if lines else "the encoder failed without a word"


def _tile(picture: np.ndarray, title: str, step: int, distance: float, reached: bool) -> np.ndarray:
    """One episode's picture under a line of text, in a border that says whether the goal is reached."""
    colour = SUCCESS_COLOUR if reached else PENDING_COLOUR
    bar = np.full((BAR, picture.shape[1], 3), 24, np.uint8)
    text = f"{title}  step {step:2d}  {distance:.3f}{'  reached' if reached else ''}"
    scale = picture.shape[1] / 760
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
