"""Fetch manipulation on MuJoCo, and bit flipping; importing this registers the tasks with Gymnasium."""

from types import MappingProxyType

import gymnasium as gym

from .bit_flip import ID as BIT_FLIP_ID
from .tasks import HORIZON, TASKS, Task, find_task

__all__ = ["BIT_FLIP", "HORIZON", "IDS", "TASKS", "Task", "find_task"]

BIT_FLIP = "bit_flip"
"""Name of the bit-flipping task."""
IDS = MappingProxyType({**{name: task.id for name, task in TASKS.items()}, BIT_FLIP: BIT_FLIP_ID})
"""Gymnasium ids of all our tasks, by name."""

for _name, _task in TASKS.items():
    if _task.id not in gym.registry:
        gym.register(
            id=_task.id,
            entry_point="envs.single:FetchEnv",
            vector_entry_point="envs.fetch:FetchVectorEnv",
            max_episode_steps=HORIZON,
            kwargs={"task": _name},
        )
if BIT_FLIP_ID not in gym.registry:
    gym.register(
        id=BIT_FLIP_ID,
        entry_point="envs.single:BitFlipEnv",
        vector_entry_point="envs.bit_flip:BitFlipVectorEnv",
    )
