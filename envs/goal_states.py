"""States in which given goals are reached, brought about by the simulator.

Everything is done by actions that a policy has too, through the same controller: a script leads the
gripper to where it should be. Only objects are put down by hand, before the script acts on them:

- a gripper goal: the gripper is led there;
- objects that belong on the table: they are put down at their goals, with the gripper out of the way,
  above and towards the robot, and come to rest;
- an object in the air: the gripper has grasped it on the table and carries it to its goal, and still
  holds it there.
"""

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .goals import GOAL_SPACES
from .simulation import MAX_DISPLACEMENT, Simulations
from .tasks import GoalName, ModelName, Task
from .vector import check_choice

PARKED = (-0.1, 0.0, 0.2)
"""Where the gripper waits, metres from above the start of the arm at the height of resting objects."""
IN_THE_AIR = 0.01
"""Metres above the resting height from which on an object has to be held."""
CARRY = 0.5
"""Greatest action while something is held, so that it does not slip."""
AT_REST = 1e-3
"""Metres per env step below which gripper and objects count as being at rest."""
PATIENCE = 80
"""Env steps after which a simulation is taken for settled."""
OPEN, SHUT = 1.0, -1.0


class Reached(NamedTuple):
    """What became of m goals.

    Attributes:
        poses: ``(m, nq)`` joint positions at the end.
        achieved: ``(m, g)`` goals that are really reached in them.
        at_rest: ``(m,)`` bool, whether the end is an end.
    """

    poses: np.ndarray
    achieved: np.ndarray
    at_rest: np.ndarray


class GoalStates:
    """Brings simulations into states in which goals are reached.

    Args:
        task: the task.
        goal: its goal space, ``"object"`` or ``"gripper"``; None takes the task's own.
        num_envs: how many goals are reached at once.
        num_threads: physics threads; 0 takes every core.

    Raises:
        ValueError: for goals of joints, of which velocities are part: no picture shows those.
    """

    def __init__(
        self, task: Task, goal: GoalName | None = None, num_envs: int = 64, num_threads: int = 0
    ):
        goal = goal or task.goal
        choices = [name for name in task.goal_names if name != "joints"]
        check_choice("goal for pictures", goal, choices)
        self.task, self.goal = task, goal
        model: ModelName = "light"
        self._simulations = Simulations(task, num_envs, num_threads, model=model)
        self._single = Simulations(task, 1, 1, model=model)
        self.space = GOAL_SPACES[goal](self._simulations)
        self._single.reset(np.arange(1))
        self._home = self._single.get_state()

    def reach(self, goals: np.ndarray) -> Reached:
        """End states for goals ``(m, g)``, where m is at most ``num_envs``."""
        count, all_of_them = len(goals), self._simulations.num_envs
        # Those that are not needed do the same as the last.
        goals = goals[np.minimum(np.arange(all_of_them), count - 1)]
        if self.goal == "gripper":
            self._start([self._home] * all_of_them)
            at_rest = lead(self._simulations, goals, np.zeros(all_of_them), 1.0)
        else:
            at_rest = self._bring_objects(goals.reshape(all_of_them, -1, 3))
        achieved = self.space.achieved(self._simulations.readings)
        return Reached(
            self._simulations.qpos[:count].copy(), achieved[:count].copy(), at_rest[:count]
        )

    def _bring_objects(self, goals: np.ndarray) -> np.ndarray:
        """Bring k objects to ``goals`` ``(n, k, 3)``; whether they are at rest then, ``(n,)`` bool."""
        rest = self._simulations.scene.object_height
        held = np.full(len(goals), False)
        if self.task.target_in_the_air:
            held = goals[:, 0, 2] > rest + IN_THE_AIR
        self._start([self._grasped if one else self._parked for one in held])
        self._simulations.place_objects(np.where(held[:, None, None], np.nan, goals))
        targets = np.tile(self._parking, (len(goals), 1))
        if held.any():
            targets[held] = goals[held, 0] - self._grip_to_object
        fingers = np.where(held, SHUT, 0.0)
        return lead(self._simulations, targets, fingers, np.where(held, CARRY, 1.0)[:, None])

    def _start(self, states: list[dict[str, np.ndarray]]) -> None:
        rows = {name: np.concatenate([state[name] for state in states]) for name in states[0]}
        self._simulations.set_state(rows)

    @property
    def _parking(self) -> np.ndarray:
        scene = self._simulations.scene
        return np.array([*scene.grip[:2], scene.object_height]) + PARKED

    @cached_property
    def _parked(self) -> dict[str, np.ndarray]:
        """The gripper out of the way."""
        self._single.reset(np.arange(1))
        lead(self._single, self._parking[None], np.zeros(1), 1.0)
        return self._single.get_state()

    @cached_property
    def _grasped(self) -> dict[str, np.ndarray]:
        """The object between the fingers, a little above the table."""
        single = self._single
        single.reset(np.arange(1))
        place = np.array([[*single.scene.grip[:2], single.scene.object_height]])
        above = place + np.array([0.0, 0.0, 0.15])
        single.place_objects(place[:, None])
        for target, fingers in ((above, OPEN), (place, OPEN), (place, SHUT), (above, SHUT)):
            lead(single, target, np.full(1, fingers), CARRY, at_least=15)
        return single.get_state()

    @property
    def _grip_to_object(self) -> np.ndarray:
        """From the gripper to the object that it holds, ``(3,)`` metres."""
        return (self._grasped["object_pos"][:, 0] - self._grasped["grip_pos"])[0]


def lead(
    simulations: Simulations,
    targets: np.ndarray,
    fingers: np.ndarray,
    speed: Any,
    at_least: int = 3,
) -> np.ndarray:
    """Lead every gripper to its place and wait until all is at rest.

    Args:
        simulations: n of them; they go on from where they are.
        targets: ``(n, 3)`` metres.
        fingers: finger commands, ``(n,)`` in [-1, 1].
        speed: greatest action, a number or ``(n, 1)``.
        at_least: env steps to take at least.

    Returns:
        ``(n,)`` bool: which are at rest within ``PATIENCE`` steps.
    """
    at_rest = np.zeros(len(targets), dtype=bool)
    for step in range(PATIENCE):
        way = (targets - simulations.readings.grip_pos) / MAX_DISPLACEMENT
        actions = np.concatenate([np.clip(way, -speed, speed), fingers[:, None]], axis=1)
        diverged = simulations.step(actions)
        readings = simulations.readings
        speeds = np.concatenate([readings.grip_velp[:, None], readings.object_velp], axis=1)
        at_rest = (np.linalg.norm(speeds, axis=2) < AT_REST).all(axis=1) & ~diverged
        if step >= at_least and at_rest.all():
            break
    return at_rest
