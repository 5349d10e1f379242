"""Offscreen pictures of a simulation, drawn from a copy so that physics never notices."""

import atexit
import copy
import os
import sys
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import mujoco
import numpy as np
from mujoco.rendering.classic import gl_context

from .scene import MOCAP_BODY, known_objects, target_names

WATCH_CAMERA = "her:watch"
PACKAGES = "libegl1 libgl1 libgl1-mesa-dri libegl-mesa0"


def choose_context() -> None:
    """Draw by EGL on a Linux machine without a screen, also if MuJoCo was imported before us.

    MuJoCo makes this choice when it is imported, from ``MUJOCO_GL``; without a screen its default,
    GLFW, ends the process.
    """
    if os.environ.get("MUJOCO_GL") or os.environ.get("DISPLAY") or sys.platform != "linux":
        return
    from mujoco.egl import GLContext

    gl_context.GLContext = GLContext
    os.environ["MUJOCO_GL"] = "egl"


class RenderingError(RuntimeError):
    """Headless rendering does not work on this machine."""


@contextmanager
def explained() -> Generator[None]:
    """Turn whatever keeps MuJoCo from making a context into an error that says what to install."""
    try:
        choose_context()
        yield
    except Exception as error:
        raise RenderingError(
            f"cannot draw without a screen (MUJOCO_GL={os.environ.get('MUJOCO_GL', 'unset')}: "
            f"{error}). On Debian or Ubuntu: apt-get install {PACKAGES}"
        ) from error


def make_context(model: mujoco.MjModel) -> tuple[Any, mujoco.MjrContext]:
    """An OpenGL context, current in this thread, and what MuJoCo keeps in it to draw ``model``.

    Raises:
        RenderingError: if none can be made; the message names what to install.
    """
    with explained():
        size = model.vis.global_.offwidth, model.vis.global_.offheight
        context: Any = gl_context.GLContext(*size)
        context.make_current()
        return context, mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)


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
        self._targets = [self._model.site(name).id for name in target_names(self._model)]
        self._model.site_sameframe[self._targets] = (
            0  # else MuJoCo takes the body's place for theirs
        )
        self._objects = [self._model.geom(name).id for name in known_objects(self._model)]
        self._name = name
        # Upstream's block hides a red ball, which would show in a smaller one.
        for name in known_objects(self._model):
            self._model.site(name).rgba[3] = 0.0
        self._data = mujoco.MjData(self._model)
        with explained():
            self._renderer = mujoco.Renderer(self._model, height, width)
        # An env left unclosed must not free its context after the interpreter has taken EGL down.
        self._free = weakref.finalize(self, self._renderer.close)
        atexit.register(self._free)  # finalizers may run after EGL's own end, this runs before

    def render(
        self, qpos: np.ndarray, targets: np.ndarray, object_sizes: np.ndarray | None = None
    ) -> np.ndarray:
        """Draw the scene.

        Args:
            qpos: joint positions.
            targets: where to put goal markers, ``(markers, 3)`` metres; those left over are hidden.
            object_sizes: ``(k, 3)`` sizes of the objects' geoms, where they are not the model's own.
        """
        self._data.qpos[:] = qpos
        if object_sizes is not None:
            self._model.geom_size[self._objects] = object_sizes
        for index, site in enumerate(self._targets):
            shown = index < len(targets)
            if shown:
                body = self._model.site_bodyid[site]
                self._model.site_pos[site] = targets[index] - self._model.body_pos[body]
            self._model.site_rgba[site, 3] = float(shown)
        mujoco.mj_forward(self._model, self._data)
        self._renderer.update_scene(self._data, self._name)
        return self._renderer.render()

    def close(self) -> None:
        """Free the OpenGL context."""
        self._free()
        atexit.unregister(self._free)
