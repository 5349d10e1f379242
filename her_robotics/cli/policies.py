"""`her-robotics eval`, `record` and `play`: what a trained policy can do."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import tyro

import envs
from envs.shipped import trained_policies

from ..building import read_task
from ..config import EnvConfig
from ..encoders.files import encoder_checksums
from ..end_to_end import show_frames
from ..errors import UserError
from ..evaluate import evaluate
from ..pictures import read_picture
from ..rollout import episode_seeds
from ..run_folder import VIDEO
from ..saved_policy import CARD, SavedPolicy, load_policy
from ..train import FINAL
from ..types import Task
from ..video import Window, film, watch, write_video
from .imaging import END_TO_END
from .making import env_maker, task_name
from .parse import at_least, parse

Run = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
EVAL_ENVS = 100
"""Simulations that play test episodes at once."""


@dataclasses.dataclass(frozen=True)
class EvalArguments:
    """Test a trained policy on fresh episodes."""

    run: Run
    """Folder of the run, or the task of a policy that ships with the project."""
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

    run: Run
    """Folder of the run, or the task of a policy that ships with the project."""
    out: str | None = None
    """The film; without it, policy.mp4 in the run folder, or TASK.mp4 here for one that ships."""
    goal: tuple[float, ...] | None = None
    """A goal given by hand, for all episodes: x, y and z in metres for an object or the gripper."""
    goal_image: str | None = None
    """A PNG or JPEG of the goal, for all episodes of a policy whose goals are images."""
    episodes: int = 4
    """Episodes shown side by side."""
    size: int = 320
    """Width and height of each, in pixels."""
    seed: int = 1_000
    """Seed of the episodes."""


@dataclasses.dataclass(frozen=True)
class PlayArguments:
    """Watch a trained policy in a window, episode after episode. Press q to end."""

    run: Run
    """Folder of the run, or the task of a policy that ships with the project."""
    episodes: int = 10
    """Episodes to play."""
    goal: tuple[float, ...] | None = None
    """A goal given by hand, for all episodes: x, y and z in metres for an object or the gripper."""
    goal_image: str | None = None
    """A PNG or JPEG of the goal, for all episodes of a policy whose goals are images."""
    size: int = 640
    """Width and height in pixels."""
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
        figures = result._asdict().items()
        known = {name: value if value == value else None for name, value in figures}
        print(json.dumps({"task": where, "seed": given.seed, **known}))
    else:
        print(
            f"{where}: success {result.success_rate:.2f} [{low:.2f}, {high:.2f}] at the "
            f"last step, {result.success_any:.2f} at any, over {result.episodes} episodes; "
            f"final distance {result.final_distance:.3f}"
            + (f"; {result.diverged} diverged and count as missed" if result.diverged else "")
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
    run = Path(given.run)
    path = run / VIDEO if run.is_dir() else Path(f"{run.name}.mp4")
    path = Path(given.out) if given.out else path
    seeds = episode_seeds(given.seed, FINAL, 0, given.episodes)
    frames = film(env, task, saved.policy.act, seeds, saved.env.task, *_goals(given, env))
    env.close()
    write_video(path, frames)
    print(f"{path}: {len(frames)} frames of {given.episodes} episodes")
    return 0


def play(arguments: list[str]) -> int:
    """Watch a policy; returns the exit code."""
    given = parse(PlayArguments, arguments, "her-robotics play")
    at_least("--episodes", given.episodes, 1)
    at_least("--size", given.size, 16)
    at_least("--seed", given.seed, 0)
    size = {"width": given.size, "height": given.size}
    saved, env, task = _open(given.run, 1, None, render_mode="rgb_array", **size)
    window = Window(f"her_robotics {saved.env.task}") if Window.available() else None
    if window is None:
        print("there is no display to open a window on: `her-robotics record` makes a film")
    title, goals = saved.env.task, _goals(given, env)
    try:
        for number in range(given.episodes):
            seeds = episode_seeds(given.seed, FINAL, number, 1)
            last = None
            for last in watch(env, task, saved.policy.act, seeds, title, *goals):
                if window and not window.show(last.frame):
                    return 0
            assert last is not None
            outcome = "reached" if last.reached[0] else "missed"
            print(
                f"episode {number + 1}: {outcome}, {last.distance[0]:.3f} off at the end",
                flush=True,
            )
    finally:
        env.close()
        if window:
            window.close()
    return 0


def _goals(
    given: RecordArguments | PlayArguments, env: gym.vector.VectorEnv
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The goal given by hand, as numbers and as a picture.

    Raises:
        UserError: if both are given, or a picture where goals are none.
    """
    goal = None if given.goal is None else np.array(given.goal)
    if given.goal_image is None:
        return goal, None
    base: Any = env.unwrapped
    if goal is not None or not hasattr(base, "picture_size"):
        reason = "goals of this policy are no images" if goal is None else "--goal is given as well"
        raise UserError(f"--goal-image {given.goal_image} cannot be used: {reason}")
    return None, read_picture(Path(given.goal_image), base.picture_size)


def find_run(name: str) -> Path:
    """The folder of a run, or of a policy that ships with the project.

    Raises:
        UserError: if there is neither.
    """
    folder, shipped = Path(name), trained_policies()
    if folder.exists() or folder.name != name:
        return folder
    if name not in shipped:
        choices = ", ".join(shipped) or "there is none"
        raise UserError(
            f"{name} is neither the folder of a run nor a policy that ships with the project: {choices}"
        )
    return shipped[name]


def named_policy(name: str | None) -> SavedPolicy | None:
    """The policy that a setting names, by a run's folder or as one that ships; None if it names none.

    Raises:
        UserError: if there is no such policy.
    """
    return None if name is None else load_policy(find_run(name))


def _open(
    run: str, num_envs: int, other: str | None, **options: Any
) -> tuple[SavedPolicy, gym.vector.VectorEnv, Task]:
    """A run's policy and an env of the task it was trained on, or of another one.

    Raises:
        UserError: if there is no sound policy, or the task is no longer what it was.
    """
    folder = find_run(run)
    saved = load_policy(folder)
    config = saved.env
    if other:
        kept = {
            name: getattr(config, name) for name in ("num_envs", "workers", "max_episode_steps")
        }
        config = EnvConfig(task=task_name(other), **kept)
    # Our own simulations are cheap; to be filmed, each episode needs one.
    ample = config.task in envs.IDS or "render_mode" in options
    count = num_envs if ample else min(num_envs, config.num_envs)
    _refuse_other_encoders(saved, folder)
    env = env_maker(config, folder)(count, test=True, **options)
    task = read_task(env)
    if saved.shape != task.shape:
        raise UserError(
            f"the policy in {run} ({CARD}) is for {saved.shape}, but {config.task} is {task.shape}"
        )
    show_frames(saved.policy, env)
    return saved, env, task


def _refuse_other_encoders(saved: SavedPolicy, folder: Path) -> None:
    """Refuse a policy that would see images through another encoder than the one it was trained with.

    Raises:
        UserError: naming both.
    """
    wanted, found = saved.card.get("encoders", {}), encoder_checksums(folder)
    sees = wanted or saved.env.encoder not in (None, END_TO_END)
    if wanted != found and sees:
        raise UserError(
            f"the policy in {folder} was trained with {_short(wanted)} and acts behind that alone, but the "
            f"folder holds {_short(found)}"
        )


def _short(checksums: Any) -> str:
    """Encoders by the beginnings of their checksums, in a line."""
    named = checksums.items() if isinstance(checksums, dict) else ()
    return ", ".join(f"{name} of {str(sum_)[:12]}" for name, sum_ in named) or "no encoder"
