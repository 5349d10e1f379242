"""What a run leaves beside its policy: the film and the tracked figures."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from ..errors import first_line
from .finding import Finding, failed, noted, passed

FRAMES, SIDE = 8, 64
TOLERANCE = 20.0
"""Mean difference of brightness, of 255, that encoding may make."""


def film() -> Finding:
    """Whether a film can be encoded and decoded again."""
    mend = f"{sys.executable} -m pip install --force-reinstall imageio-ffmpeg opencv-python"
    try:
        from ..video import read_video, write_video

        with tempfile.TemporaryDirectory() as folder:
            path, frames = Path(folder) / "probe.mp4", moving_bar()
            write_video(path, frames)
            seen = read_video(path)
    except Exception as error:  # libraries that are half there fail in any way
        return failed(f"no film can be made: {first_line(error)}", mend)
    if seen.shape != frames.shape or np.abs(seen.astype(float) - frames).mean() > TOLERANCE:
        return failed(
            f"a film of {frames.shape} came back as {seen.shape}, or as other frames", mend
        )
    return passed(f"{FRAMES} frames encoded as H.264 and decoded again")


def moving_bar() -> np.ndarray:
    """A bright bar on its way over a dark ground, ``(frames, side, side, 3)`` uint8."""
    frames = np.full((FRAMES, SIDE, SIDE, 3), 24, np.uint8)
    for index, frame in enumerate(frames):
        frame[:, 8 * index : 8 * index + 8] = 230
    return frames


def wandb() -> Finding:
    """Whether runs are tracked online; training needs neither a key nor a network."""
    from ..tracking import wandb_mode, wandb_version

    try:
        version = wandb_version()
    except Exception as error:
        mend = f"{sys.executable} -m pip install --force-reinstall wandb"
        return noted(f"wandb does not import ({first_line(error)}): runs keep local files", mend)
    mode = wandb_mode(None)
    if mode == "offline":
        said = f"{version}: runs are tracked offline, in their folder, as no account is set up"
        return noted(said, "wandb login")
    state = "online: an account is set up" if mode == "online" else "disabled by WANDB_MODE"
    return passed(f"{version}, {state}")
