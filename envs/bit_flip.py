"""Bit flipping: the smallest task in which sparse rewards need hindsight (Andrychowicz et al. 2017, 3.1).

What differs from the paper: there is one more action, which flips nothing. The paper's episode is over
once the target is reached; ours never end early and count their last step, and where every action flips
a bit no state can be stayed in. What remains is the paper's: n bits, start and target drawn uniformly,
a reward of -1 until every bit is right, and n steps, which are as many as the farthest target takes.
"""

import copy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from .vector import (
    PARTS,
    ObsDict,
    Seeds,
    check_choice,
    check_choices,
    check_least,
    read_reset_mask,
    seed_generators,
)

ID = "HerRobotics/BitFlip-v0"
BITS = 30
"""Bits unless another number is asked for."""
RIGHT, WRONG, DARK = (46, 160, 67), (204, 61, 61), (40, 40, 40)


class BitFlipVectorEnv(VectorEnv[ObsDict, np.ndarray, np.ndarray]):
    """``num_envs`` rows of bits behind Gymnasium's vector API, all flipped at once.

    Episodes last ``max_episode_steps`` and never end early, nothing resets by itself, and each row draws
    its episodes from a generator of its own, as in ``FetchVectorEnv``. Observation, achieved goal and
    desired goal are all the n bits, ``(num_envs, n)`` float64 of 0 and 1. Actions are ``(num_envs,)``
    integers: i < n flips bit i, and n flips none.

    Args:
        num_envs: how many rows.
        bits: n.
        max_episode_steps: horizon; None takes n.
        render_mode: None or ``"rgb_array"``.
        width: frame width in pixels.
        height: frame height in pixels.

    Raises:
        ValueError: if a number is out of range; the message says what is allowed.
    """

    metadata = {
        "render_modes": ["rgb_array"],
        "render_fps": 25,
        "autoreset_mode": AutoresetMode.DISABLED,
    }
    reward_range = (-1.0, 0.0)
    """Least and greatest reward of a step."""

    def __init__(
        self,
        num_envs: int = 1,
        bits: int = BITS,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 480,
    ):
        steps = bits if max_episode_steps is None else max_episode_steps
        check_choice("render_mode", render_mode, (None, "rgb_array"))
        check_least(
            num_envs=(num_envs, 1),
            bits=(bits, 1),
            max_episode_steps=(steps, 1),
            width=(width, 1),
            height=(height, 1),
        )
        self.num_envs, self.bits, self.max_episode_steps = num_envs, bits, steps
        self.render_mode, self._frame_size = render_mode, (height, width)
        self._state, self._goals = np.zeros((2, num_envs, bits))
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._generators: list[np.random.Generator] = []
        box = gym.spaces.Box(0.0, 1.0, (bits,), np.float64)
        self.single_observation_space = gym.spaces.Dict(dict.fromkeys(PARTS, box))
        self.single_action_space = gym.spaces.Discrete(bits + 1)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: Seeds = None, options: dict[str, Any] | None = None
    ) -> tuple[ObsDict, dict[str, Any]]:
        """Start new episodes, as ``FetchVectorEnv.reset`` does."""
        ids = np.flatnonzero(read_reset_mask(options, self.num_envs, bool(self._generators)))
        self._generators = seed_generators(self._generators, seed, self.num_envs, ids)
        for index in ids:
            drawn = self._generators[index].integers(0, 2, size=(2, self.bits))
            self._state[index], self._goals[index] = drawn
        self._steps[ids] = 0
        return self._observation(), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[ObsDict, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Flip a bit, or none, in every row; ``info["is_success"]`` is ``(n,)`` bool."""
        if not self._generators:
            raise gym.error.ResetNeeded("call reset before the first step")
        actions = check_choices(actions, self.num_envs, range(self.bits + 1), self._steps)
        (flipping,) = np.nonzero(actions < self.bits)
        self._state[flipping, actions[flipping]] = 1.0 - self._state[flipping, actions[flipping]]
        self._steps += 1
        success = self.reached(self._state, self._goals)
        info = {"is_success": success, "_is_success": np.ones(self.num_envs, dtype=bool)}
        reward = self.compute_reward(self._state, self._goals, info)
        truncated = self._steps >= self.max_episode_steps
        return self._observation(), reward, np.zeros(self.num_envs, dtype=bool), truncated, info

    def compute_reward(
        self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any
    ) -> np.ndarray:
        """-[achieved ≠ desired], ``(..., n), (..., n) -> (...)``; ``info`` is not used."""
        return self.reached(achieved_goal, desired_goal).astype(np.float32) - 1.0

    def reached(self, achieved_goal: np.ndarray, desired_goal: np.ndarray) -> np.ndarray:
        """Whether every bit is as desired, ``(..., n), (..., n) -> (...)`` bool."""
        return np.all(np.equal(achieved_goal, desired_goal), axis=-1)

    @property
    def goals(self) -> np.ndarray:
        """The desired goals, ``(num_envs, n)``; set them to give goals by hand until the next reset."""
        return self._goals.copy()

    @goals.setter
    def goals(self, goals: np.ndarray) -> None:
        goals = np.asarray(goals, dtype=np.float64)
        if goals.shape != self._goals.shape or not np.isin(goals, (0.0, 1.0)).all():
            raise ValueError(
                f"goals must be 0 and 1 and of shape {self._goals.shape}, not {goals!r}"
            )
        self._goals[:] = goals

    def get_state(self) -> dict[str, Any]:
        """The complete state, copied: bits, goals, step counters and generators."""
        return {
            "bits": self._state.copy(),
            "goals": self._goals.copy(),
            "steps": self._steps.copy(),
            "generators": copy.deepcopy(self._generators),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what ``get_state`` gave.

        Raises:
            ValueError: if it is of another number of rows or bits.
        """
        if state["bits"].shape != self._state.shape:
            raise ValueError(
                f"the saved state is of {state['bits'].shape} bits, not {self._state.shape}"
            )
        self._state[:], self._goals[:] = state["bits"], state["goals"]
        self._steps[:] = state["steps"]
        self._generators = copy.deepcopy(state["generators"])

    def render(self) -> tuple[np.ndarray, ...] | None:
        """A ``(height, width, 3)`` uint8 frame of each row: its bits above, the target's below.

        A set bit is bright, green where it is as desired and red where not; a cleared one is dark.
        """
        if self.render_mode is None:
            return None
        return tuple(self._draw(*row) for row in zip(self._state, self._goals, strict=True))

    def _draw(self, state: np.ndarray, goal: np.ndarray) -> np.ndarray:
        colours = np.where((state == goal)[:, None], RIGHT, WRONG)  # (n, 3)
        cells = np.stack([np.where(row[:, None] == 1.0, colours, DARK) for row in (state, goal)])
        height, width = self._frame_size
        rows = np.arange(height) * 2 // height
        columns = np.arange(width) * self.bits // width
        return cells[rows[:, None], columns].astype(np.uint8)

    def _observation(self) -> ObsDict:
        shown = (self._state, self._state, self._goals)
        return {part: bits.copy() for part, bits in zip(PARTS, shown, strict=True)}
