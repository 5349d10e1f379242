"""Goal envs deliberately broken: in what they show, and where no goal env is left."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box

from .healthy_envs import Healthy, Obs, box


class LeavesSpace(Healthy):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space["achieved_goal"] = box(2, bound=1.0)


class ShowsNan(Healthy):
    def show(self) -> Obs:
        shown = super().show()
        shown["observation"][3] = np.nan
        return shown


class WrongShape(Healthy):
    def show(self) -> Obs:
        shown = super().show()
        shown["desired_goal"] = shown["desired_goal"][None]
        return shown


class WrongType(Healthy):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space["desired_goal"] = Box(-5, 5, (2,), np.int64)


class ShowsGoal(Healthy):
    def show(self) -> Obs:
        shown = super().show()
        shown["observation"][3] = self.goal[1]
        return shown


class ShowsNearness(Healthy):
    """Of the goal, the observation tells only how far it is, which is not linear in it."""

    def show(self) -> Obs:
        shown = super().show()
        shown["observation"][3] = np.linalg.norm(self.goal - self.position)
        return shown


class ShowsFirstGoal(Healthy):
    """The goal's offset as it was at reset, whatever is set later, and not from where."""

    def show(self) -> Obs:
        shown = super().show()
        if self.steps == 0:
            self.offset = self.goal - self.position
        shown["observation"] = np.append(np.zeros(2), self.offset)
        return shown


class AchievesByGoal(Healthy):
    """What counts as achieved is bent towards the goal."""

    def show(self) -> Obs:
        shown = super().show()
        shown["achieved_goal"] += 0.01 * self.goal
        return shown


class DrawsGoal(Healthy):
    def render(self) -> Any:
        frame = super().render()
        self.draw(frame, self.goal, 128)
        return frame


class ShowsBox(Healthy):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space = box(4)


class LacksDesired(Healthy):
    def show(self) -> Obs:
        shown = super().show()
        del shown["desired_goal"]
        return shown


class GoalsOfTwoShapes(Healthy):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space["achieved_goal"] = box(3)


class DiscreteGoals(Healthy):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space["desired_goal"] = gym.spaces.Discrete(9)


class LacksReward(Healthy):
    compute_reward: Any = None


class FailsAtReset(Healthy):
    def reset(self, **kwargs: Any) -> Any:
        raise OSError("the robot is asleep. Wake it")


class FailsAtStep(Healthy):
    def step(self, action: np.ndarray) -> Any:
        if self.steps == 3:
            raise RuntimeError
        return super().step(action)


class FailsAtReward(Healthy):
    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        if not np.array_equal(desired_goal, self.goal):
            raise KeyError("unknown goal")
        return super().compute_reward(achieved_goal, desired_goal, info)


class FailsAtSecondSeed(Healthy):
    """Fails when a seed comes again, after all episodes were recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.seeds: set[int | None] = set()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if seed in self.seeds:
            raise ValueError("seed used up")
        self.seeds.add(seed)
        return super().reset(seed=seed)


class StepsInFour(Healthy):
    """The old API: four values a step."""

    def step(self, action: np.ndarray) -> Any:
        shown, reward, terminated, truncated, info = super().step(action)
        return shown, reward, terminated or truncated, info


class Garbage(gym.Env):
    """Shows, pays, reports and rewards whatever it is given, in episodes of one step."""

    def __init__(self, shown: Any, paid: Any, info: Any, reward: Any) -> None:
        self.observation_space = gym.spaces.Dict(
            observation=box(2), achieved_goal=box(2), desired_goal=box(2)
        )
        self.action_space = gym.spaces.Discrete(2)
        self.shown, self.paid, self.info, self.reward = shown, paid, info, reward

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.shown, {}

    def step(self, action: Any) -> Any:
        return self.shown, self.paid, False, True, self.info

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        return self.reward
