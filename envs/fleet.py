"""Many single envs behind one set of verbs, stepped in this process; ``workers`` has them in others."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np

from . import snapshot


class Step(NamedTuple):
    """What one env returns from one step, its infos left out.

    ``lost`` says that the process died in which it was stepped: all it shows then is NaN.
    """

    observation: dict[str, Any]
    reward: float
    terminated: bool
    truncated: bool
    lost: bool = False


class WorkerError(RuntimeError):
    """A worker process failed or died; the message holds what it said."""


class Fleet(Protocol):
    """n envs, numbered from 0."""

    def reset(self, seeds: dict[int, int | None]) -> list[dict[str, Any]]:
        """Reset some envs, by number; what they show, in the order given."""
        ...

    def step(self, actions: np.ndarray) -> list[Step]:
        """Step every env by its row of ``actions`` ``(n, a)``."""
        ...

    def render(self) -> list[Any]:
        """A frame of every env."""
        ...

    def get_state(self) -> list[Any]:
        """The complete state of every env."""
        ...

    def set_state(self, states: list[Any]) -> None:
        """Restore what ``get_state`` gave."""
        ...

    def close(self) -> None:
        """Close every env."""
        ...


class LocalFleet:
    """Envs stepped one after another in this process.

    Args:
        make: makes one.
        count: how many.
        first: an env to begin with, so that one less is made.
    """

    def __init__(self, make: Callable[[], gym.Env], count: int, first: gym.Env | None = None):
        given = [] if first is None else [first]
        self._envs = given + [make() for _ in range(count - len(given))]

    def reset(self, seeds: dict[int, int | None]) -> list[dict[str, Any]]:
        return [self._envs[index].reset(seed=seed)[0] for index, seed in seeds.items()]

    def step(self, actions: np.ndarray) -> list[Step]:
        returned = [env.step(action) for env, action in zip(self._envs, actions, strict=True)]
        return [Step(obs, float(r), bool(end), bool(cut)) for obs, r, end, cut, _ in returned]

    def render(self) -> list[Any]:
        return [env.render() for env in self._envs]

    def get_state(self) -> list[Any]:
        return [snapshot.take(env) for env in self._envs]

    def set_state(self, states: list[Any]) -> None:
        for env, state in zip(self._envs, states, strict=True):
            snapshot.restore(env, state)

    def close(self) -> None:
        for env in self._envs:
            env.close()
