"""Our tasks as one Gymnasium goal env each: the vector env with a single simulation."""

from typing import Any

import gymnasium as gym
import numpy as np

from .bit_flip import BitFlipVectorEnv
from .fetch import FetchVectorEnv
from .vector import ObsDict


class SingleEnv(gym.Env[ObsDict, Any]):
    """A vector env of one simulation behind Gymnasium's ``Env`` API.

    Args:
        env: the vector env.
        truncates: whether its horizon is kept to here; else it is left to the ``TimeLimit`` wrapper that
            ``gym.make`` adds.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}

    def __init__(self, env: FetchVectorEnv | BitFlipVectorEnv, truncates: bool):
        self._env, self._truncates = env, truncates
        self.max_episode_steps = env.max_episode_steps
        self.render_mode = self._env.render_mode
        self.observation_space = self._env.single_observation_space
        self.action_space = self._env.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsDict, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        observation, _ = self._env.reset(seed=None if seed is None else [seed], options=options)
        return _first(observation), {}

    def step(self, action: Any) -> tuple[ObsDict, float, bool, bool, dict[str, Any]]:
        """Take one step; ``info["is_success"]`` says whether the goal is reached."""
        action = np.asarray(action)
        if action.shape != self.action_space.shape:
            raise ValueError(f"action has shape {action.shape}, not {self.action_space.shape}")
        observation, reward, _, ends, info = self._env.step(action[None])
        truncated = self._truncates and bool(ends[0])
        success = bool(info["is_success"][0])
        return _first(observation), float(reward[0]), False, truncated, {"is_success": success}

    def compute_reward(
        self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any
    ) -> np.ndarray:
        """Reward of any goals, ``(..., g), (..., g) -> (...)``."""
        return self._env.compute_reward(achieved_goal, desired_goal, info)

    def reached(self, achieved_goal: np.ndarray, desired_goal: np.ndarray) -> np.ndarray:
        """Whether goals count as reached, ``(..., g), (..., g) -> (...)`` bool."""
        return self._env.reached(achieved_goal, desired_goal)

    @property
    def goal(self) -> np.ndarray:
        """The desired goal, ``(g,)``; set it to give a goal by hand until the next reset."""
        return self._env.goals[0]

    @goal.setter
    def goal(self, goal: np.ndarray) -> None:
        self._env.goals = np.asarray(goal)[None]

    def get_state(self) -> dict[str, Any]:
        """The complete state, copied: simulation, goal, step counter and generator."""
        return self._env.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what ``get_state`` gave; stepping on is bit-identical.

        Raises:
            ValueError: if it is of an env of another task or goal space.
        """
        self._env.set_state(state)

    def render(self) -> np.ndarray | None:
        """A ``(height, width, 3)`` uint8 frame, or None without a render mode."""
        frames = self._env.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Free the renderer."""
        self._env.close()


class FetchEnv(SingleEnv):
    """One Fetch simulation, equal to the vector env by construction.

    Takes the arguments of :class:`envs.fetch.FetchVectorEnv` but ``num_envs``.
    """

    def __init__(self, task: str, **kwargs: Any):
        kwargs.setdefault("num_threads", 1)
        super().__init__(FetchVectorEnv(task, num_envs=1, **kwargs), truncates=False)


class BitFlipEnv(SingleEnv):
    """One row of bits, equal to the vector env by construction.

    Takes the arguments of :class:`envs.bit_flip.BitFlipVectorEnv` but ``num_envs``. It keeps to its
    horizon itself, for that depends on ``bits``.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(BitFlipVectorEnv(num_envs=1, **kwargs), truncates=True)


def _first(observation: ObsDict) -> ObsDict:
    return {name: value[0] for name, value in observation.items()}
