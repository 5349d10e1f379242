"""`her-robotics train`."""

import re
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

from ..config import Config
from ..distributed import gather, joined, may_restart, rank
from ..errors import UserError
from ..run_folder import default_folder, read_config
from ..session import Session
from ..shipped import GOAL_ENV, load_task_config, shipped_tasks
from ..strict import differing, validate
from ..tracking import Tracker
from .imaging import keep_encoders
from .making import env_maker, task_name, threads_shared
from .parse import parse, take
from .policies import named_policy

CHANGEABLE = ("train.steps", "train.device")
"""Settings of a run that may be other when it is gone on with: steps grow, and any device will do."""
HELP = """\
TASK is one of {tasks} (default fetch_reach), or debug: a run of seconds.

  --env ID      any Gymnasium goal env in its place: FetchPush-v4, my_module:MyEnv-v0; settings are
                those of TASK, or of configs/goal_env.yaml without one
  --out DIR     the run folder (default runs/<task>-<date>-<time>-s<seed>)
  --resume RUN  go on with a stopped run, as it was configured; or with any to more steps, by
                --resume RUN --train.steps N, as if it had been to make as many from the start
  --device DEV  cpu, cuda or auto: short for --train.device, and allowed beside --resume

Several processes learn as one, each with envs and a replay of its own, by
  torchrun --nproc-per-node N -m her_robotics train TASK ...
and go on by as many with --resume RUN.
"""


def train(arguments: list[str]) -> int:
    """Train a policy; returns the exit code."""
    wants_help = "-h" in arguments or "--help" in arguments
    out, resume, device = (take(arguments, name) for name in ("--out", "--resume", "--device"))
    arguments += [f"--train.device={device}"] if device else []
    if resume is not None and not wants_help:
        named = arguments and not arguments[0].startswith("-")
        if out or named or take(arguments, "--env"):
            raise UserError(
                "--resume RUN goes on in its own folder and task: no TASK, --env or --out"
            )
        with joined():
            return go_on(Path(resume), options=arguments).run()
    if wants_help:
        print(HELP.format(tasks=", ".join(shipped_tasks())), flush=True)
    config = configure_line(arguments)
    if may_restart() and not out:
        raise UserError("torchrun --max-restarts needs --out DIR: a run that restarts looks there")
    with joined():
        folder = Path(out) if out else default_folder(config.env.task, config.seed)
        folder = gather("the run folder", folder)[0]  # named by the first one's clock
        return begin(config, folder).run()


def configure_line(arguments: list[str]) -> Config:
    """The settings that a command line of ``train`` asks for: a task or ``--env ID``, and options.

    Raises:
        UserError: if one is unknown or not allowed.
    """
    task = arguments[0] if arguments and not arguments[0].startswith("-") else None
    options = arguments[task is not None :]
    env = take(options, "--env")
    return configure(task, options, env)


def configure(task: str | None, arguments: list[str], env: str | None = None) -> Config:
    """The settings that a command line of ``train`` asks for.

    Args:
        task: whose settings they are on top of; None for those of any goal env, or of fetch_reach.
        arguments: options of ``Config``.
        env: what ``--env`` named, if it did.

    Raises:
        UserError: if one is unknown or not allowed.
    """
    base = load_task_config(task or (GOAL_ENV if env else "fetch_reach"))
    if env:
        base = replace(base, env=replace(base.env, task=task_name(env)))
    config = _changed(base, arguments, "[TASK]")
    if config.env.task != base.env.task:
        raise UserError(
            "name a task as the first argument (train fetch_push), any other env by --env"
        )
    return config


def begin(config: Config, folder: Path, trackers: Sequence[Tracker] = ()) -> Session:
    """A new run in ``folder``; ``trackers`` are told its figures too.

    Raises:
        UserError: if the folder or the configuration cannot be used.
    """
    start, teacher = named_policy(config.train.start_from), named_policy(config.train.teacher)
    weights = start.policy.state_dict() if start else None
    make_env = env_maker(threads_shared(config.env))
    session = Session(config, folder, make_env, weights=weights, teacher=teacher, trackers=trackers)
    if rank() == 0:
        keep_encoders(config.env, folder)
    return session


def go_on(folder: Path, trackers: Sequence[Tracker] = (), options: Sequence[str] = ()) -> Session:
    """A run, to be gone on with: a stopped one, or any to more steps.

    Args:
        folder: of the run.
        trackers: told its figures too.
        options: of ``Config``; those of ``CHANGEABLE`` may be other than the run's.

    Raises:
        UserError: if it cannot be.
    """
    before = read_config(folder)
    config = _changed(before, options, f"--resume {folder}") if options else before
    if fixed := [name for name in differing(before, config) if name not in CHANGEABLE]:
        was, asked = (attrgetter(fixed[0])(each) for each in (before, config))
        raise UserError(
            f"{fixed[0]} = {asked} is {was} in {folder}: of a run that is gone on with, "
            f"{' and '.join(CHANGEABLE)} alone can be changed"
        )
    if config.train.steps < before.train.steps:
        raise UserError(
            f"train.steps = {config.train.steps} is less than the {before.train.steps} that {folder} is "
            "to make: a run that is gone on with can only make more"
        )
    make_env = env_maker(threads_shared(config.env), folder)
    teacher = named_policy(config.train.teacher)
    return Session(config, folder, make_env, resume=True, teacher=teacher, trackers=trackers)


def _changed(base: Config, options: Sequence[str], behind: str) -> Config:
    """``base`` with the options of a command line, which is ``her-robotics train`` and ``behind``.

    Raises:
        UserError: if one is unknown or not allowed.
    """
    words = [word for option in options for word in _as_in_yaml(option)]
    return validate(parse(Config, words, f"her-robotics train {behind}", base))


def _as_in_yaml(argument: str) -> list[str]:
    """Booleans and lists may be given as in YAML: ``--video.enabled false``, ``--agent.hidden=[64, 64]``."""
    name, given, value = argument.partition("=")
    if given and re.fullmatch(r"\[.+\]", value):
        return [name, *re.split(r"[\s,]+", value[1:-1].strip())]
    return [re.sub(r"(^|=)(true|false)$", lambda match: match[1] + match[2].capitalize(), argument)]
