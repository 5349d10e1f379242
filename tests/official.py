"""The official ``Fetch*-v4`` environments, made to run on today's MuJoCo, to be compared with."""

from typing import Any

import gymnasium as gym

from benchmarks.record_official import OFFICIAL_IDS
from envs.compat import register_gymnasium_robotics

__all__ = ["OFFICIAL_IDS", "make_official"]


def make_official(task: str, **kwargs: Any) -> gym.Env:
    """The official environment of one of our tasks."""
    register_gymnasium_robotics()
    return gym.make(OFFICIAL_IDS[task], **kwargs)
