"""N Fetch simulations stepped at once on MuJoCo's native thread pool."""

import copy
from functools import cache

import mujoco
import numpy as np
from mujoco.batch import Batch

from .randomize import Randomization, Randomizer
from .readings import DERIVED, Readings, find_addresses, read
from .scene import GRIPPER_QUATERNION, load_scene, object_names
from .tasks import SUBSTEPS, ModelName, Task

MAX_DISPLACEMENT = 0.05
"""Metres the gripper's target moves for an action of 1."""
UPRIGHT = (1.0, 0.0, 0.0, 0.0)


@cache
def _kinematic_model(task: Task, model_name: ModelName) -> mujoco.MjModel:
    """The task's model without contacts and constraints: the same poses at a fraction of the cost."""
    model = copy.copy(load_scene(task, model_name).model)
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONSTRAINT) | int(
        mujoco.mjtDisableBit.mjDSBL_CONTACT
    )
    return model


class Simulations:
    """N simulations of one task.

    Args:
        task: the task.
        num_envs: how many simulations.
        num_threads: physics threads; 0 takes every core.
        randomization: what objects differ in from one simulation and episode to the next; None for none.
        model: which model steps them, ``"stock"`` or ``"light"``; trajectories are the same.
    """

    def __init__(
        self,
        task: Task,
        num_envs: int,
        num_threads: int = 0,
        randomization: Randomization | None = None,
        model: ModelName = "stock",
    ):
        self.task = task
        self.model_name: ModelName = model
        self.scene = load_scene(task, model)
        self.model = self.scene.model
        self.num_envs, self.num_threads = num_envs, num_threads
        self.dt = self.model.opt.timestep * SUBSTEPS
        self.at = find_addresses(task, self.model)
        self._batch = Batch(self.model, num_envs, num_threads)
        self._poses = Batch(_kinematic_model(task, model), num_envs, num_threads)
        for batch in (self._batch, self._poses):
            for name in DERIVED:
                if batch is self._poses or not task.block_gripper:
                    batch.bind(name)
        self.qpos, self.qvel = self._batch.bind("qpos"), self._batch.bind("qvel")
        self._ctrl = self._batch.bind("ctrl")
        self._mocap_pos = self._batch.bind("mocap_pos")
        self._mocap_quat = self._batch.bind("mocap_quat")
        self._randomizer = None
        if randomization:
            objects = object_names(task)
            self._randomizer = Randomizer(self._batch, self.model, objects, randomization)
        self.readings = self._settle()

    def reset(
        self,
        ids: np.ndarray,
        object_xy: np.ndarray | None = None,
        generators: list[np.random.Generator] | None = None,
    ) -> None:
        """Put m simulations into their home state.

        Args:
            ids: which, ``(m,)``.
            object_xy: where their k objects start, ``(m, k, 2)`` metres; None leaves them at home.
            generators: one for each, to draw randomised objects from.
        """
        grown = np.ones((len(ids), len(self.at.objects)))
        if self._randomizer and generators:
            grown = self._randomizer.draw(ids, generators)
        self._batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE)
        self._batch.bind("time")[ids] = self.scene.time
        self.qpos[ids] = self.scene.qpos
        self.qvel[ids] = self.scene.qvel
        for index, item in enumerate(self.at.objects):
            if object_xy is not None:
                self.qpos[ids, item.qpos : item.qpos + 2] = object_xy[:, index]
            self.qpos[ids, item.qpos + 2] += (grown[:, index] - 1.0) * item.half_height
        # Upstream's reset runs mj_forward, which leaves the state as it is: poses are all we need.
        self._merge(ids, self._settle(ids))

    def step(self, actions: np.ndarray) -> np.ndarray:
        """Advance every simulation by one env step of 20 substeps, ``actions`` ``(n, 4)`` in [-1, 1].

        Returns:
            ``(n,)`` bool: which simulations diverged, so that their readings mean nothing.
        """
        end = self._batch.bind("time") + self.dt
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
            self.readings = read(self._batch, self.at, slice(None), self.dt)
        # MuJoCo resets a simulation that diverges, and with it its clock.
        return np.abs(self._batch.bind("time") - end) > 0.5 * self.model.opt.timestep

    def drive_gripper(self, targets: np.ndarray, steps: int = 20) -> None:
        """Pull every gripper to ``targets`` ``(n, 3)`` by the mocap weld, from the home state."""
        self.reset(np.arange(self.num_envs))
        self._mocap_pos[:, self.at.mocap] = targets
        self._mocap_quat[:, self.at.mocap] = GRIPPER_QUATERNION
        self._batch.step(nstep=SUBSTEPS * steps)
        self.readings = self._settle()

    def place_objects(self, positions: np.ndarray) -> None:
        """Put the k objects at ``positions`` ``(n, k, 3)`` metres, upright and at rest.

        A position that is NaN leaves its object as it is.
        """
        for index, item in enumerate(self.at.objects):
            ids = np.flatnonzero(np.isfinite(positions[:, index]).all(axis=1))
            pose = np.concatenate([positions[ids, index], np.tile(UPRIGHT, (len(ids), 1))], axis=1)
            self.qpos[ids, item.qpos : item.qpos + 7] = pose
            self.qvel[np.ix_(ids, item.dofs)] = 0.0
        self.readings = self._settle()

    def get_state(self) -> dict[str, np.ndarray]:
        """All that the simulations go on from, copied: MuJoCo's state rows, and what was read last.

        With a free gripper the readings are one substep behind, so they cannot be had from the rows.
        """
        readings = {name: value.copy() for name, value in self.readings._asdict().items()}
        fields = self._randomizer.get_state() if self._randomizer else {}
        return {"physics": self._batch.state.copy(), **readings, **fields}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Restore what ``get_state`` gave.

        Raises:
            ValueError: if it is of other simulations.
        """
        expected = self.get_state()
        if extra := sorted(set(state) - set(expected)):
            raise ValueError(f"the saved state has {extra}, which this env has not")
        for name, value in expected.items():
            if name not in state or np.shape(state[name]) != value.shape:
                got = np.shape(state[name]) if name in state else "nothing"
                raise ValueError(f"the saved {name} has shape {got}, not {value.shape}")
        if self._randomizer:
            self._randomizer.set_state(state)
        self._batch.state[:] = state["physics"]
        self.readings = Readings(*(state[name].copy() for name in Readings._fields))

    @property
    def object_sizes(self) -> np.ndarray:
        """Sizes of the objects' geoms, ``(n, k, 3)``."""
        geoms = [self.model.geom(name).id for name in object_names(self.task)]
        sizes = self._randomizer.geom_size if self._randomizer else self.model.geom_size[None]
        return np.broadcast_to(sizes[:, geoms], (self.num_envs, len(geoms), 3))

    def _settle(self, ids: np.ndarray | None = None) -> Readings:
        """Readings of simulations ``ids``, or of all, with poses computed at their present state."""
        chosen = slice(None) if ids is None else ids
        self._poses.state[chosen] = self._batch.state[chosen]
        self._poses.forward(ids, stage=mujoco.mjtStage.mjSTAGE_POS)
        return read(self._poses, self.at, chosen, self.dt)

    def _merge(self, ids: np.ndarray, readings: Readings) -> None:
        for mine, new in zip(self.readings, readings, strict=True):
            mine[ids] = new
