"""Our Fetch envs on recorded episodes of the official ones: same seeds, same actions."""

import gymnasium as gym
import numpy as np
from gymnasium.vector import SyncVectorEnv, VectorEnv

import envs
from benchmarks.record_official import Recording

REACH_SIZE = 10
"""Length of an observation without an object."""
LEAST_MOVE = 1e-4
"""Metres; resting objects settle by less."""


def singles(task: str, count: int) -> SyncVectorEnv:
    """``count`` of our single envs behind the vector API."""
    name = envs.find_task(task).id
    return SyncVectorEnv([lambda: gym.make(name, disable_env_checker=True)] * count)


def vector(task: str, count: int, threads: int = 1) -> VectorEnv:
    """Our vector env."""
    return gym.make_vec(envs.find_task(task).id, num_envs=count, num_threads=threads)


def replay(env: VectorEnv, recorded: Recording) -> Recording:
    """What an env of as many simulations as there are episodes makes of their seeds and actions."""
    shown, _ = env.reset(seed=recorded.seed.tolist())
    views, steps = [shown], []
    for actions in recorded.action.swapaxes(0, 1):
        shown, reward, _, _, info = env.step(actions)
        views.append(shown)
        steps.append((reward, info["is_success"]))
    env.close()
    rewards, successes = zip(*steps, strict=True)
    return recorded._replace(
        observation=np.stack([view["observation"] for view in views], axis=1),
        achieved_goal=np.stack([view["achieved_goal"] for view in views], axis=1),
        desired_goal=views[-1]["desired_goal"],
        reward=np.stack(rewards, axis=1),
        success=np.stack(successes, axis=1),
    )


def differences(ours: Recording, theirs: Recording) -> dict[str, float]:
    """The largest difference of each kind, and how many judgements of success differ."""
    fields = ("observation", "achieved_goal", "desired_goal", "reward")
    largest = {
        name: float(np.abs(getattr(ours, name) - getattr(theirs, name)).max()) for name in fields
    }
    return {**largest, "success_mismatches": int((ours.success != theirs.success).sum())}


def first_moves(recorded: Recording) -> np.ndarray:
    """The first step after which each object has moved, ``(n,)``; the horizon + 1 for none."""
    goal = recorded.achieved_goal
    moved = np.linalg.norm(goal - goal[:, :1], axis=2) > LEAST_MOVE
    if not has_object(recorded):
        moved[:] = False
    return np.where(moved.any(axis=1), moved.argmax(axis=1), moved.shape[1])


def has_object(recorded: Recording) -> bool:
    """Whether there is an object, so that what is achieved is its position."""
    return recorded.observation.shape[2] > REACH_SIZE


def contact(recorded: Recording) -> np.ndarray:
    """In which episodes the robot touched the object, or the table where there is none, ``(n,)``.

    A touch between two looks at it still shows in an object that has moved.
    """
    return recorded.touch.any(axis=1) | (first_moves(recorded) <= recorded.action.shape[1])
