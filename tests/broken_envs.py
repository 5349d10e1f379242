"""Goal envs deliberately broken: in how they reward, begin and end."""

import multiprocessing
import os
from typing import Any

import numpy as np

from .healthy_envs import HORIZON, NEAR, Healthy, Narrow


class OnePairOnly(Healthy):
    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        return float(np.linalg.norm(achieved_goal - desired_goal) < NEAR) - 1.0


class MixesPairs(Healthy):
    """As upstream's pen, whose angle is taken from the third pair and not the third number."""

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        achieved_goal = np.array(achieved_goal)
        achieved_goal[1] = desired_goal[1]
        return super().compute_reward(achieved_goal, desired_goal, info)


class AsksForTruth(Healthy):
    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        return 0.0 if np.linalg.norm(achieved_goal - desired_goal, axis=-1) < NEAR else -1.0


class ReadsState(Healthy):
    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        return super().compute_reward(self.position + 0.0 * achieved_goal, desired_goal, info)


class ReadsOwnGoal(Healthy):
    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        return super().compute_reward(achieved_goal, self.goal + 0.0 * desired_goal, info)


class Fickle(Healthy):
    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        reward = super().compute_reward(achieved_goal, desired_goal, info)
        return reward + np.random.default_rng().normal(size=np.shape(reward))


class Overwrites(Healthy):
    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        reward = super().compute_reward(achieved_goal, desired_goal, info)
        desired_goal -= achieved_goal
        return reward

    def step(self, action: np.ndarray) -> Any:
        goal = self.goal.copy()
        result = super().step(action)
        self.goal = goal
        return result


class NeedsInfo(Healthy):
    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        return super().compute_reward(achieved_goal, desired_goal, info) - info["effort"]

    def step(self, action: np.ndarray) -> Any:
        self.compute_reward, judge = super().compute_reward, self.compute_reward
        shown, _, *ends, info = super().step(action)
        del self.compute_reward
        info["effort"] = float(np.abs(action).sum())
        return shown, judge(shown["achieved_goal"], self.goal, info), *ends, info


class HeedsInfo(NeedsInfo):
    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        return super().compute_reward(achieved_goal, desired_goal, {"effort": 0.0, **info})


class RewardDrawsChance(Healthy):
    """Steps are shifted by chance, and to another place when a reward was asked for before."""

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        self.np_random.random()
        return super().compute_reward(achieved_goal, desired_goal, info)

    def step(self, action: np.ndarray) -> Any:
        return super().step(action + self.np_random.normal(0.0, 0.1, 2))


class LagsBehind(Healthy):
    def step(self, action: np.ndarray) -> Any:
        late = float(self.compute_reward(self.position, self.goal, {}))
        shown, _, *rest = super().step(action)
        return shown, late, *rest


class ChargesEffort(Healthy):
    def step(self, action: np.ndarray) -> Any:
        shown, reward, *rest = super().step(action)
        return shown, reward - float(np.abs(action).sum()), *rest


class ForgetsSeed(Healthy):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=None)


class KeepsSpeed(Healthy):
    """Seeded, but an episode starts as fast as the one before it ended."""

    def reset(self, **kwargs: Any) -> Any:
        velocity = getattr(self, "velocity", np.zeros(2))
        _, info = super().reset(**kwargs)
        self.velocity = velocity
        return self.show(), info


class EndsOnSuccess(Healthy):
    def step(self, action: np.ndarray) -> Any:
        shown, reward, _, truncated, info = super().step(action)
        return shown, reward, reward == 0.0, truncated, info


class EndsOnSuccessSilently(Narrow):
    """Nothing says that it ends on success but the height of its last reward."""

    def step(self, action: np.ndarray) -> Any:
        shown, reward, _, truncated, _ = super().step(action)
        return shown, reward, reward > -NEAR, truncated, {}


class WouldEndOnSuccess(Healthy):
    """Of which it says so by the method of upstream's GoalEnv alone."""

    def compute_terminated(self, achieved_goal: Any, desired_goal: Any, info: Any) -> bool:
        return bool(np.linalg.norm(achieved_goal - desired_goal) < NEAR)


class FarFromSuccess(EndsOnSuccess):
    """Ends on success, which by chance never happens."""

    def reset(self, **kwargs: Any) -> Any:
        _, info = super().reset(**kwargs)
        self.goal = self.goal + 3.5
        return self.show(), info


class UnevenEnds(Healthy):
    def reset(self, **kwargs: Any) -> Any:
        result = super().reset(**kwargs)
        self.last = int(self.np_random.integers(5, HORIZON))
        return result

    def step(self, action: np.ndarray) -> Any:
        shown, reward, terminated, _, info = super().step(action)
        return shown, reward, terminated, self.steps >= self.last, info


class Endless(Healthy):
    def step(self, action: np.ndarray) -> Any:
        shown, reward, terminated, _, info = super().step(action)
        return shown, reward, terminated, False, info


class Falls(Healthy):
    def step(self, action: np.ndarray) -> Any:
        shown, reward, _, truncated, info = super().step(action)
        fallen = bool(reward != 0.0 and np.abs(self.position).max() > 1.2)
        return shown, reward, fallen, truncated, info


class MovesGoal(Healthy):
    def step(self, action: np.ndarray) -> Any:
        if self.steps == HORIZON // 2:
            self.goal = -self.goal
        return super().step(action)


class Doomed(Healthy):
    """Healthy, but a worker that steps it ends at the third step of any episode."""

    def step(self, action: np.ndarray) -> Any:
        if self.steps == 2 and multiprocessing.parent_process():
            os._exit(3)
        return super().step(action)
