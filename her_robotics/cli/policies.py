"""`her-robotics eval` and `record`: what a trained policy can do."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import tyro

import envs

from ..checkpoint import CARD, SavedPolicy, load_policy
from ..config import EnvConfig
from ..errors import UserError
from ..evaluate import evaluate
from ..learner import read_task
from ..rollout import episode_seeds
from ..run_folder import VIDEO
from ..train import FINAL
from ..types import Task
from ..video import film, write_video
from .making import env_maker, task_name
from .parse import at_least, parse

EVAL_ENVS = 100
"""Simulations that play test episodes at once."""


@dataclasses.dataclass(frozen=True)
class EvalArguments:
    """Test a trained policy on fresh episodes."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    episodes: int = 100
    """Test episodes."""
    env: str | None = None
    """Another env to test it in: a Gymnasium id, such as FetchPush-v4. None takes the one it learnt in."""
    seed: int = 1_000
    """Seed of the episodes."""
    json: bool = False
    """Print one JSON object."""


@dataclasses.dataclass(frozen=True)
class RecordArguments:
    """Film a trained policy."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    out: str | None = None
    """The film; without it, policy.mp4 in the run folder."""
    episodes: int = 4
    """Episodes shown side by side."""
    size: int = 320
    """Width and height of each, in pixels."""
    seed: int = 1_000
    """Seed of the episodes."""


def evaluate_policy(arguments: list[str]) -> int:
    """Test a policy; returns the exit code."""
    given = parse(EvalArguments, arguments, "her-robotics eval")
    at_least("--episodes", given.episodes, 1)
    at_least("--seed", given.seed, 0)
    saved, env, task = _open(given.run, min(given.episodes, EVAL_ENVS), given.env)
    result = evaluate(env, task, saved.policy.act, given.episodes, given.seed, FINAL)
    env.close()
    low, high = result.interval
    where = given.env or saved.env.task
    if given.json:
        figures = result._asdict()
        if result.hitting_time != result.hitting_time:
            figures["hitting_time"] = None
        print(json.dumps({"task": where, "seed": given.seed, **figures}))
    else:
        print(
            f"{where}: success {result.success_rate:.2f} [{low:.2f}, {high:.2f}] at the "
            f"last step, {result.success_any:.2f} at any, over {result.episodes} episodes; "
            f"final distance {result.final_distance:.3f}"
        )
    return 0


def record(arguments: list[str]) -> int:
    """Film a policy; returns the exit code."""
    given = parse(RecordArguments, arguments, "her-robotics record")
    at_least("--episodes", given.episodes, 1)
    at_least("--size", given.size, 16)
    at_least("--seed", given.seed, 0)
    size = {"width": given.size, "height": given.size}
    saved, env, task = _open(given.run, given.episodes, None, render_mode="rgb_array", **size)
    path = Path(given.out) if given.out else Path(given.run) / VIDEO
    seeds = episode_seeds(given.seed, FINAL, 0, given.episodes)
    frames = film(env, task, saved.policy.act, seeds, saved.env.task)
    env.close()
    write_video(path, frames)
    print(f"{path}: {len(frames)} frames of {given.episodes} episodes")
    return 0


def _open(
    run: str, num_envs: int, other: str | None, **options: Any
) -> tuple[SavedPolicy, gym.vector.VectorEnv, Task]:
    """A run's policy and an env of the task it was trained on, or of another one.

    Raises:
        UserError: if there is no sound policy, or the task is no longer what it was.
    """
    saved = load_policy(Path(run))
    config = saved.env
    if other:
        kept = {
            name: getattr(config, name) for name in ("num_envs", "workers", "max_episode_steps")
        }
        config = EnvConfig(task=task_name(other), **kept)
    # Our own simulations are cheap; to be filmed, each episode needs one.
    ample = config.task in envs.TASKS or "render_mode" in options
    env = env_maker(config)(num_envs if ample else min(num_envs, config.num_envs), **options)
    task = read_task(env)
    if saved.shape != task.shape:
        raise UserError(
            f"the policy in {run} ({CARD}) is for {saved.shape}, but {config.task} is {task.shape}"
        )
    return saved, env, task
