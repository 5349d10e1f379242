"""`her-robotics train`."""

import dataclasses
import re
from pathlib import Path

import torch

from ..checkpoint import load_policy
from ..config import GOAL_ENV, Config, load_task_config, shipped_tasks
from ..encoders.files import copy_encoder
from ..errors import UserError
from ..run_folder import default_folder, read_config
from ..session import Session
from ..strict import validate
from .imaging import encoder_folder
from .making import env_maker, task_name
from .parse import parse, take
from .policies import find_run

HELP = """\
TASK is one of {tasks} (default fetch_reach), or debug: a run of seconds.

  --env ID      any Gymnasium goal env in its place: FetchPush-v4, my_module:MyEnv-v0; settings are
                those of TASK, or of configs/goal_env.yaml without one
  --out DIR     the run folder (default runs/<task>-<date>-<time>-s<seed>)
  --resume RUN  go on with a stopped run, as it was configured
"""


def train(arguments: list[str]) -> int:
    """Train a policy; returns the exit code."""
    task = arguments.pop(0) if arguments and not arguments[0].startswith("-") else None
    wants_help = "-h" in arguments or "--help" in arguments
    out, resume = take(arguments, "--out"), take(arguments, "--resume")
    env = take(arguments, "--env")
    if resume is not None:
        if task or out or env or (arguments and not wants_help):
            raise UserError("--resume RUN goes on with the run as it was: it takes nothing else")
        if not wants_help:
            config = read_config(Path(resume))
            make_env = env_maker(config.env, Path(resume))
            return Session(config, Path(resume), make_env, resume=True).run()
    if wants_help:
        print(HELP.format(tasks=", ".join(shipped_tasks())), flush=True)
    config = configure(task, arguments, env)
    folder = Path(out) if out else default_folder(config.env.task, config.seed)
    session = Session(config, folder, env_maker(config.env), weights=_weights(config))
    if config.env.goal == "image":
        copy_encoder(encoder_folder(config.env), folder)
    return session.run()


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
        base = dataclasses.replace(base, env=dataclasses.replace(base.env, task=task_name(env)))
    # Booleans are given as in YAML: --video.enabled false.
    arguments = [re.sub(r"(^|=)(true|false)$", _capitalised, argument) for argument in arguments]
    config = validate(parse(Config, arguments, "her-robotics train [TASK]", base))
    if config.env.task != base.env.task:
        raise UserError(
            "name a task as the first argument (train fetch_push), any other env by --env"
        )
    return config


def _weights(config: Config) -> dict[str, torch.Tensor] | None:
    """Those of the policy that training starts from."""
    start = config.train.start_from
    return None if start is None else load_policy(find_run(start)).policy.state_dict()


def _capitalised(match: re.Match[str]) -> str:
    return match[1] + match[2].capitalize()
