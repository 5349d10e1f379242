"""What the vector envs have in common: who is reset, by which seed, and how they judge goals."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding

ObsDict = dict[str, np.ndarray]
PARTS = ("observation", "achieved_goal", "desired_goal")
"""What a goal env shows at every step."""
Seeds = int | Sequence[int | None] | None


def read_reset_mask(options: Mapping[str, Any] | None, num_envs: int, started: bool) -> np.ndarray:
    """Which envs ``reset(options=...)`` asks for, ``(num_envs,)`` bool.

    Args:
        options: ``{"reset_mask": (num_envs,) bool array}``, or nothing for all of them.
        num_envs: how many envs there are.
        started: whether all of them have been reset before.

    Raises:
        ValueError: if there is another option, or the mask is not such an array or all False.
        gym.error.ResetNeeded: if the first reset leaves envs out.
    """
    options = options or {}
    unknown = [name for name in options if name != "reset_mask"]
    if unknown:
        raise ValueError(f"unknown reset options {unknown}: choose reset_mask")
    mask = np.asarray(options.get("reset_mask", np.ones(num_envs, dtype=bool)))
    if mask.shape != (num_envs,) or mask.dtype != bool or not mask.any():
        raise ValueError(
            f"reset_mask must be a boolean array of shape ({num_envs},) with a True in it, not {mask!r}"
        )
    if not started and not mask.all():
        raise gym.error.ResetNeeded("the first reset must be of all simulations")
    return mask


def spread_seeds(seed: Seeds, num_envs: int) -> list[int | None]:
    """One seed for each env: ``seed + i``, ``seed[i]``, or None.

    Raises:
        ValueError: if there are not as many as envs.
    """
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, (int, np.integer)):
        return [int(seed) + index for index in range(num_envs)]
    seeds = [None if value is None else int(value) for value in seed]
    if len(seeds) != num_envs:
        raise ValueError(f"{len(seeds)} seeds were given for {num_envs} envs")
    return seeds


def seed_generators(
    generators: list[np.random.Generator], seed: Seeds, num_envs: int, ids: np.ndarray
) -> list[np.random.Generator]:
    """The generators of all envs, those of ``ids`` seeded anew where ``seed`` says so.

    Args:
        generators: those there are, none before the first reset.
        seed: as ``reset`` takes it (see ``spread_seeds``).
        num_envs: how many envs.
        ids: the envs that are reset.
    """
    seeds = spread_seeds(seed, num_envs)
    if not generators:
        return [seeding.np_random(value)[0] for value in seeds]
    seeded = list(generators)
    for index in ids:
        if seeds[index] is not None:
            seeded[index] = seeding.np_random(seeds[index])[0]
    return seeded


def check_actions(actions: np.ndarray, shape: tuple[int, ...], steps: np.ndarray) -> np.ndarray:
    """Actions as an array, if they are of ``shape`` ``(num_envs, a)`` and finite.

    Raises:
        ValueError: if not; the message says in which env and at which of its ``steps``.
    """
    actions = np.asarray(actions)
    if actions.shape != shape:
        raise ValueError(f"actions have shape {actions.shape}, not {shape}")
    if not np.isfinite(actions).all():
        env = int(np.flatnonzero(~np.isfinite(actions).all(axis=1))[0])
        raise ValueError(f"the action for env {env} at step {steps[env]} is not finite")
    return actions


def check_choices(
    actions: np.ndarray, num_envs: int, choices: range, steps: np.ndarray
) -> np.ndarray:
    """Discrete actions as an array, if they are ``(num_envs,)`` integers, each one of ``choices``.

    Raises:
        ValueError: if not; the message says in which env and at which of its ``steps``.
    """
    actions = np.asarray(actions)
    if actions.shape != (num_envs,) or not np.issubdtype(actions.dtype, np.integer):
        given = f"{actions.dtype} of shape {actions.shape}"
        raise ValueError(f"actions are {given}, not integers of shape ({num_envs},)")
    wrong = (actions < choices.start) | (actions >= choices.stop)
    if wrong.any():
        env = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"the action for env {env} at step {steps[env]} is {actions[env]}: choose "
            f"{choices.start} to {choices.stop - 1}"
        )
    return actions


def check_least(**values_and_least: tuple[float, float]) -> None:
    """Refuse numbers below their least.

    Raises:
        ValueError: naming the first one that is; NaN is refused too.
    """
    for name, (value, least) in values_and_least.items():
        if not value >= least:
            raise ValueError(f"{name} must be at least {least}, not {value}")


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse a value that is not one of ``choices``.

    Raises:
        ValueError: listing the choices.
    """
    if value not in choices:
        allowed = ", ".join(str(choice) for choice in choices)
        raise ValueError(f"unknown {name} {value!r}: choose one of {allowed}")


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
