"""Fetch manipulation tasks on MuJoCo. Importing this package registers them with Gymnasium."""

import gymnasium as gym

from .tasks import HORIZON, TASKS, Task, find_task

__all__ = ["HORIZON", "TASKS", "Task", "find_task"]

for _name, _task in TASKS.items():
    if _task.id not in gym.registry:
        gym.register(
            id=_task.id,
            entry_point="envs.single:FetchEnv",
            vector_entry_point="envs.fetch:FetchVectorEnv",
            max_episode_steps=HORIZON,
            kwargs={"task": _name},
        )
