"""The command `her-robotics`: where learning and physics are joined."""

import contextlib
import dataclasses
import io
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import gymnasium as gym
import tyro

import envs
from envs.camera import RenderingError

from . import __version__
from .checkpoint import CARD, SavedPolicy, load_policy
from .config import Config, EnvConfig, load_task_config, shipped_tasks
from .errors import UserError
from .evaluate import evaluate
from .learner import MakeEnv, Task, read_task
from .plots import plot_runs
from .rollout import NonFiniteError, episode_seeds
from .run_folder import VIDEO, default_folder, read_config
from .session import Session
from .strict import validate
from .train import FINAL
from .video import film, write_video

T = TypeVar("T")
USAGE = """\
usage: her-robotics COMMAND [ARGUMENTS]

Fetch manipulation learnt from sparse rewards with hindsight.

commands:
  train [TASK] [OPTIONS]     train a policy; TASK is one of
                             {tasks}
  train --resume RUN         go on with a stopped run
  eval RUN [OPTIONS]         test a trained policy on fresh episodes
  record RUN [OPTIONS]       film a trained policy
  plot RUN [RUN ...]         draw success against steps and time

`her-robotics COMMAND --help` lists a command's options. RUN is the folder of a run.
"""


@dataclasses.dataclass(frozen=True)
class EvalArguments:
    """Test a trained policy on fresh episodes."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    episodes: int = 100
    """Test episodes."""
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


@dataclasses.dataclass(frozen=True)
class PlotArguments:
    """Draw success against env steps and against time; runs of one task are drawn together."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
    """Folders of the runs."""
    out: str = "learning_curve.png"
    """The picture."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 after a user's mistake, 130 or 143 if stopped."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    commands: dict[str, Callable[[list[str]], int]] = {
        "train": _train,
        "eval": _eval,
        "record": _record,
        "plot": _plot,
    }
    if not given or given[0] in ("-h", "--help"):
        print(USAGE.format(tasks=", ".join(shipped_tasks())), end="")
        return 0 if given else 2
    if given[0] == "--version":
        print(__version__)
        return 0
    try:
        if given[0] not in commands:
            choices = ", ".join(commands)
            raise UserError(f"unknown command {given[0]!r}: choose one of {choices}")
        return commands[given[0]](given[1:])
    except (UserError, RenderingError, NonFiniteError, OSError) as error:
        print(f"her-robotics: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, (UserError, RenderingError)) else 1
    except KeyboardInterrupt:
        print("stopped at once; the last checkpoint stands", file=sys.stderr)
        return 130


def env_maker(env: EnvConfig) -> MakeEnv:
    """A function that builds the configured task's vector env.

    Raises:
        UserError: if the task or its goal space is unknown.
    """
    try:
        task = envs.find_task(env.task)
    except ValueError as error:
        raise UserError(str(error)) from error

    def make(num_envs: int, **options: Any) -> gym.vector.VectorEnv:
        try:
            return gym.make_vec(
                task.id,
                num_envs=num_envs,
                reward_type=env.reward,
                goal=env.goal,
                num_threads=env.num_threads,
                **options,
            )
        except ValueError as error:
            raise UserError(str(error)) from error

    return make


def _train(arguments: list[str]) -> int:
    task = arguments.pop(0) if arguments and not arguments[0].startswith("-") else None
    wants_help = "-h" in arguments or "--help" in arguments
    out, resume = _take(arguments, "--out"), _take(arguments, "--resume")
    if resume is not None:
        if task or out or (arguments and not wants_help):
            raise UserError("--resume RUN goes on with the run as it was: it takes nothing else")
        if not wants_help:
            config = read_config(Path(resume))
            return Session(config, Path(resume), env_maker(config.env), resume=True).run()
    base = load_task_config(task or "fetch_reach")
    if wants_help:
        print(TRAIN_HELP.format(tasks=", ".join(shipped_tasks())), flush=True)
    # Booleans are given as in YAML: --video.enabled false.
    arguments = [re.sub(r"(^|=)(true|false)$", _capitalised, argument) for argument in arguments]
    config = validate(_parse(Config, arguments, "her-robotics train [TASK]", base))
    if config.env.task != base.env.task:
        raise UserError(f"name the task as the first argument: train {config.env.task}")
    folder = Path(out) if out else default_folder(config.env.task, config.seed)
    return Session(config, folder, env_maker(config.env)).run()


TRAIN_HELP = """\
TASK is one of {tasks} (default fetch_reach), or debug: a run of seconds.

  --out DIR     the run folder (default runs/<task>-<date>-<time>-s<seed>)
  --resume RUN  go on with a stopped run, as it was configured
"""


def _eval(arguments: list[str]) -> int:
    given = _parse(EvalArguments, arguments, "her-robotics eval")
    _at_least("--episodes", given.episodes, 1)
    _at_least("--seed", given.seed, 0)
    saved, env, task = _open(given.run, given.episodes)
    result = evaluate(
        env, task.shape.horizon, saved.policy.act, task.reward, task.threshold, given.seed, FINAL
    )
    env.close()
    low, high = result.interval
    if given.json:
        figures = result._asdict()
        if result.hitting_time != result.hitting_time:
            figures["hitting_time"] = None
        print(json.dumps({"task": saved.env.task, "seed": given.seed, **figures}))
    else:
        print(
            f"{saved.env.task}: success {result.success_rate:.2f} [{low:.2f}, {high:.2f}] at the "
            f"last step, {result.success_any:.2f} at any, over {result.episodes} episodes; "
            f"final distance {result.final_distance:.3f}"
        )
    return 0


def _record(arguments: list[str]) -> int:
    given = _parse(RecordArguments, arguments, "her-robotics record")
    _at_least("--episodes", given.episodes, 1)
    _at_least("--size", given.size, 16)
    _at_least("--seed", given.seed, 0)
    size = {"width": given.size, "height": given.size}
    saved, env, task = _open(given.run, given.episodes, render_mode="rgb_array", **size)
    path = Path(given.out) if given.out else Path(given.run) / VIDEO
    seeds = episode_seeds(given.seed, FINAL, 0, given.episodes)
    frames = film(env, task.shape.horizon, task.threshold, saved.policy.act, seeds, saved.env.task)
    env.close()
    write_video(path, frames)
    print(f"{path}: {len(frames)} frames of {given.episodes} episodes")
    return 0


def _plot(arguments: list[str]) -> int:
    given = _parse(PlotArguments, arguments, "her-robotics plot")
    if not given.runs:
        raise UserError("plot needs the folder of at least one run")
    plot_runs([Path(run) for run in given.runs], Path(given.out))
    print(given.out)
    return 0


def _open(
    run: str, num_envs: int, **options: Any
) -> tuple[SavedPolicy, gym.vector.VectorEnv, Task]:
    """A run's policy and an env of the task it was trained on.

    Raises:
        UserError: if there is no sound policy, or the task is no longer what it was.
    """
    saved = load_policy(Path(run))
    env = env_maker(saved.env)(num_envs, **options)
    task = read_task(env)
    if saved.shape != task.shape:
        raise UserError(
            f"the policy in {run} ({CARD}) is for {saved.shape}, but its task is {task.shape}"
        )
    return saved, env, task


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise UserError(f"{name} {value} must be at least {least}")


def _take(arguments: list[str], name: str) -> str | None:
    """Remove ``name VALUE`` or ``name=VALUE`` from the arguments and return the value."""
    for index, argument in enumerate(arguments):
        if argument != name and not argument.startswith(f"{name}="):
            continue
        value = arguments.pop(index).partition("=")[2]
        if argument == name and index < len(arguments) and not arguments[index].startswith("--"):
            value = arguments.pop(index)
        if not value:
            raise UserError(f"{name} needs a folder behind it")
        return value
    return None


def _capitalised(match: re.Match[str]) -> str:
    return match[1] + match[2].capitalize()


def _parse(kind: type[T], arguments: list[str], program: str, default: T | None = None) -> T:
    """Parse with tyro; its framed messages become one line.

    Raises:
        UserError: if the arguments do not fit.
    """
    messages = io.StringIO()
    options: dict[str, Any] = {}
    if default is not None:
        options = {"default": default, "config": (tyro.conf.FlagConversionOff,)}
    try:
        with contextlib.redirect_stderr(messages):
            return tyro.cli(kind, prog=program, args=arguments, **options)
    except SystemExit as exit_:
        if exit_.code:
            raise UserError(_one_line(messages.getvalue())) from None
        raise


def _one_line(framed: str) -> str:
    """The message of a framed error: without its frame, its headline and the pointer to --help."""
    rows = [re.sub(r"[│╭╮╰╯─|+]|-{3,}", " ", row) for row in framed.splitlines()[1:]]
    words = " ".join(" ".join(rows).split())
    return re.split(r" For full helptext,", words)[0]


if __name__ == "__main__":
    sys.exit(main())
