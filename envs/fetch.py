"""The Fetch tasks as one vector env that steps every simulation natively."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from .camera import Camera
from .goals import GOAL_SPACES, GoalSpace, draw_object_start
from .simulation import Readings, Simulations
from .tasks import (
    HORIZON,
    THRESHOLDS,
    GoalName,
    RewardType,
    find_task,
    goal_distance,
    goal_reward,
)

ObsDict = dict[str, np.ndarray]


class FetchVectorEnv(VectorEnv[ObsDict, np.ndarray, np.ndarray]):
    """``num_envs`` Fetch simulations behind Gymnasium's vector API.

    Episodes last ``max_episode_steps`` and never end early. Nothing resets by itself: call ``reset``,
    for some simulations only with ``options={"reset_mask": mask}``. Simulation ``i`` draws its
    episodes from a generator of its own, seeded ``seed + i``, so they do not depend on ``num_envs``.

    Observations are dicts of float64 arrays: ``observation`` ``(n, 25)`` (``(n, 10)`` for reach),
    ``achieved_goal`` and ``desired_goal`` ``(n, g)``. Actions are ``(n, 4)`` in [-1, 1]: gripper
    displacement over 5 cm, and finger command.

    Args:
        task: a name in ``envs.TASKS``.
        num_envs: how many simulations.
        reward_type: ``"sparse"`` (0 within the threshold, else -1) or ``"dense"`` (minus the distance).
        goal: goal space, ``"object"``, ``"gripper"`` or ``"joints"``; None takes the task's own.
        distance_threshold: what counts as reached, in the goal's unit; None takes the goal space's own.
        max_episode_steps: horizon.
        num_threads: physics threads; 0 takes every core.
        render_mode: None or ``"rgb_array"``.
        width: frame width in pixels.
        height: frame height in pixels.

    Raises:
        ValueError: if a name is unknown or a number out of range; the message says what is allowed.
    """

    metadata = {
        "render_modes": ["rgb_array"],
        "render_fps": 25,
        "autoreset_mode": AutoresetMode.DISABLED,
    }

    def __init__(
        self,
        task: str,
        num_envs: int = 1,
        reward_type: RewardType = "sparse",
        goal: GoalName | None = None,
        distance_threshold: float | None = None,
        max_episode_steps: int = HORIZON,
        num_threads: int = 0,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 480,
    ):
        self.task = find_task(task)
        goal = goal or self.task.goal
        _check_choice("goal", goal, self.task.goal_names)
        _check_choice("reward_type", reward_type, ("sparse", "dense"))
        _check_choice("render_mode", render_mode, (None, "rgb_array"))
        if distance_threshold is None:
            distance_threshold = THRESHOLDS[goal]
        _check_least("num_envs", num_envs, 1)
        _check_least("max_episode_steps", max_episode_steps, 1)
        _check_least("num_threads", num_threads, 0)
        _check_least("distance_threshold", distance_threshold, 0)
        _check_least("width", width, 1)
        _check_least("height", height, 1)
        self.num_envs = num_envs
        self.reward_type: RewardType = reward_type
        self.goal_name: GoalName = goal
        self.distance_threshold = distance_threshold
        self.max_episode_steps = max_episode_steps
        self.gripper = slice(0, 3) if goal == "object" else None
        """Where the gripper's position stands in the observation, if it has an object to move."""
        self.render_mode = render_mode
        self._camera: Camera | None = None
        self._frame_size = (width, height)
        self._simulations = Simulations(self.task, num_envs, num_threads)
        self._goal_space: GoalSpace = GOAL_SPACES[goal](self._simulations)
        self._goals = np.zeros((num_envs, self._goal_space.dim))
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._generators: list[np.random.Generator] = []
        self._set_spaces()

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[ObsDict, dict[str, Any]]:
        """Start new episodes, in every simulation or in those of ``options["reset_mask"]``.

        Args:
            seed: seeds simulation ``i`` with ``seed + i``, or with ``seed[i]`` where that is not None.
            options: ``{"reset_mask": (n,) bool array}`` or None.
        """
        ids = np.flatnonzero(self._reset_mask(options or {}))
        self._seed(seed, ids)
        generators = [self._generators[i] for i in ids]
        starts = None
        if self.task.has_object:
            scene = self._simulations.scene
            starts = np.stack([draw_object_start(self.task, scene, g) for g in generators])
        self._simulations.reset(ids, starts)
        self._goals[ids] = self._goal_space.sample(generators)
        self._steps[ids] = 0
        return self._observation(), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[ObsDict, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take one step of 0.04 s in every simulation; ``info["is_success"]`` is ``(n,)`` bool.

        A simulation that diverges shows NaN in its ``observation``.
        """
        if not self._generators:
            raise gym.error.ResetNeeded("call reset before the first step")
        actions = np.asarray(actions)
        if actions.shape != self.action_space.shape:
            raise ValueError(f"actions have shape {actions.shape}, not {self.action_space.shape}")
        if not np.isfinite(actions).all():
            env = int(np.flatnonzero(~np.isfinite(actions).all(axis=1))[0])
            raise ValueError(f"the action for env {env} at step {self._steps[env]} is not finite")
        diverged = self._simulations.step(np.clip(actions, -1.0, 1.0))
        self._steps += 1
        observation = self._observation()
        # MuJoCo has reset these on its own: what they show is no consequence of the action.
        observation["observation"][diverged] = np.nan
        achieved, desired = observation["achieved_goal"], observation["desired_goal"]
        info = {
            "is_success": goal_distance(achieved, desired) < self.distance_threshold,
            "_is_success": np.ones(self.num_envs, dtype=bool),
        }
        reward = self.compute_reward(achieved, desired, info)
        truncated = self._steps >= self.max_episode_steps
        return observation, reward, np.zeros(self.num_envs, dtype=bool), truncated, info

    def compute_reward(
        self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any
    ) -> np.ndarray:
        """Reward of any goals, ``(..., g), (..., g) -> (...)``; ``info`` is not used."""
        return goal_reward(achieved_goal, desired_goal, self.distance_threshold, self.reward_type)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """A ``(height, width, 3)`` uint8 frame of each simulation, goal shown; physics is untouched."""
        if self.render_mode is None:
            return None
        if self._camera is None:
            self._camera = Camera(self._simulations.model, *self._frame_size)
        targets = self._goals if self._goal_space.dim == 3 else [None] * self.num_envs
        return tuple(
            self._camera.render(qpos, target)
            for qpos, target in zip(self._simulations.qpos, targets, strict=True)
        )

    def close_extras(self, **kwargs: Any) -> None:
        """Free the renderer."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def _reset_mask(self, options: dict[str, Any]) -> np.ndarray:
        """Which simulations to reset, ``(n,)`` bool."""
        unknown = [name for name in options if name != "reset_mask"]
        if unknown:
            raise ValueError(f"unknown reset options {unknown}: choose reset_mask")
        mask = np.asarray(options.get("reset_mask", np.ones(self.num_envs, dtype=bool)))
        if mask.shape != (self.num_envs,) or mask.dtype != bool or not mask.any():
            raise ValueError(
                f"reset_mask must be a boolean array of shape ({self.num_envs},) with a True in "
                f"it, not {mask!r}"
            )
        if not self._generators and not mask.all():
            raise gym.error.ResetNeeded("the first reset must be of all simulations")
        return mask

    def _seed(self, seed: int | Sequence[int | None] | None, ids: np.ndarray) -> None:
        """Seed the generators of simulations ``ids``, or leave them as they are."""
        if seed is None:
            seeds: Sequence[int | None] = [None] * self.num_envs
        elif isinstance(seed, (int, np.integer)):
            seeds = [int(seed) + index for index in range(self.num_envs)]
        else:
            seeds = [None if value is None else int(value) for value in seed]
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds were given for {self.num_envs} envs")
        if not self._generators:
            self._generators = [seeding.np_random(value)[0] for value in seeds]
            return
        for index in ids:
            if seeds[index] is not None:
                self._generators[index] = seeding.np_random(seeds[index])[0]

    def _observation(self) -> ObsDict:
        readings = self._simulations.readings
        return {
            "observation": _concatenate(readings),
            "achieved_goal": self._goal_space.achieved(readings).copy(),
            "desired_goal": self._goals.copy(),
        }

    def _set_spaces(self) -> None:
        def box(size: int) -> gym.spaces.Box:
            return gym.spaces.Box(-np.inf, np.inf, (size,), np.float64)

        size = _concatenate(self._simulations.readings).shape[1]
        goal = self._goal_space.dim
        self.single_observation_space = gym.spaces.Dict(
            {"observation": box(size), "achieved_goal": box(goal), "desired_goal": box(goal)}
        )
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)


def _concatenate(readings: Readings) -> np.ndarray:
    """The observation vector in upstream's order, ``(n, 25)``, or ``(n, 10)`` without an object."""
    has_object = readings.object_pos.shape[1] > 0
    r = readings
    return np.concatenate(
        [
            r.grip_pos,
            r.object_pos,
            r.object_pos - r.grip_pos if has_object else r.object_pos,
            r.fingers,
            r.object_rot,
            r.object_velp - r.grip_velp if has_object else r.object_velp,
            r.object_velr,
            r.grip_velp,
            r.finger_vel,
        ],
        axis=1,
    )


def _check_least(name: str, value: float, least: int) -> None:
    if not value >= least:  # NaN is refused too
        raise ValueError(f"{name} must be at least {least}, not {value}")


def _check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    if value not in choices:
        allowed = ", ".join(str(choice) for choice in choices)
        raise ValueError(f"unknown {name} {value!r}: choose one of {allowed}")
