"""Goal spaces given by hand: what is achieved in each, and how a goal is drawn."""

from typing import Protocol

import numpy as np

from .scene import Scene
from .simulation import Readings, Simulations
from .tasks import Task, point_distances, whole_distance

LIFT_PROBABILITY, MAX_LIFT = 0.5, 0.45
GRIPPER_RANGE = 0.15
MIN_START_DISTANCE = 0.1
"""Metres kept between the gripper and where an object starts."""
MIN_OBJECT_DISTANCE = 0.08
"""Metres kept between the centres of two objects, at their starts and at their goals."""


class GoalSpace(Protocol):
    """A goal space: ``dim`` numbers in ``parts`` read from the simulation, and a distribution of goals."""

    dim: int
    parts: int

    def achieved(self, readings: Readings) -> np.ndarray:
        """The goal that each simulation has reached just now, ``(n, dim)``."""
        ...

    def distances(self, achieved_goal: np.ndarray, desired_goal: np.ndarray) -> np.ndarray:
        """How far each part of a goal is from its own, ``(..., dim), (..., dim) -> (..., parts)``."""
        ...

    def sample(self, generators: list[np.random.Generator]) -> np.ndarray:
        """One goal from each generator, ``(len(generators), dim)``."""
        ...

    def markers(self, goal: np.ndarray) -> np.ndarray:
        """Where to show a goal ``(dim,)`` in the scene, ``(markers, 3)`` metres."""
        ...


def draw_object_starts(task: Task, scene: Scene, generator: np.random.Generator) -> np.ndarray:
    """Where the k objects start, ``(k, 2)`` metres: not beneath the gripper, nor in each other."""
    grip = scene.grip[:2]
    centre, reach = grip + task.object_offset, np.array(task.object_range)
    starts: list[np.ndarray] = []
    while len(starts) < task.objects:
        start = centre + generator.uniform(-reach, reach)
        if np.linalg.norm(start - grip) >= MIN_START_DISTANCE and _apart(start, starts):
            starts.append(start)
    return np.array(starts).reshape(-1, 2)


def _apart(position: np.ndarray, others: list[np.ndarray]) -> bool:
    return all(np.linalg.norm((position - other)[:2]) >= MIN_OBJECT_DISTANCE for other in others)


class ObjectGoal:
    """The centroids of the objects, in metres; a goal has as many parts as there are objects."""

    distances = staticmethod(point_distances)

    def __init__(self, simulations: Simulations):
        self._task, self._scene = simulations.task, simulations.scene
        self.parts = self._task.objects
        self.dim = 3 * self.parts

    def achieved(self, readings: Readings) -> np.ndarray:
        return readings.object_pos.reshape(-1, self.dim)

    def sample(self, generators: list[np.random.Generator]) -> np.ndarray:
        return np.stack([self._draw(generator) for generator in generators])

    def markers(self, goal: np.ndarray) -> np.ndarray:
        return goal.reshape(-1, 3)

    def _draw(self, generator: np.random.Generator) -> np.ndarray:
        goals: list[np.ndarray] = []
        while len(goals) < self._task.objects:
            goal = self._draw_one(generator)
            if _apart(goal, goals):
                goals.append(goal)
        return np.concatenate(goals)

    def _draw_one(self, generator: np.random.Generator) -> np.ndarray:
        # Upstream draws a height too and then sets it; so do we, to draw the same goals from a seed.
        reach = np.array([*self._task.target_range, 0.0])
        goal = self._scene.grip + generator.uniform(-reach, reach)
        goal += self._task.target_offset
        goal[2] = self._scene.object_height + self._task.target_offset[2]
        if self._task.target_in_the_air and generator.uniform() < LIFT_PROBABILITY:
            goal[2] += generator.uniform(0, MAX_LIFT)
        return goal


class GripperGoal:
    """The position of the gripper, in metres; above the table where there is an object on it."""

    dim, parts = 3, 1
    distances = staticmethod(point_distances)

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

    def markers(self, goal: np.ndarray) -> np.ndarray:
        return goal[None]


class JointGoal:
    """Angles of the 7 arm joints, radians, and their velocities, radians per env step, at rest.

    A goal is the posture in which the simulated arm holds its gripper at a gripper goal, so every
    goal can be reached. The distance adds angles and velocities as one vector of radians.
    """

    dim, parts = 14, 1
    distances = staticmethod(whole_distance)
    _SETTLE_STEPS = 20

    def __init__(self, simulations: Simulations):
        self._task, self._threads = simulations.task, simulations.num_threads
        self._model = simulations.model_name
        self._positions = GripperGoal(simulations)
        self._scratch: dict[int, Simulations] = {}

    def achieved(self, readings: Readings) -> np.ndarray:
        return np.concatenate([readings.arm, readings.arm_vel], axis=1)

    def sample(self, generators: list[np.random.Generator]) -> np.ndarray:
        targets = self._positions.sample(generators)
        if len(targets) not in self._scratch:
            scratch = Simulations(self._task, len(targets), self._threads, model=self._model)
            self._scratch = {len(targets): scratch}
        scratch = self._scratch[len(targets)]
        scratch.drive_gripper(targets, self._SETTLE_STEPS)
        angles = scratch.readings.arm
        return np.concatenate([angles, np.zeros_like(angles)], axis=1)

    def markers(self, goal: np.ndarray) -> np.ndarray:
        return np.zeros((0, 3))


GOAL_SPACES = {"object": ObjectGoal, "gripper": GripperGoal, "joints": JointGoal}
