"""The table of tasks: what each Fetch task starts from, asks for and counts as success.

The first four are gymnasium-robotics' ``Fetch*-v4``, number for number (Plappert et al. 2018,
"Multi-Goal Reinforcement Learning: Challenging Robotics Environments and Request for Research"). The
others are ours.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

GoalName = Literal["gripper", "object", "joints"]
RewardType = Literal["sparse", "dense"]
ModelName = Literal["stock", "light"]
"""Upstream's model, or the same without work whose results are never used (see ``light.py``)."""

HORIZON = 50
"""Steps in an episode. Episodes never end early."""
SUBSTEPS = 20
"""Physics steps of 2 ms in one env step (25 Hz control)."""


@dataclass(frozen=True)
class Task:
    """One manipulation task.

    Attributes:
        id: Gymnasium id.
        scene: MJCF file in gymnasium-robotics' ``envs/assets/fetch``.
        overlays: MJCF files in ``assets/`` whose bodies are added to it.
        goal: goal space used unless another is asked for.
        objects: how many movable objects lie on the table: ``object0``, ``object1``, ...
        block_gripper: whether the fingers are held shut.
        gripper_extra_height: metres added to the gripper's start height.
        object_range: half-widths in metres, along x and y, of the rectangle of object starts.
        object_offset: its centre from the gripper at home, metres along x and y.
        target_range: half-widths in metres of the rectangle of object goals.
        target_offset: its centre from the gripper at home, metres; z is added to the resting height.
        target_in_the_air: whether half of the goals are lifted by up to 0.45 m.
        base_qpos: start of the three slides that carry the robot, in metres.
        object_qpos: pose of the first object before its position is drawn, metres and quaternion.
        camera: camera in ``assets/cameras.xml`` that has all of the task's goals in a square picture.
    """

    id: str
    scene: str
    overlays: tuple[str, ...] = ()
    goal: GoalName = "object"
    objects: int = 1
    block_gripper: bool = True
    gripper_extra_height: float = 0.0
    object_range: tuple[float, float] = (0.15, 0.15)
    object_offset: tuple[float, float] = (0.0, 0.0)
    target_range: tuple[float, float] = (0.15, 0.15)
    target_offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    target_in_the_air: bool = False
    base_qpos: tuple[float, float, float] = (0.405, 0.48, 0.0)
    object_qpos: tuple[float, ...] = (1.25, 0.53, 0.4, 1.0, 0.0, 0.0, 0.0)
    camera: str = "table"

    @property
    def has_object(self) -> bool:
        """Whether there is anything on the table to move."""
        return self.objects > 0

    @property
    def goal_names(self) -> tuple[GoalName, ...]:
        """The goal spaces this task offers, its own first."""
        names: list[GoalName] = [self.goal, "gripper", "joints"]
        return tuple(dict.fromkeys(names))


TASKS = MappingProxyType(
    {
        "fetch_reach": Task(
            "HerRobotics/FetchReach-v1",
            "reach.xml",
            goal="gripper",
            objects=0,
            gripper_extra_height=0.2,
            base_qpos=(0.4049, 0.48, 0.0),
            camera="air",
        ),
        "fetch_push": Task("HerRobotics/FetchPush-v1", "push.xml"),
        "fetch_slide": Task(
            "HerRobotics/FetchSlide-v1",
            "slide.xml",
            gripper_extra_height=-0.02,
            object_range=(0.1, 0.1),
            target_range=(0.3, 0.3),
            target_offset=(0.4, 0.0, 0.0),
            base_qpos=(0.05, 0.48, 0.0),
            object_qpos=(1.7, 1.1, 0.41, 1.0, 0.0, 0.0, 0.0),
            camera="long_table",
        ),
        "fetch_pick_and_place": Task(
            "HerRobotics/FetchPickAndPlace-v1",
            "pick_and_place.xml",
            block_gripper=False,
            gripper_extra_height=0.2,
            target_in_the_air=True,
            camera="air",
        ),
        "fetch_push_two": Task(
            "HerRobotics/FetchPushTwo-v1",
            "push.xml",
            overlays=("second_block.xml",),
            objects=2,
        ),
        "fetch_push_around": Task(
            "HerRobotics/FetchPushAround-v1",
            "push.xml",
            overlays=("wall.xml",),
            gripper_extra_height=0.2,
            object_range=(0.06, 0.15),
            object_offset=(-0.09, 0.0),
            target_range=(0.04, 0.15),
            target_offset=(0.13, 0.0, 0.0),
        ),
    }
)

THRESHOLDS = MappingProxyType({"gripper": 0.05, "object": 0.05, "joints": 0.2})
"""Greatest distance that counts as reached: metres, and for ``joints`` radians (see ``goals.py``)."""


def find_task(name: str) -> Task:
    """The task called ``name``.

    Raises:
        ValueError: if there is no such task; the message lists those there are.
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}: choose one of {', '.join(TASKS)}")
    return TASKS[name]


def whole_distance(achieved_goal: np.ndarray, desired_goal: np.ndarray) -> np.ndarray:
    """Euclidean distance between goals of one part, ``(..., g), (..., g) -> (..., 1)``."""
    return _norm(achieved_goal - desired_goal)[..., None]


def point_distances(achieved_goal: np.ndarray, desired_goal: np.ndarray) -> np.ndarray:
    """Distance of each point from its goal, ``(..., 3 k), (..., 3 k) -> (..., k)`` metres."""
    difference = achieved_goal - desired_goal
    return _norm(difference.reshape(*difference.shape[:-1], -1, 3))


def goal_reward(distances: np.ndarray, threshold: float, reward_type: RewardType) -> np.ndarray:
    """Reward of having the k parts of a goal at ``distances`` from it, ``(..., k) -> (...)``.

    Sparse is minus the share of parts beyond ``threshold``: 0 or -1 where there is one. Dense is minus
    the mean distance.
    """
    if reward_type == "dense":
        return -distances.mean(axis=-1)
    return -(distances > threshold).mean(axis=-1, dtype=np.float32)


def _norm(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
