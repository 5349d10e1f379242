"""A goal env whose simulation takes its process down, once: `tests.mortal_env:Mortal-v0`."""

import os
import signal
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from .healthy_envs import HORIZON, Healthy

FATAL = "FATAL_FILE"
"""Environment variable that names the file whose presence kills the second rank."""


class Mortal(Healthy):
    """Dies once there is a file, unless `torchrun` has restarted it."""

    def step(self, action: np.ndarray) -> Any:
        first = (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]) == ("1", "0")
        if first and Path(os.environ[FATAL]).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


gym.register("Mortal-v0", entry_point=Mortal, max_episode_steps=HORIZON)
