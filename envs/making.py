"""Making single envs of any origin: by id, spec, class, function or example."""

import importlib
import sys
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from .compat import register_gymnasium_robotics
from .opengl import choose_context
from .vector import first_line

MakeOne = Callable[[], gym.Env]


class GoalEnvError(ValueError):
    """An env cannot be learnt from with hindsight; the message says why and what would mend it."""


def maker(given: Any, kwargs: dict[str, Any], num_envs: int, workers: int) -> MakeOne:
    """A function that makes one copy; it is sent to worker processes, so it stands on its own.

    Args:
        given: an id, an ``EnvSpec``, a function or class, or an env.
        kwargs: for ``gym.make`` or the function; those that are None are left out.
        num_envs: how many copies will be made.
        workers: in how many processes; 0 for this one.

    Raises:
        GoalEnvError: if ``given`` is something else, or cannot be made so often.
    """
    env: Any = given
    if isinstance(env, gym.Env):
        if env.spec is None:
            if num_envs > 1 or workers:
                raise GoalEnvError(
                    f"{env} was not made by gym.make, so it cannot be made {num_envs} times: give the "
                    "class or a function that makes one"
                )
            example: gym.Env = env
            return lambda: example
        env = env.spec
    if isinstance(env, str) and env in gym.registry:
        env = gym.spec(env)  # worker processes have a registry of their own
    options = {name: value for name, value in kwargs.items() if value is not None}
    if isinstance(env, (str, EnvSpec)):
        return lambda: make_by_id(env, **options)
    if not callable(env):
        raise GoalEnvError(f"env must be an id, an EnvSpec, an env or a function, not {env!r}")
    return lambda: env(**options)


def make_by_id(env: str | EnvSpec, **kwargs: Any) -> gym.Env:
    """``gym.make``, for which gymnasium-robotics is registered, and repaired, where it is needed.

    Raises:
        GoalEnvError: if there is no such env, or it cannot be made.
    """
    name = env if isinstance(env, str) else env.id
    if kwargs.get("render_mode"):
        choose_context()
    try:
        module, _, rest = name.rpartition(":")
        if module:
            importlib.import_module(module)
        if "gymnasium_robotics" in sys.modules or not (module or rest in gym.registry):
            register_gymnasium_robotics(rest)
        with warnings.catch_warnings():
            # That it cannot draw is told when it is to draw.
            warnings.filterwarnings("ignore", message=".*render_mode")
            return gym.make(env, disable_env_checker=True, **kwargs)
    except Exception as error:  # a user's module may fail in any way
        raise GoalEnvError(f"cannot make {name}: {first_line(error)}") from error


def make_reference(make: MakeOne) -> gym.Env:
    """Make one, to look at.

    Raises:
        GoalEnvError: if it cannot be made, or is no env.
    """
    try:
        env = make()
    except GoalEnvError:
        raise
    except Exception as error:
        raise GoalEnvError(f"the env cannot be made: {first_line(error)}") from error
    if not isinstance(env, gym.Env):
        raise GoalEnvError(f"the function given makes {env!r}, which is no gymnasium.Env")
    return env


def env_name(env: gym.Env, given: Any) -> str:
    """What to call an env in messages: its id, or the name of what made it."""
    if env.spec is not None:
        return env.spec.id
    return getattr(given, "__name__", type(env.unwrapped).__name__)


def find_horizon(env: gym.Env, given: int | None, name: str) -> int:
    """Steps in an episode: as given, or as the env says.

    Raises:
        GoalEnvError: if neither says, or the env's own limit is below.
    """
    limit = env.spec.max_episode_steps if env.spec is not None else None
    if given is not None and limit is not None and given > limit:
        raise GoalEnvError(f"{name} ends its episodes after {limit} steps, before {given}")
    steps = given or limit or getattr(env.unwrapped, "max_episode_steps", None)
    if not steps:
        raise GoalEnvError(
            f"{name} does not say how long its episodes are: register it with max_episode_steps, or give "
            "max_episode_steps"
        )
    return int(steps)
