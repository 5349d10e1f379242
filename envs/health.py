"""Whether physics and drawing work on this machine. What may be broken is imported only when it is tried.

A verdict is whether all is well, what was found, and the command that mends it.
"""

import os
import subprocess
import sys
import time
import warnings
from importlib import metadata

from .opengl import RenderingError, choose_context, how_to_mend
from .vector import first_line

Verdict = tuple[bool, str, str]
SIDE = 64
"""Width and height of the frame that is drawn, in pixels."""
LEAST_SPREAD = 5.0
"""Standard deviation of a frame's brightness, of 255, below which it shows nothing."""


def physics() -> Verdict:
    """Whether MuJoCo steps our tasks, and upstream's; tells whether upstream needs its repair."""
    try:
        import mujoco
    except Exception as error:  # it reads MUJOCO_GL, and loads what that names, on import
        mend = how_to_mend() if "MUJOCO_GL" in os.environ else _install("mujoco")
        return False, f"mujoco cannot be imported: {first_line(error)}", mend
    try:
        from .compat import register_gymnasium_robotics
        from .single import FetchEnv

        _step(FetchEnv("fetch_push"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            repaired = register_gymnasium_robotics()
            from .making import make_by_id

            _step(make_by_id("FetchPush-v4"))
    except Exception as error:
        return (
            False,
            f"Fetch cannot be stepped: {first_line(error)}",
            _install("gymnasium-robotics"),
        )
    upstream = f"gymnasium-robotics {metadata.version('gymnasium-robotics')}"
    state = "needs envs/compat.py there, and is repaired" if repaired else "works as it is"
    return True, f"FetchPush steps on mujoco {mujoco.__version__}; {upstream} {state}", ""


def rendering(timeout: float = 60.0) -> Verdict:
    """Whether a frame can be drawn that shows something.

    It is drawn in a process of its own, which a graphics library may well end.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        drawn = subprocess.run(
            [sys.executable, "-m", __name__],
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return False, f"nothing is drawn: {first_line(error)}", how_to_mend()
    if drawn.returncode == 0:
        return True, drawn.stdout.strip(), ""
    said = drawn.stderr.strip().splitlines() or [f"the process ended with {drawn.returncode}"]
    chosen = os.environ.get("MUJOCO_GL", "unset")
    return False, f"nothing is drawn (MUJOCO_GL={chosen}): {said[-1][:300]}", how_to_mend()


def draw() -> str:
    """Draw a frame of FetchPush and say how.

    Raises:
        RenderingError: if that fails, or the frame is blank.
    """
    choose_context()
    from .single import FetchEnv

    start = time.perf_counter()
    env = FetchEnv("fetch_push", render_mode="rgb_array", width=SIDE, height=SIDE)
    env.reset(seed=0)
    frame = env.render()
    env.close()
    if frame is None or frame.shape != (SIDE, SIDE, 3) or frame.std() < LEAST_SPREAD:
        raise RenderingError("the frame is blank")
    backend, spent = os.environ.get("MUJOCO_GL") or "the desktop", time.perf_counter() - start
    return f"a frame of FetchPush drawn by {backend}, {spent:.1f} s for the first"


def _step(env) -> None:
    env.reset(seed=0)
    shown, *_ = env.step(env.action_space.sample())
    env.close()
    if shown["observation"].shape != env.observation_space["observation"].shape:
        raise RuntimeError(f"observations have shape {shown['observation'].shape}")


def _install(package: str) -> str:
    return f"{sys.executable} -m pip install --force-reinstall {package}"


if __name__ == "__main__":
    print(draw())
