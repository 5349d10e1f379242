"""A small goal env, and kinds of it that are odd but break nothing in learning by hindsight."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

Obs = dict[str, np.ndarray]
HORIZON = 12
NEAR = 0.3
SIZE = 24


def box(size: int, bound: float = 5.0) -> Box:
    return Box(-bound, bound, (size,), np.float64)


class Healthy(gym.Env):
    """A point in the plane that moves by a fifth of the action and wants to be somewhere."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012

    def __init__(self, render_mode: str | None = "rgb_array") -> None:
        self.render_mode = render_mode
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = gym.spaces.Dict(
            observation=box(4), achieved_goal=box(2), desired_goal=box(2)
        )

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.position, self.goal = self.np_random.uniform(-1.0, 1.0, (2, 2))
        self.velocity = np.zeros(2)
        self.steps = 0
        return self.show(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict]:
        self.velocity = 0.2 * np.asarray(action, np.float64)
        self.position = np.clip(self.position + self.velocity, -4.0, 4.0)
        self.steps += 1
        shown = self.show()
        reward = self.compute_reward(shown["achieved_goal"], self.goal, {})
        return shown, float(reward), False, self.steps >= HORIZON, {"is_success": reward == 0.0}

    def show(self) -> Obs:
        return {
            "observation": np.concatenate([self.position, self.velocity]),
            "achieved_goal": self.position.copy(),
            "desired_goal": self.goal.copy(),
        }

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        return -(np.linalg.norm(achieved_goal - desired_goal, axis=-1) >= NEAR).astype(float)

    def render(self) -> Any:
        frame = np.zeros((SIZE, SIZE, 3), np.uint8)
        self.draw(frame, self.position, 255)
        return frame

    @staticmethod
    def draw(frame: np.ndarray, place: np.ndarray, shade: int) -> None:
        column, row = np.clip((place + 2.0) / 4.0 * SIZE, 0, SIZE - 1).astype(int)
        frame[row, column] = shade


class HiddenGoal(Healthy):
    """Healthy, but the goal is the one drawn whatever is set, and there are no pictures."""

    def __init__(self) -> None:
        super().__init__(render_mode=None)

    def reset(self, **kwargs: Any) -> Any:
        result = super().reset(**kwargs)
        self.drawn = self.goal.copy()
        return result

    def step(self, action: np.ndarray) -> Any:
        self.goal = self.drawn.copy()
        return super().step(action)


class HiddenFixedGoal(HiddenGoal):
    """Healthy, and there is but one goal, which cannot be set."""

    def reset(self, **kwargs: Any) -> Any:
        _, info = super().reset(**kwargs)
        self.goal = self.drawn = np.array([0.5, 0.5])
        return self.show(), info


class FixedGoal(Healthy):
    """Healthy, with one goal for ever that reset does not set back."""

    def reset(self, **kwargs: Any) -> Any:
        goal = getattr(self, "goal", np.array([0.5, 0.5]))
        _, info = super().reset(**kwargs)
        self.goal = goal
        return self.show(), info


class Grainy(Healthy):
    """Healthy, but no two pictures are alike."""

    def render(self) -> Any:
        return np.random.default_rng().integers(0, 255, (SIZE, SIZE, 3), np.uint8)


class SameArrays(Healthy):
    """Healthy, but shows the same arrays over and over, with other contents."""

    def show(self) -> Obs:
        shown = super().show()
        arrays = self.__dict__.setdefault("arrays", shown)
        for name, value in shown.items():
            arrays[name][:] = value
        return arrays


class Narrow(Healthy):
    """Healthy, in float32 and with rewards that fall off with distance."""

    def __init__(self) -> None:
        super().__init__()
        spaces = {"observation": 4, "achieved_goal": 2, "desired_goal": 2}
        self.observation_space = gym.spaces.Dict(
            {name: Box(-5.0, 5.0, (size,), np.float32) for name, size in spaces.items()}
        )

    def show(self) -> Obs:
        return {name: value.astype(np.float32) for name, value in super().show().items()}

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        return -np.linalg.norm(achieved_goal - desired_goal, axis=-1)


class Follower(Healthy):
    """Healthy, with goals beside where the point starts, which achieved goals tell too."""

    def reset(self, **kwargs: Any) -> Any:
        _, info = super().reset(**kwargs)
        self.goal = self.position + self.np_random.uniform(0.49, 0.51, 2)
        return self.show(), info
