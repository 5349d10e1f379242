"""Which OpenGL draws without a screen, and what to install for it. Imports no MuJoCo until it must."""

import os
import sys

PACKAGES = "libegl1 libgl1 libgl1-mesa-dri libegl-mesa0"


class RenderingError(RuntimeError):
    """Headless rendering does not work on this machine."""


def choose_context() -> None:
    """Draw by EGL on a Linux machine without a screen, also if MuJoCo was imported before us.

    MuJoCo makes this choice when it is imported, from ``MUJOCO_GL``; without a screen its default,
    GLFW, ends the process.
    """
    if os.environ.get("MUJOCO_GL") or os.environ.get("DISPLAY") or sys.platform != "linux":
        return
    from mujoco.egl import GLContext
    from mujoco.rendering.classic import gl_context

    gl_context.GLContext = GLContext
    os.environ["MUJOCO_GL"] = "egl"


def how_to_mend() -> str:
    """The command that most likely mends drawing here."""
    if os.environ.get("MUJOCO_GL") not in (None, "", "egl"):
        return "unset MUJOCO_GL"
    return f"apt-get install {PACKAGES}"
