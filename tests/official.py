"""The official ``Fetch*-v4`` environments, made to run on today's MuJoCo, to be compared with.

gymnasium-robotics <= 1.4.2 fails on MuJoCo >= 3.12 with a bare AssertionError, because there
``mjtJoint.x == np.int32`` is False. The module at fault is handed a view of ``mujoco`` whose
``mjtJoint`` and ``mjtEq`` members are plain ints. ``envs/compat.py`` is to replace this.
"""

from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import gymnasium_robotics
import mujoco
from gymnasium_robotics.utils import mujoco_utils

OFFICIAL_IDS = {
    "fetch_reach": "FetchReach-v4",
    "fetch_push": "FetchPush-v4",
    "fetch_slide": "FetchSlide-v4",
    "fetch_pick_and_place": "FetchPickAndPlace-v4",
}


class _PlainIntView:
    """``mujoco`` with enums that compare with numpy integers from either side."""

    def __init__(self) -> None:
        for name in ("mjtJoint", "mjtEq"):
            members = getattr(mujoco, name).__members__
            plain = {key: int(value) for key, value in members.items()}
            setattr(self, name, SimpleNamespace(**plain))

    def __getattr__(self, name: str) -> Any:
        return getattr(mujoco, name)


def make_official(task: str, **kwargs: Any) -> gym.Env:
    """The official environment of one of our tasks."""
    gym.register_envs(gymnasium_robotics)
    mujoco_utils.mujoco = _PlainIntView()
    return gym.make(OFFICIAL_IDS[task], **kwargs)
