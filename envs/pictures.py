"""Pictures of many simulations, as learning from images wants them: square, small, and fast to draw.

They show what a real camera would see: goal markers, all other sites and the mocap body are left out,
so a picture is a function of the state alone. The time goes to vertices and samples, not to physics
(``benchmarks/render_speed.py``). Hence:

- robot parts outside a camera's view are not sent to OpenGL, and two never are: the lidar, which hides
  beneath the base, and the red stop button behind the torso. Together they have nearly half of the
  robot's vertices, for less than a pixel of most pictures;
- edges are smoothed by drawing twice as large and averaging: a software renderer takes half as long
  again for it, and two and a half times as long with multisampling;
- only kinematics are computed, which is all that a picture depends on.

Shadows and reflections need no switch: nothing in these scenes casts the ones or has the others.
"""

import atexit
import copy
import threading
import weakref
from typing import Any

import cv2
import mujoco
import numpy as np

from .camera import make_context
from .scene import MOCAP_BODY, known_objects, load_scene, picture_camera
from .tasks import Task
from .vector import check_choice, check_least

LEFT_OUT = (MOCAP_BODY, "robot0:laser_link", "robot0:estop_link")
"""Bodies that no picture shows."""
OVERSAMPLING = 2
"""Pixels drawn for each pixel of a picture, along either side."""
HIDDEN = 5
"""A group of geoms that is not drawn."""
_MAX_GEOMS = 500


class Pictures:
    """Draws pictures of a task's simulations, from any of its cameras and in any size.

    Holds one OpenGL context, which belongs to the thread that made it; ``shared_pictures`` gives each
    thread its own.

    Args:
        task: whose scene to draw.
        oversampling: pixels drawn for each pixel of a picture, along either side; 1 leaves edges rough.

    Raises:
        RenderingError: if no OpenGL context can be made; the message names what to install.
    """

    def __init__(self, task: Task, oversampling: int = OVERSAMPLING):
        # The lighter model lacks some of the robot's cameras; joint positions mean the same in both.
        self._model = model = copy.copy(load_scene(task).model)
        self._default = picture_camera(task)
        self._oversampling = oversampling
        self.cameras = [model.camera(index).name for index in range(model.ncam)]
        """Names of the cameras: the robot's own and ours."""
        self._objects = [model.geom(name).id for name in known_objects(model)]
        self._sizes = model.geom_size[self._objects].copy()
        bodies = [model.body(name).id for name in LEFT_OUT]
        model.geom_group[np.isin(model.geom_bodyid, bodies)] = HIDDEN
        self._groups = model.geom_group.copy()
        self._planes = {index: _sides(model.cam_fovy[index]) for index in range(model.ncam)}
        self._data = mujoco.MjData(model)
        model.vis.quality.offsamples = 0
        model.vis.quality.shadowsize = 0  # else a buffer of 64 MB that nothing is drawn into
        model.vis.global_.offwidth = model.vis.global_.offheight = 64 * oversampling
        self._gl, self._context = make_context(model)
        self._free = weakref.finalize(self, _free, self._gl, self._context)
        atexit.register(self._free)  # finalizers may run after EGL's own end, this runs before
        self._scene = mujoco.MjvScene(model, _MAX_GEOMS)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._options = mujoco.MjvOption()
        self._options.sitegroup[:] = 0

    def draw(
        self,
        poses: np.ndarray,
        camera: str | None = None,
        size: int = 64,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Draw simulations, in one state each or in many.

        Args:
            poses: what they look like, ``(..., nq)`` joint positions, or ``(..., nq + 3 k)`` with the
                sizes of their k objects behind (``FetchVectorEnv.poses``).
            camera: one of ``cameras``; None takes the task's own.
            size: width and height in pixels.
            out: where to draw to, of the shape and type returned; None makes it.

        Returns:
            ``(..., size, size, 3)`` uint8 RGB.

        Raises:
            ValueError: if the camera is unknown, or a shape does not fit.
        """
        camera = self.check(camera, size)
        poses, shape = self._read_poses(poses), (*poses.shape[:-1], size, size, 3)
        if out is None:
            out = np.empty(shape, np.uint8)
        if out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(f"out must be contiguous uint8 of shape {shape}")
        self._open(size * self._oversampling)
        self._camera.fixedcamid = self.cameras.index(camera)
        upside_down = np.empty((size * self._oversampling,) * 2 + (3,), np.uint8)
        for pose, picture in zip(poses, out.reshape(-1, size, size, 3), strict=True):
            self._pose(pose)
            self._draw(upside_down)
            if self._oversampling > 1:
                picture[::-1] = cv2.resize(upside_down, (size, size), interpolation=cv2.INTER_AREA)
            else:
                picture[::-1] = upside_down
        return out

    def check(self, camera: str | None, size: int) -> str:
        """The name of a camera, the task's own for None.

        Raises:
            ValueError: if there is no such camera, or the size is none; the message says what is allowed.
        """
        camera = camera or self._default
        check_choice("camera", camera, self.cameras)
        check_least(size=(size, 1))
        return camera

    def close(self) -> None:
        """Free the OpenGL context."""
        self._free()
        atexit.unregister(self._free)

    def _read_poses(self, poses: np.ndarray) -> np.ndarray:
        """Poses as rows that have the sizes of objects in them, ``(m, nq + 3 k)``."""
        width = self._model.nq
        full = width + self._sizes.size
        if not poses.ndim or poses.shape[-1] not in (width, full):
            raise ValueError(f"poses must be of shape (..., {width}) or (..., {full})")
        rows = poses.reshape(-1, poses.shape[-1])
        if rows.shape[1] == full:
            return rows
        sizes = np.broadcast_to(self._sizes.ravel(), (len(rows), self._sizes.size))
        return np.concatenate([rows, sizes], axis=1)

    def _open(self, size: int) -> None:
        """Make the context current, with a buffer no larger than needed: all of it is cleared each time."""
        self._gl.make_current()
        if self._context.offWidth != size:
            mujoco.mjr_resizeOffscreen(size, size, self._context)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)

    def _pose(self, pose: np.ndarray) -> None:
        model, data = self._model, self._data
        data.qpos[:], sizes = pose[: model.nq], pose[model.nq :].reshape(-1, 3)
        model.geom_size[self._objects] = sizes
        model.geom_rbound[self._objects] = np.linalg.norm(sizes, axis=1)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)

    def _draw(self, pixels: np.ndarray) -> None:
        """Draw the present pose into ``pixels``, the lowest row first as OpenGL has it."""
        model, data, index = self._model, self._data, self._camera.fixedcamid
        # A geom whose bounding sphere lies beyond one side of the view, planes excepted, has no part in it.
        relative = (data.geom_xpos - data.cam_xpos[index]) @ data.cam_xmat[index].reshape(3, 3)
        beyond = (relative @ self._planes[index] > model.geom_rbound[:, None]).any(axis=1)
        unseen = beyond & (model.geom_type != mujoco.mjtGeom.mjGEOM_PLANE)
        model.geom_group[:] = np.where(unseen, HIDDEN, self._groups)
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(
            model, data, self._options, None, self._camera, everything, self._scene
        )
        view = mujoco.MjrRect(0, 0, pixels.shape[1], pixels.shape[0])
        mujoco.mjr_render(view, self._scene, self._context)
        mujoco.mjr_readPixels(pixels, None, view, self._context)


def _sides(fovy: float) -> np.ndarray:
    """Outward normals of the four sides of a square view, in the camera's frame, ``(3, 4)``."""
    half = np.radians(fovy) / 2.0
    across, ahead = np.cos(half), np.sin(half)  # the camera looks along -z
    normals = [(across, 0, ahead), (-across, 0, ahead), (0, across, ahead), (0, -across, ahead)]
    return np.array(normals).T


def _free(gl: Any, context: mujoco.MjrContext) -> None:
    gl.make_current()
    context.free()
    gl.free()


_of_thread = threading.local()


def shared_pictures(task: Task) -> Pictures:
    """The one ``Pictures`` of a task in this thread: contexts take memory, and long to make."""
    made: dict[Task, Pictures] = _of_thread.__dict__.setdefault("made", {})
    if task not in made:
        made[task] = Pictures(task)
    return made[task]
