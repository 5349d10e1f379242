"""The MuJoCo model of a task: gymnasium-robotics' Fetch MJCF plus our overlays, and its home state."""

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mujoco
import numpy as np

from .light import lighten
from .shipped import asset
from .tasks import SUBSTEPS, ModelName, Task

GRIP_SITE = "robot0:grip"
GRIP_BODY = "robot0:gripper_link"
MOCAP_BODY = "robot0:mocap"
TABLE_BODY = "table0"
OBJECT = "object0"
CAMERAS, PREFIX = "cameras.xml", "her:"
"""The overlay that every scene gets, and what names from overlays begin with."""
FINGERS = ("robot0:r_gripper_finger_joint", "robot0:l_gripper_finger_joint")
ARM_JOINTS = tuple(
    f"robot0:{name}_joint"
    for name in (
        "shoulder_pan",
        "shoulder_lift",
        "upperarm_roll",
        "elbow_flex",
        "forearm_roll",
        "wrist_flex",
        "wrist_roll",
    )
)
GRIPPER_QUATERNION = (1.0, 0.0, 1.0, 0.0)
"""The one orientation the gripper is driven to (w, x, y, z, not normalised, as upstream)."""
OBJECT_SPACING = 0.12
"""Metres along y between one object and the next in the home state."""


@dataclass(frozen=True)
class Scene:
    """A compiled task and the state every episode starts from.

    Attributes:
        model: the compiled model; shared, so never written to.
        time: simulation time of the home state, in seconds.
        qpos: ``(nq,)`` home joint positions.
        qvel: ``(nv,)`` home joint velocities.
        grip: ``(3,)`` gripper position at home, in metres; goals and objects are drawn around it.
        object_height: height of a resting object's centre in metres, or ``nan`` without one.
    """

    model: mujoco.MjModel
    time: float
    qpos: np.ndarray
    qvel: np.ndarray
    grip: np.ndarray
    object_height: float


def fetch_assets() -> Path:
    """Folder of the installed gymnasium-robotics' Fetch MJCF files.

    Found without importing the package, whose import is slow and prints warnings.

    Raises:
        FileNotFoundError: if gymnasium-robotics is not installed.
    """
    spec = importlib.util.find_spec("gymnasium_robotics")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "gymnasium-robotics, which holds the Fetch robot's MJCF, is not installed: "
            "pip install gymnasium-robotics"
        )
    return Path(spec.origin).parent / "envs" / "assets" / "fetch"


def build_spec(task: Task) -> mujoco.MjSpec:
    """The task's scene as an editable spec: upstream's MJCF, the task's overlays and our cameras.

    Without overlays of its own a task gets nothing that physics can feel, so trajectories stay
    upstream's.
    """
    spec = mujoco.MjSpec.from_file(str(fetch_assets() / task.scene))
    for name in (CAMERAS, *task.overlays):
        overlay = mujoco.MjSpec.from_file(str(asset(name)))
        spec.attach(overlay, prefix=PREFIX, frame=spec.worldbody.add_frame())
    return spec


def object_names(task: Task) -> list[str]:
    """Names that the task's objects carry as bodies, geoms and sites; their joints add ``:joint``."""
    return ["object0", *(f"{PREFIX}object{index}" for index in range(1, task.objects))][
        : task.objects
    ]


def picture_camera(task: Task) -> str:
    """Name of the camera that the task's pictures are taken with, unless another is asked for."""
    return PREFIX + task.camera


def target_names(model: mujoco.MjModel) -> list[str]:
    """Names of the sites that mark goals, in the order of the objects."""
    names = [model.site(index).name for index in range(model.nsite)]
    return [name for name in names if name.removeprefix(PREFIX).startswith("target")]


def known_objects(model: mujoco.MjModel) -> list[str]:
    """Names of the objects in a compiled model, as ``object_names`` has them."""
    names = [model.body(index).name for index in range(model.nbody)]
    return [name for name in names if name.removeprefix(PREFIX).startswith("object")]


def load_scene(task: Task, model_name: ModelName = "stock") -> Scene:
    """The task's scene, compiled once and shared; ``model_name`` chooses between its two models."""
    return _load_scene(task, model_name)


@cache
def _load_scene(task: Task, model_name: ModelName) -> Scene:
    """Compile the task's model and drive the arm to its start pose, as upstream does.

    The mocap body the gripper is welded to is placed at the start pose and the simulation runs for
    0.4 s; the state it ends in is the home state. It is the same for both models.
    """
    spec = build_spec(task)
    if model_name == "light":
        lighten(spec)
    model = spec.compile()
    data = mujoco.MjData(model)
    for index, value in enumerate(task.base_qpos):
        data.joint(f"robot0:slide{index}").qpos[0] = value
    for index, name in enumerate(object_names(task)):
        start = data.joint(f"{name}:joint").qpos
        start[:] = task.object_qpos
        start[1] += index * OBJECT_SPACING
    for index in range(model.neq):
        if model.eq_type[index] == mujoco.mjtEq.mjEQ_WELD:
            model.eq_data[index, :7] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    mujoco.mj_forward(model, data)
    mocap = model.body(MOCAP_BODY).mocapid[0]
    lift = np.array([-0.498, 0.005, -0.431 + task.gripper_extra_height])
    data.mocap_pos[mocap] = data.site(GRIP_SITE).xpos + lift
    data.mocap_quat[mocap] = GRIPPER_QUATERNION
    mujoco.mj_step(model, data, nstep=10 * SUBSTEPS)
    return Scene(
        model=model,
        time=data.time,
        qpos=data.qpos.copy(),
        qvel=data.qvel.copy(),
        grip=data.site(GRIP_SITE).xpos.copy(),
        object_height=float(data.site(OBJECT).xpos[2]) if task.has_object else float("nan"),
    )
