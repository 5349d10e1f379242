"""N Fetch simulations stepped at once on MuJoCo's native thread pool, and what is read from them."""

import copy
from functools import cache
from typing import NamedTuple

import mujoco
import numpy as np
from mujoco.batch import Batch

from .scene import (
    ARM_JOINTS,
    FINGERS,
    GRIP_BODY,
    GRIP_SITE,
    GRIPPER_QUATERNION,
    MOCAP_BODY,
    OBJECT,
    load_scene,
)
from .tasks import SUBSTEPS, Task

_DIVERGENCES = [
    int(getattr(mujoco.mjtWarning, f"mjWARN_BAD{field}"))
    for field in ("QPOS", "QVEL", "QACC", "CTRL")
]
MAX_DISPLACEMENT = 0.05
"""Metres the gripper's target moves for an action of 1."""


class Readings(NamedTuple):
    """What an observation is made of, for n simulations. Velocities are per env step (0.04 s).

    Attributes:
        grip_pos: ``(n, 3)`` gripper position, metres.
        grip_velp: ``(n, 3)`` gripper linear velocity.
        link_pos: ``(n, 3)`` position of the body that the mocap weld drags, metres.
        link_quat: ``(n, 4)`` its orientation.
        fingers: ``(n, 2)`` finger joints, metres, right then left.
        finger_vel: ``(n, 2)`` their velocities.
        arm: ``(n, 7)`` arm joint angles, radians.
        arm_vel: ``(n, 7)`` their velocities.
        object_pos: ``(n, 3)`` object position, metres; ``(n, 0)`` without an object.
        object_rot: ``(n, 3)`` its Euler angles, radians; ``(n, 0)`` without an object.
        object_velp: ``(n, 3)`` its linear velocity; ``(n, 0)`` without an object.
        object_velr: ``(n, 3)`` its angular velocity; ``(n, 0)`` without an object.
    """

    grip_pos: np.ndarray
    grip_velp: np.ndarray
    link_pos: np.ndarray
    link_quat: np.ndarray
    fingers: np.ndarray
    finger_vel: np.ndarray
    arm: np.ndarray
    arm_vel: np.ndarray
    object_pos: np.ndarray
    object_rot: np.ndarray
    object_velp: np.ndarray
    object_velr: np.ndarray


class _Addresses(NamedTuple):
    """Where a task's joints, bodies and sites stand in the simulator's arrays."""

    mocap: int
    link: int
    grip: int
    grip_root: int
    grip_dofs: np.ndarray
    finger_qpos: np.ndarray
    finger_dofs: np.ndarray
    arm_qpos: np.ndarray
    arm_dofs: np.ndarray
    object_qpos: int
    object_site: int
    object_root: int
    object_dofs: np.ndarray
    actuated_qpos: np.ndarray


@cache
def _kinematic_model(task: Task) -> mujoco.MjModel:
    """The task's model without contacts and constraints: the same poses at a fraction of the cost."""
    model = copy.copy(load_scene(task).model)
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONSTRAINT) | int(
        mujoco.mjtDisableBit.mjDSBL_CONTACT
    )
    return model


def _dofs_moving(model: mujoco.MjModel, body: int) -> np.ndarray:
    """The degrees of freedom that move a body: its own and its ancestors'."""
    dofs: list[int] = []
    while body > 0:
        start = model.body_dofadr[body]
        if start >= 0:
            dofs = [*range(start, start + model.body_dofnum[body]), *dofs]
        body = model.body_parentid[body]
    return np.array(dofs, dtype=np.intp)


def _addresses(model: mujoco.MjModel, has_object: bool) -> _Addresses:
    def joints(names: tuple[str, ...], table: np.ndarray) -> np.ndarray:
        return np.array([table[model.joint(name).id] for name in names], dtype=np.intp)

    link, grip = model.body(GRIP_BODY).id, model.site(GRIP_SITE).id
    item = model.body(OBJECT).id if has_object else -1
    return _Addresses(
        mocap=int(model.body(MOCAP_BODY).mocapid[0]),
        link=link,
        grip=grip,
        grip_root=int(model.body_rootid[link]),
        grip_dofs=_dofs_moving(model, link),
        finger_qpos=joints(FINGERS, model.jnt_qposadr),
        finger_dofs=joints(FINGERS, model.jnt_dofadr),
        arm_qpos=joints(ARM_JOINTS, model.jnt_qposadr),
        arm_dofs=joints(ARM_JOINTS, model.jnt_dofadr),
        object_qpos=int(model.joint(f"{OBJECT}:joint").qposadr[0]) if has_object else -1,
        object_site=model.site(OBJECT).id if has_object else -1,
        object_root=int(model.body_rootid[item]) if has_object else -1,
        object_dofs=_dofs_moving(model, item) if has_object else np.zeros(0, np.intp),
        actuated_qpos=np.array(model.jnt_qposadr[model.actuator_trnid[:, 0]], dtype=np.intp),
    )


class Simulations:
    """N simulations of one task.

    Args:
        task: the task.
        num_envs: how many simulations.
        num_threads: physics threads; 0 takes every core.
    """

    def __init__(self, task: Task, num_envs: int, num_threads: int = 0):
        self.task = task
        self.scene = load_scene(task)
        self.model = self.scene.model
        self.num_envs, self.num_threads = num_envs, num_threads
        self.dt = self.model.opt.timestep * SUBSTEPS
        self.at = _addresses(self.model, task.has_object)
        self._batch = Batch(self.model, num_envs, num_threads)
        self._poses = Batch(_kinematic_model(task), num_envs, num_threads)
        for batch in (self._batch, self._poses):
            for name in ("xpos", "xquat", "site_xpos", "site_xmat", "cdof", "subtree_com"):
                if batch is self._poses or not task.block_gripper:
                    batch.bind(name)
        self.qpos, self.qvel = self._batch.bind("qpos"), self._batch.bind("qvel")
        self._ctrl = self._batch.bind("ctrl")
        self._mocap_pos = self._batch.bind("mocap_pos")
        self._mocap_quat = self._batch.bind("mocap_quat")
        self.readings = self._settle()

    def reset(self, ids: np.ndarray, object_xy: np.ndarray | None) -> None:
        """Put simulations into their home state, with their objects at ``object_xy`` ``(k, 2)``."""
        self._batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE)
        self._batch.bind("time")[ids] = self.scene.time
        self.qpos[ids] = self.scene.qpos
        self.qvel[ids] = self.scene.qvel
        if object_xy is not None:
            start = self.at.object_qpos
            self.qpos[ids, start : start + 2] = object_xy
        # Upstream's reset runs mj_forward, which leaves the state as it is: poses are all we need.
        self._merge(ids, self._settle(ids))

    def step(self, actions: np.ndarray) -> np.ndarray:
        """Advance every simulation by one env step of 20 substeps, ``actions`` ``(n, 4)`` in [-1, 1].

        Returns:
            ``(n,)`` bool: which simulations diverged, so that their readings mean nothing.
        """
        before = self.divergences
        at, readings = self.at, self.readings
        # The product stays in the action's own precision, as upstream's does.
        displacement = actions[:, :3] * MAX_DISPLACEMENT
        self._mocap_pos[:, at.mocap] = readings.link_pos + displacement
        self._mocap_quat[:, at.mocap] = readings.link_quat + np.array(GRIPPER_QUATERNION)
        if len(at.actuated_qpos):
            fingers = 0.0 if self.task.block_gripper else actions[:, 3:4]
            self._ctrl[:] = self.qpos[:, at.actuated_qpos] + fingers
        self._batch.step(nstep=SUBSTEPS)
        if self.task.block_gripper:
            self.qpos[:, at.finger_qpos] = 0.0
            self.readings = self._settle()
        else:
            # With a free gripper upstream reads poses one substep behind the state.
            self.readings = self._read(self._batch)
        return self.divergences > before

    def drive_gripper(self, targets: np.ndarray, steps: int = 20) -> None:
        """Reset every simulation and pull its gripper to ``targets`` ``(n, 3)`` by the mocap weld."""
        self.reset(np.arange(self.num_envs), None)
        self._mocap_pos[:, self.at.mocap] = targets
        self._mocap_quat[:, self.at.mocap] = GRIPPER_QUATERNION
        self._batch.step(nstep=SUBSTEPS * steps)
        self.readings = self._settle()

    @property
    def divergences(self) -> np.ndarray:
        """``(n,)`` how often each simulation has diverged, and been reset by MuJoCo for it."""
        return self._batch.warning[:, _DIVERGENCES, 1].sum(axis=1)

    def _settle(self, ids: np.ndarray | None = None) -> Readings:
        """Readings of simulations ``ids``, or of all, with poses computed at their present state."""
        chosen = slice(None) if ids is None else ids
        self._poses.state[chosen] = self._batch.state[chosen]
        self._poses.forward(ids, stage=mujoco.mjtStage.mjSTAGE_POS)
        return self._read(self._poses, chosen)

    def _merge(self, ids: np.ndarray, readings: Readings) -> None:
        for mine, new in zip(self.readings, readings, strict=True):
            mine[ids] = new

    def _read(self, batch: Batch, ids: np.ndarray | slice = slice(None)) -> Readings:
        at, qpos, qvel = self.at, self.qpos[ids], self.qvel[ids]
        site_pos, xpos = batch.bind("site_xpos")[ids], batch.bind("xpos")[ids]
        cdof, com = batch.bind("cdof")[ids], batch.bind("subtree_com")[ids]

        def velocity(dofs: np.ndarray, point: np.ndarray, root: int) -> tuple:
            """Linear and angular velocity of a point: its Jacobian times qvel, from the spatial axes."""
            spatial = np.einsum("nd,ndk->nk", qvel[:, dofs], cdof[:, dofs])
            arm = point - com[:, root]
            return spatial[:, 3:] + np.cross(spatial[:, :3], arm), spatial[:, :3]

        grip_pos = site_pos[:, at.grip].copy()
        grip_velp, _ = velocity(at.grip_dofs, grip_pos, at.grip_root)
        nothing = np.zeros((len(qpos), 0))
        object_pos = object_rot = object_velp = object_velr = nothing
        if self.task.has_object:
            object_pos = site_pos[:, at.object_site].copy()
            matrices = batch.bind("site_xmat")[ids][:, at.object_site].reshape(-1, 3, 3)
            object_rot = euler_angles(matrices)
            object_velp, object_velr = velocity(at.object_dofs, object_pos, at.object_root)
        return Readings(
            grip_pos=grip_pos,
            grip_velp=grip_velp * self.dt,
            link_pos=xpos[:, at.link].copy(),
            link_quat=batch.bind("xquat")[ids][:, at.link].copy(),
            fingers=qpos[:, at.finger_qpos],
            finger_vel=qvel[:, at.finger_dofs] * self.dt,
            arm=qpos[:, at.arm_qpos],
            arm_vel=qvel[:, at.arm_dofs] * self.dt,
            object_pos=object_pos,
            object_rot=object_rot,
            object_velp=object_velp * self.dt,
            object_velr=object_velr * self.dt,
        )


def euler_angles(matrices: np.ndarray) -> np.ndarray:
    """Relative xyz Euler angles of rotation matrices, ``(n, 3, 3) -> (n, 3)`` in radians.

    The convention and the handling of gimbal lock are upstream's ``rotations.mat2euler``.
    """
    cos_y = np.hypot(matrices[:, 2, 2], matrices[:, 1, 2])
    free = cos_y > 4.0 * np.finfo(np.float64).eps
    x = np.where(free, -np.arctan2(matrices[:, 1, 2], matrices[:, 2, 2]), 0.0)
    y = -np.arctan2(-matrices[:, 0, 2], cos_y)
    z = np.where(
        free,
        -np.arctan2(matrices[:, 0, 1], matrices[:, 0, 0]),
        -np.arctan2(-matrices[:, 1, 0], matrices[:, 1, 1]),
    )
    return np.stack([x, y, z], axis=1)
