"""Films of a policy: several episodes side by side, goal visible, success marked."""

from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import imageio_ffmpeg
import numpy as np

from .errors import UserError
from .files import replacing
from .rollout import ActionFunction, advance, start

FPS = 25
SUCCESS_COLOUR, PENDING_COLOUR = (46, 160, 67), (120, 120, 120)
BORDER, BAR = 4, 28
"""Pixels of the frame around each episode and of the line of text above it."""


class VideoError(UserError):
    """A film could not be made."""


def film(
    env: gym.vector.VectorEnv,
    horizon: int,
    threshold: float,
    act: ActionFunction,
    seeds: list[int],
    title: str,
) -> np.ndarray:
    """Play one episode in every env and draw all of them side by side.

    Args:
        env: a vector env with ``render_mode="rgb_array"``.
        horizon: steps to play.
        threshold: distance within which the goal is reached: the border turns green.
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
    for step in range(horizon + 1):
        pictures: Any = env.render()
        if pictures is None:
            raise VideoError("the env renders nothing: it was made without render_mode='rgb_array'")
        distances = np.linalg.norm(obs.achieved_goal - obs.desired_goal, axis=-1)
        tiles = [
            _tile(picture, title, step, distance, distance < threshold)
            for picture, distance in zip(pictures, distances, strict=True)
        ]
        frames.append(_grid(tiles))
        if step < horizon:
            obs = advance(env, act(obs), step)
    return np.stack(frames)


def write_video(path: Path, frames: np.ndarray, fps: int = FPS) -> None:
    """Write frames as H.264 in MP4, in the pixel format every browser plays.

    Args:
        path: the file.
        frames: ``(n, height, width, 3)`` uint8.
        fps: frames per second.

    Raises:
        VideoError: if the encoder fails.
    """
    height, width = (size - size % 2 for size in frames.shape[1:3])
    try:
        with replacing(path) as aside:
            named = aside.with_suffix(aside.suffix + path.suffix)
            writer = imageio_ffmpeg.write_frames(
                str(named),
                (width, height),
                fps=fps,
                codec="libx264",
                pix_fmt_out="yuv420p",
                quality=None,
                macro_block_size=2,
                output_params=["-crf", "23", "-preset", "medium", "-movflags", "+faststart"],
                ffmpeg_log_level="error",
            )
            writer.send(None)
            for frame in frames:
                writer.send(np.ascontiguousarray(frame[:height, :width]))
            writer.close()
            named.replace(aside)
    except (OSError, RuntimeError) as error:
        raise VideoError(f"cannot write the film {path}: {error}") from error


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
