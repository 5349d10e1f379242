"""What is read from simulations: positions and velocities of gripper, arm and objects."""

from typing import NamedTuple

import mujoco
import numpy as np
from mujoco.batch import Batch

from .scene import ARM_JOINTS, FINGERS, GRIP_BODY, GRIP_SITE, MOCAP_BODY, object_names
from .tasks import Task

DERIVED = ("xpos", "xquat", "site_xpos", "site_xmat", "cdof", "subtree_com")
"""Fields of MjData that are read beside the state."""


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
        object_pos: ``(n, k, 3)`` positions of the k objects, metres.
        object_rot: ``(n, k, 3)`` their Euler angles, radians.
        object_velp: ``(n, k, 3)`` their linear velocities.
        object_velr: ``(n, k, 3)`` their angular velocities.
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


class _ObjectAddresses(NamedTuple):
    """Where one object stands in the simulator's arrays."""

    qpos: int
    site: int
    root: int
    dofs: np.ndarray
    half_height: float


class Addresses(NamedTuple):
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
    objects: tuple[_ObjectAddresses, ...]
    actuated_qpos: np.ndarray


def _dofs_moving(model: mujoco.MjModel, body: int) -> np.ndarray:
    """The degrees of freedom that move a body: its own and its ancestors'."""
    dofs: list[int] = []
    while body > 0:
        start = model.body_dofadr[body]
        if start >= 0:
            dofs = [*range(start, start + model.body_dofnum[body]), *dofs]
        body = model.body_parentid[body]
    return np.array(dofs, dtype=np.intp)


def _object_addresses(model: mujoco.MjModel, name: str) -> _ObjectAddresses:
    body = model.body(name).id
    return _ObjectAddresses(
        qpos=int(model.joint(f"{name}:joint").qposadr[0]),
        site=model.site(name).id,
        root=int(model.body_rootid[body]),
        dofs=_dofs_moving(model, body),
        half_height=float(model.geom_aabb[model.geom(name).id, 5]),
    )


def find_addresses(task: Task, model: mujoco.MjModel) -> Addresses:
    """Where things stand in the arrays of a task's compiled ``model``."""

    def joints(names: tuple[str, ...], table: np.ndarray) -> np.ndarray:
        return np.array([table[model.joint(name).id] for name in names], dtype=np.intp)

    link, grip = model.body(GRIP_BODY).id, model.site(GRIP_SITE).id
    return Addresses(
        mocap=int(model.body(MOCAP_BODY).mocapid[0]),
        link=link,
        grip=grip,
        grip_root=int(model.body_rootid[link]),
        grip_dofs=_dofs_moving(model, link),
        finger_qpos=joints(FINGERS, model.jnt_qposadr),
        finger_dofs=joints(FINGERS, model.jnt_dofadr),
        arm_qpos=joints(ARM_JOINTS, model.jnt_qposadr),
        arm_dofs=joints(ARM_JOINTS, model.jnt_dofadr),
        objects=tuple(_object_addresses(model, name) for name in object_names(task)),
        actuated_qpos=np.array(model.jnt_qposadr[model.actuator_trnid[:, 0]], dtype=np.intp),
    )


def read(batch: Batch, at: Addresses, ids: np.ndarray | slice, dt: float) -> Readings:
    """Readings of simulations ``ids``, from the derived fields of a batch that is in their state.

    Args:
        batch: whose last call computed the fields named in ``DERIVED``.
        at: where things stand in its arrays.
        ids: simulations.
        dt: seconds of an env step.
    """
    qpos, qvel = batch.bind("qpos")[ids], batch.bind("qvel")[ids]
    site_pos, xpos = batch.bind("site_xpos")[ids], batch.bind("xpos")[ids]
    cdof, com = batch.bind("cdof")[ids], batch.bind("subtree_com")[ids]

    def velocity(dofs: np.ndarray, point: np.ndarray, root: int) -> tuple:
        """Linear and angular velocity of a point: its Jacobian times qvel, from the spatial axes."""
        spatial = np.einsum("nd,ndk->nk", qvel[:, dofs], cdof[:, dofs])
        arm = point - com[:, root]
        return spatial[:, 3:] + np.cross(spatial[:, :3], arm), spatial[:, :3]

    grip_pos = site_pos[:, at.grip].copy()
    grip_velp, _ = velocity(at.grip_dofs, grip_pos, at.grip_root)
    count = len(at.objects)
    pos, rot, velp, velr = np.zeros((4, len(qpos), count, 3))
    for index, item in enumerate(at.objects):
        pos[:, index] = site_pos[:, item.site]
        matrices = batch.bind("site_xmat")[ids][:, item.site].reshape(-1, 3, 3)
        rot[:, index] = euler_angles(matrices)
        velp[:, index], velr[:, index] = velocity(item.dofs, pos[:, index], item.root)
    return Readings(
        grip_pos=grip_pos,
        grip_velp=grip_velp * dt,
        link_pos=xpos[:, at.link].copy(),
        link_quat=batch.bind("xquat")[ids][:, at.link].copy(),
        fingers=qpos[:, at.finger_qpos],
        finger_vel=qvel[:, at.finger_dofs] * dt,
        arm=qpos[:, at.arm_qpos],
        arm_vel=qvel[:, at.arm_dofs] * dt,
        object_pos=pos,
        object_rot=rot,
        object_velp=velp * dt,
        object_velr=velr * dt,
    )


def concatenate(readings: Readings) -> np.ndarray:
    """The observation vector ``(n, 10 + 15 k)``: upstream's order, then any further objects'."""
    r = readings
    relative = r.object_pos - r.grip_pos[:, None]
    velocity = r.object_velp - r.grip_velp[:, None]
    first, rest = slice(0, 1), slice(1, None)
    further = (r.object_pos, relative, r.object_rot, velocity, r.object_velr)
    parts = [
        r.grip_pos,
        r.object_pos[:, first],
        relative[:, first],
        r.fingers,
        r.object_rot[:, first],
        velocity[:, first],
        r.object_velr[:, first],
        r.grip_velp,
        r.finger_vel,
        np.concatenate([part[:, rest] for part in further], axis=2),
    ]
    return np.concatenate([part.reshape(len(r.grip_pos), -1) for part in parts], axis=1)


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
