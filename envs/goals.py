"""Goal spaces given by hand: what is achieved in each, and how a goal is drawn."""

from typing import Protocol

import numpy as np

from .scene import Scene
from .simulation import Readings, Simulations
from .tasks import Task

LIFT_PROBABILITY, MAX_LIFT = 0.5, 0.45
GRIPPER_RANGE = 0.15
MIN_START_DISTANCE = 0.1
"""Metres kept between the gripper and where an object starts."""


class GoalSpace(Protocol):
    """A goal space: ``dim`` numbers read from the simulation, and a distribution of goals."""

    dim: int

    def achieved(self, readings: Readings) -> np.ndarray:
        """The goal that each simulation has reached just now, ``(n, dim)``."""
        ...

    def sample(self, generators: list[np.random.Generator]) -> np.ndarray:
        """One goal from each generator, ``(len(generators), dim)``."""
        ...


def draw_object_start(task: Task, scene: Scene, generator: np.random.Generator) -> np.ndarray:
    """Where an object starts, ``(2,)`` metres: in a square around the gripper, not beneath it."""
    centre, start = scene.grip[:2], scene.grip[:2]
    while np.linalg.norm(start - centre) < MIN_START_DISTANCE:
        start = centre + generator.uniform(-task.object_range, task.object_range, size=2)
    return start


class ObjectGoal:
    """The centroid of the object, in metres."""

    dim = 3

    def __init__(self, simulations: Simulations):
        self._task, self._scene = simulations.task, simulations.scene

    def achieved(self, readings: Readings) -> np.ndarray:
        return readings.object_pos

    def sample(self, generators: list[np.random.Generator]) -> np.ndarray:
        return np.stack([self._draw(generator) for generator in generators])

    def _draw(self, generator: np.random.Generator) -> np.ndarray:
        reach = self._task.target_range
        goal = self._scene.grip + generator.uniform(-reach, reach, size=3)
        goal += self._task.target_offset
        goal[2] = self._scene.object_height
        if self._task.target_in_the_air and generator.uniform() < LIFT_PROBABILITY:
            goal[2] += generator.uniform(0, MAX_LIFT)
        return goal


class GripperGoal:
    """The position of the gripper, in metres; above the table where there is an object on it."""

    dim = 3

    def __init__(self, simulations: Simulations):
        self._scene, self._above = simulations.scene, simulations.task.has_object

    def achieved(self, readings: Readings) -> np.ndarray:
        return readings.grip_pos

    def sample(self, generators: list[np.random.Generator]) -> np.ndarray:
        size = GRIPPER_RANGE
        offsets = np.stack([generator.uniform(-size, size, size=3) for generator in generators])
        if self._above:
            offsets[:, 2] = np.abs(offsets[:, 2])
        return self._scene.grip + offsets


class JointGoal:
    """Angles of the 7 arm joints, radians, and their velocities, radians per env step, at rest.

    A goal is the posture in which the simulated arm holds its gripper at a gripper goal, so every
    goal can be reached. The distance adds angles and velocities as one vector of radians.
    """

    dim = 14
    _SETTLE_STEPS = 20

    def __init__(self, simulations: Simulations):
        self._task, self._threads = simulations.task, simulations.num_threads
        self._positions = GripperGoal(simulations)
        self._scratch: dict[int, Simulations] = {}

    def achieved(self, readings: Readings) -> np.ndarray:
        return np.concatenate([readings.arm, readings.arm_vel], axis=1)

    def sample(self, generators: list[np.random.Generator]) -> np.ndarray:
        targets = self._positions.sample(generators)
        if len(targets) not in self._scratch:
            self._scratch = {len(targets): Simulations(self._task, len(targets), self._threads)}
        scratch = self._scratch[len(targets)]
        scratch.drive_gripper(targets, self._SETTLE_STEPS)
        angles = scratch.readings.arm
        return np.concatenate([angles, np.zeros_like(angles)], axis=1)


GOAL_SPACES = {"object": ObjectGoal, "gripper": GripperGoal, "joints": JointGoal}
