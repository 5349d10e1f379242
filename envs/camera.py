"""Offscreen pictures of a simulation, drawn from a copy so that physics never notices."""

import copy
import os
import sys
import weakref

import mujoco
import numpy as np

from .scene import MOCAP_BODY, TARGET_SITE

WATCH_CAMERA = "her:watch"
PACKAGES = "libegl1 libgl1 libgl1-mesa-dri libegl-mesa0"


def _choose_context() -> None:
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


class RenderingError(RuntimeError):
    """Headless rendering does not work on this machine."""


class Camera:
    """Draws ``(height, width, 3)`` uint8 frames of one model.

    Args:
        model: the compiled scene; it is copied.
        width: pixels.
        height: pixels.
        name: camera in the scene.

    Raises:
        RenderingError: if no OpenGL context can be made; the message names what to install.
    """

    def __init__(
        self, model: mujoco.MjModel, width: int = 480, height: int = 480, name: str = WATCH_CAMERA
    ):
        self._model = copy.copy(model)
        self._model.vis.global_.offwidth = max(width, self._model.vis.global_.offwidth)
        self._model.vis.global_.offheight = max(height, self._model.vis.global_.offheight)
        mocap = self._model.body(MOCAP_BODY).id
        self._model.geom_rgba[self._model.geom_bodyid == mocap, 3] = 0.0
        self._target = self._model.site(TARGET_SITE).id
        self._name = name
        self._data = mujoco.MjData(self._model)
        try:
            _choose_context()
            self._renderer = mujoco.Renderer(self._model, height, width)
        except Exception as error:
            raise RenderingError(
                f"cannot draw without a screen (MUJOCO_GL={os.environ.get('MUJOCO_GL', 'unset')}: "
                f"{error}). On Debian or Ubuntu: apt-get install {PACKAGES}"
            ) from error
        # An env left unclosed must not free its context after the interpreter has taken EGL down.
        self._free = weakref.finalize(self, self._renderer.close)

    def render(self, qpos: np.ndarray, target: np.ndarray | None) -> np.ndarray:
        """The scene at joint positions ``qpos`` with the goal marker at ``target`` ``(3,)`` or hidden."""
        self._data.qpos[:] = qpos
        body = self._model.site_bodyid[self._target]
        if target is not None:
            self._model.site_pos[self._target] = target - self._model.body_pos[body]
        self._model.site_rgba[self._target, 3] = 0.0 if target is None else 1.0
        mujoco.mj_forward(self._model, self._data)
        self._renderer.update_scene(self._data, self._name)
        return self._renderer.render()

    def close(self) -> None:
        """Free the OpenGL context."""
        self._free()
