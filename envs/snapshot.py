"""The complete state of a single env, wrappers included, as a copy that can be put back.

Envs offer no common way to save their state, so this copies what their objects hold: counters, goals,
generators, and MuJoCo's data with all that is derived from it. What does not change while an env runs
(models, spaces, renderers, modules) is left out. An env with a ``get_state()`` and a ``set_state(state)``
is asked for its state instead. What a native library other than MuJoCo holds cannot be seen from here;
PyBullet's, which panda-gym runs on, is refused.
"""

import copy
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium as gym
import mujoco

_UNCHANGING = (mujoco.MjModel, gym.Space, types.ModuleType, types.FunctionType, types.MethodType)
_LEFT_OUT = ("mujoco_renderer", "spec", "_cached_spec")
_OWN = "own state"


class _Layer(NamedTuple):
    """Stands in a copy for the env, or one of its wrappers, that something in it refers to."""

    depth: int

    def __deepcopy__(self, memo: dict[Any, Any]) -> gym.Env:
        return memo[self]


def take(env: gym.Env) -> list[dict[str, Any]]:
    """The state of an env, ready to be pickled: one dict for it and each env it holds.

    Raises:
        ValueError: if it holds something that cannot be copied, or PyBullet's physics.
    """
    layers = list(_layers(env))
    memo: dict[Any, Any] = {id(layer): _Layer(depth) for depth, layer in enumerate(layers)}
    return [_take_one(layer, memo) for layer in layers]


def restore(env: gym.Env, state: list[dict[str, Any]]) -> None:
    """Put back what ``take`` gave, of the same env or of another made in the same way."""
    layers = list(_layers(env))
    memo: dict[Any, Any] = {_Layer(depth): layer for depth, layer in enumerate(layers)}
    for layer, saved in zip(layers, state, strict=True):
        _restore_one(layer, saved, memo)


def _layers(env: gym.Env) -> Iterator[gym.Env]:
    """An env and, depth first, every env among its attributes, each once."""
    waiting, seen = [env], set()
    while waiting:
        layer = waiting.pop()
        if id(layer) not in seen:
            seen.add(id(layer))
            yield layer
            if not _saves_itself(layer):
                waiting += [each for each in vars(layer).values() if isinstance(each, gym.Env)]


def _take_one(env: gym.Env, memo: dict[Any, Any]) -> dict[str, Any]:
    if _saves_itself(env):
        return {_OWN: env.get_state()}  # type: ignore[attr-defined]
    state = {}
    for name, value in _changing(env).items():
        if hasattr(value, "physics_client"):
            raise ValueError(f"cannot save the state of {type(env).__name__}: PyBullet holds it")
        try:
            # One memo for all, so that what is shared stays shared.
            state[name] = copy.deepcopy(value, memo)
        except Exception as error:
            kind = type(env).__name__
            raise ValueError(f"cannot save the state of {kind}: {name} is {value!r}") from error
    return state


def _restore_one(env: gym.Env, state: dict[str, Any], memo: dict[Any, Any]) -> None:
    if _OWN in state:
        env.set_state(state[_OWN])  # type: ignore[attr-defined]
        return
    for name in _changing(env).keys() - state.keys():
        delattr(env, name)
    for name, saved in state.items():
        present = getattr(env, name, None)
        if isinstance(saved, mujoco.MjData) and isinstance(present, mujoco.MjData):
            # In place, since renderers and views hold on to the object.
            mujoco.mj_copyData(present, saved.model, saved)
            memo[id(saved)] = present
        else:
            setattr(env, name, copy.deepcopy(saved, memo))


def _changing(env: gym.Env) -> dict[str, Any]:
    """The attributes that make up an env's state."""
    return {
        name: value
        for name, value in vars(env).items()
        if not isinstance(value, (*_UNCHANGING, gym.Env)) and name not in _LEFT_OUT
    }


def _saves_itself(env: gym.Env) -> bool:
    return callable(getattr(env, "get_state", None)) and callable(getattr(env, "set_state", None))
