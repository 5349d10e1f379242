"""The Fetch tasks as one vector env that steps every simulation natively."""

import copy
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from .goals import GOAL_SPACES, GoalSpace, draw_object_starts
from .randomize import read_randomization
from .readings import concatenate
from .simulation import Simulations
from .tasks import (
    HORIZON,
    THRESHOLDS,
    GoalName,
    ModelName,
    RewardType,
    find_task,
    goal_reward,
)
from .vector import (
    ObsDict,
    Seeds,
    check_actions,
    check_choice,
    check_least,
    read_reset_mask,
    seed_generators,
)
from .views import Views


class FetchVectorEnv(VectorEnv[ObsDict, np.ndarray, np.ndarray]):
    """``num_envs`` Fetch simulations behind Gymnasium's vector API.

    Episodes last ``max_episode_steps`` and never end early. Nothing resets by itself: call ``reset``,
    for some simulations only with ``options={"reset_mask": mask}``. Simulation ``i`` draws its
    episodes from a generator of its own, seeded ``seed + i``, so they do not depend on ``num_envs``.

    Observations are dicts of float64 arrays: ``observation`` ``(n, 10 + 15 k)`` with k objects,
    ``achieved_goal`` and ``desired_goal`` ``(n, g)``. Actions are ``(n, 4)`` in [-1, 1]: gripper
    displacement over 5 cm, and finger command.

    Args:
        task: a name in ``envs.TASKS``.
        num_envs: how many simulations.
        reward_type: ``"sparse"`` (0 within the threshold, else -1) or ``"dense"`` (minus the distance); of
            several objects the mean, while success is asked of all.
        goal: goal space, ``"object"``, ``"gripper"`` or ``"joints"``; None takes the task's own.
        distance_threshold: what counts as reached, in the goal's unit; None takes the goal space's own.
        max_episode_steps: horizon.
        randomize: half-widths of the ranges of ``mass``, ``friction`` and ``size`` factors, drawn anew in
            every simulation at each reset (see ``envs.randomize``); None leaves all as upstream has it.
        model: ``"stock"`` for upstream's model, ``"light"`` for one that steps faster along the same
            trajectories (see ``envs.light``).
        num_threads: physics threads; 0 takes every core.
        render_mode: None or ``"rgb_array"``.
        width: frame width in pixels.
        height: frame height in pixels.
        show_goal: whether frames show the goal. Learning from images must not see it.
        picture_workers: processes that draw ``pictures``; 0 draws them in this one.

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
        randomize: Mapping[str, float] | None = None,
        model: ModelName = "light",
        num_threads: int = 0,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 480,
        show_goal: bool = True,
        picture_workers: int = 0,
    ):
        self.task = find_task(task)
        goal = goal or self.task.goal
        check_choice("goal", goal, self.task.goal_names)
        check_choice("reward_type", reward_type, ("sparse", "dense"))
        check_choice("model", model, ("stock", "light"))
        check_choice("render_mode", render_mode, (None, "rgb_array"))
        if distance_threshold is None:
            distance_threshold = THRESHOLDS[goal]
        check_least(
            num_envs=(num_envs, 1),
            max_episode_steps=(max_episode_steps, 1),
            num_threads=(num_threads, 0),
            distance_threshold=(distance_threshold, 0),
            width=(width, 1),
            height=(height, 1),
            picture_workers=(picture_workers, 0),
        )
        self.num_envs = num_envs
        self.reward_type: RewardType = reward_type
        self.goal_name: GoalName = goal
        self.distance_threshold = distance_threshold
        self.max_episode_steps = max_episode_steps
        self.gripper = slice(0, 3) if goal == "object" else None
        """Where the gripper's position stands in the observation, if it has an object to move."""
        self.reward_range = (-1.0, 0.0) if reward_type == "sparse" else (-np.inf, 0.0)
        """Least and greatest reward of a step."""
        self.render_mode = render_mode
        self._show_goal = show_goal
        randomization = read_randomization(randomize or {}, self.task.has_object)
        self._simulations = Simulations(self.task, num_envs, num_threads, randomization, model)
        self._views = Views(self._simulations, width, height, picture_workers)
        self._goal_space: GoalSpace = GOAL_SPACES[goal](self._simulations)
        self.goal_parts = self._goal_space.parts
        """Parts of a goal that are judged each on its own: the objects."""
        self.distance_rule = (self.goal_parts, self.distance_threshold, reward_type == "dense")
        """What the reward is made of: parts of equal width, the distance that each may have, whether it is
        the distance itself that counts."""
        self._goals = np.zeros((num_envs, self._goal_space.dim))
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._generators: list[np.random.Generator] = []
        self._kind = (self.task.id, goal, num_envs, model)
        self._set_spaces()

    def reset(
        self,
        *,
        seed: Seeds = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[ObsDict, dict[str, Any]]:
        """Start new episodes, in every simulation or in those of ``options["reset_mask"]``.

        Args:
            seed: seeds simulation ``i`` with ``seed + i``, or with ``seed[i]`` where that is not None.
            options: ``{"reset_mask": (n,) bool array}`` or None.
        """
        mask = read_reset_mask(options, self.num_envs, started=bool(self._generators))
        ids = np.flatnonzero(mask)
        self._generators = seed_generators(self._generators, seed, self.num_envs, ids)
        generators = [self._generators[i] for i in ids]
        scene = self._simulations.scene
        starts = [draw_object_starts(self.task, scene, generator) for generator in generators]
        goals = self._goal_space.sample(generators)
        self._simulations.reset(ids, np.stack(starts), generators)
        self._goals[ids], self._steps[ids] = goals, 0
        return self._observation(), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[ObsDict, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take one step of 0.04 s in every simulation; ``info["is_success"]`` is ``(n,)`` bool.

        A simulation that diverges shows NaN in its ``observation``; ``info["physics_before"]`` then holds
        the state rows of all before the step, ``(n, s)``. A ``reset`` makes it sound again.
        """
        if not self._generators:
            raise gym.error.ResetNeeded("call reset before the first step")
        actions = check_actions(actions, (self.num_envs, 4), self._steps)
        diverged = self._simulations.step(np.clip(actions, -1.0, 1.0))
        self._steps += 1
        observation = self._observation()
        # MuJoCo has reset these on its own: what they show is no consequence of the action.
        observation["observation"][diverged] = np.nan
        achieved, desired = observation["achieved_goal"], observation["desired_goal"]
        info = {
            "is_success": self.reached(achieved, desired),
            "_is_success": np.ones(self.num_envs, dtype=bool),
        }
        if diverged.any():
            info["physics_before"] = self._simulations.before
        reward = self.compute_reward(achieved, desired, info)
        truncated = self._steps >= self.max_episode_steps
        return observation, reward, np.zeros(self.num_envs, dtype=bool), truncated, info

    def compute_reward(
        self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any
    ) -> np.ndarray:
        """Reward of any goals, ``(..., g), (..., g) -> (...)``; ``info`` is not used."""
        distances = self._goal_space.distances(achieved_goal, desired_goal)
        return goal_reward(distances, self.distance_threshold, self.reward_type)

    def reached(self, achieved_goal: np.ndarray, desired_goal: np.ndarray) -> np.ndarray:
        """Whether goals count as reached, ``(..., g), (..., g) -> (...)`` bool."""
        distances = self._goal_space.distances(achieved_goal, desired_goal)
        return np.all(distances < self.distance_threshold, axis=-1)

    @property
    def goals(self) -> np.ndarray:
        """The desired goals, ``(n, g)``; set them to give goals by hand until the next reset."""
        return self._goals.copy()

    @goals.setter
    def goals(self, goals: np.ndarray) -> None:
        goals = np.asarray(goals, dtype=np.float64)
        if goals.shape != self._goals.shape or not np.isfinite(goals).all():
            raise ValueError(
                f"goals must be finite and of shape {self._goals.shape}, not {goals!r}"
            )
        self._goals[:] = goals

    def get_state(self) -> dict[str, Any]:
        """The complete state, copied: physics, goals, step counters and generators."""
        return {
            "kind": self._kind,
            "simulations": self._simulations.get_state(),
            "goals": self._goals.copy(),
            "steps": self._steps.copy(),
            "generators": [copy.deepcopy(g.bit_generator.state) for g in self._generators],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what ``get_state`` gave; stepping on is bit-identical.

        Raises:
            ValueError: if it is of an env of another task, goal space, number of simulations or model.
        """
        missing = sorted(self.get_state().keys() - state.keys())
        if missing or state["kind"] != self._kind:
            got = f"lacks {missing}" if missing else f"is of {state['kind']}"
            raise ValueError(f"the saved state {got}; expected is one of {self._kind}")
        self._simulations.set_state(state["simulations"])
        self._goals[:], self._steps[:] = state["goals"], state["steps"]
        self._generators = [np.random.default_rng() for _ in state["generators"]]
        for generator, saved in zip(self._generators, state["generators"], strict=True):
            generator.bit_generator.state = copy.deepcopy(saved)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """A ``(height, width, 3)`` uint8 frame of each simulation; physics is untouched."""
        if self.render_mode is None:
            return None
        none = np.zeros((0, 3))
        return self._views.frames(
            [self._goal_space.markers(goal) if self._show_goal else none for goal in self._goals]
        )

    @property
    def poses(self) -> np.ndarray:
        """All that pictures depend on, ``(n, p)``, copied: to be kept, and drawn later."""
        return self._views.poses

    def pictures(
        self, poses: np.ndarray | None = None, camera: str | None = None, size: int = 64
    ) -> np.ndarray:
        """Pictures for learning, which show no goal; physics is untouched, and no render mode is needed.

        Args:
            poses: recorded ``poses``, ``(..., p)``, of one step or of whole episodes; None takes those of
                now.
            camera: a camera of the scene; None takes the task's own (``envs.pictures.Pictures.cameras``).
            size: width and height in pixels.

        Returns:
            ``(n, size, size, 3)`` uint8 RGB, or ``(..., size, size, 3)``.
        """
        return self._views.pictures(poses, camera, size)

    def close_extras(self, **kwargs: Any) -> None:
        """Free what draws."""
        self._views.close()

    def _observation(self) -> ObsDict:
        readings = self._simulations.readings
        return {
            "observation": concatenate(readings),
            "achieved_goal": self._goal_space.achieved(readings).copy(),
            "desired_goal": self._goals.copy(),
        }

    def _set_spaces(self) -> None:
        def box(size: int) -> gym.spaces.Box:
            return gym.spaces.Box(-np.inf, np.inf, (size,), np.float64)

        size = concatenate(self._simulations.readings).shape[1]
        goal = self._goal_space.dim
        self.single_observation_space = gym.spaces.Dict(
            {"observation": box(size), "achieved_goal": box(goal), "desired_goal": box(goal)}
        )
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
