"""The table of tasks: what each Fetch task starts from, asks for and counts as success.

Every number is that of gymnasium-robotics' ``Fetch*-v4`` (Plappert et al. 2018, "Multi-Goal
Reinforcement Learning: Challenging Robotics Environments and Request for Research").
"""

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np

GoalName = Literal["gripper", "object", "joints"]
RewardType = Literal["sparse", "dense"]

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
        goal: goal space used unless another is asked for.
        has_object: whether a movable object lies on the table.
        block_gripper: whether the fingers are held shut.
        gripper_extra_height: metres added to the gripper's start height.
        object_range: half-width in metres of the square of object starts around the gripper.
        target_range: half-width in metres of the square (cube, for the gripper) of goals.
        target_offset: metres added to the goal.
        target_in_the_air: whether half of the goals are lifted by up to 0.45 m.
        base_qpos: start of the three slides that carry the robot, in metres.
        object_qpos: start pose of the object before its position is drawn, metres and quaternion.
    """

    id: str
    scene: str
    goal: GoalName = "object"
    has_object: bool = True
    block_gripper: bool = True
    gripper_extra_height: float = 0.0
    object_range: float = 0.15
    target_range: float = 0.15
    target_offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    target_in_the_air: bool = False
    base_qpos: tuple[float, float, float] = (0.405, 0.48, 0.0)
    object_qpos: tuple[float, ...] = field(default=(1.25, 0.53, 0.4, 1.0, 0.0, 0.0, 0.0))

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
            has_object=False,
            gripper_extra_height=0.2,
            base_qpos=(0.4049, 0.48, 0.0),
        ),
        "fetch_push": Task("HerRobotics/FetchPush-v1", "push.xml"),
        "fetch_slide": Task(
            "HerRobotics/FetchSlide-v1",
            "slide.xml",
            gripper_extra_height=-0.02,
            object_range=0.1,
            target_range=0.3,
            target_offset=(0.4, 0.0, 0.0),
            base_qpos=(0.05, 0.48, 0.0),
            object_qpos=(1.7, 1.1, 0.41, 1.0, 0.0, 0.0, 0.0),
        ),
        "fetch_pick_and_place": Task(
            "HerRobotics/FetchPickAndPlace-v1",
            "pick_and_place.xml",
            block_gripper=False,
            gripper_extra_height=0.2,
            target_in_the_air=True,
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


def goal_distance(achieved_goal: np.ndarray, desired_goal: np.ndarray) -> np.ndarray:
    """Euclidean distance between goals, ``(..., g), (..., g) -> (...)``."""
    difference = achieved_goal - desired_goal
    return np.sqrt(np.einsum("...i,...i->...", difference, difference))


def goal_reward(
    achieved_goal: np.ndarray, desired_goal: np.ndarray, threshold: float, reward_type: RewardType
) -> np.ndarray:
    """Reward of having achieved one goal when another was desired, ``(..., g) -> (...)``.

    Sparse is 0 within ``threshold`` and -1 beyond; dense is minus the distance.
    """
    distance = goal_distance(achieved_goal, desired_goal)
    if reward_type == "dense":
        return -distance
    return -(distance > threshold).astype(np.float32)
