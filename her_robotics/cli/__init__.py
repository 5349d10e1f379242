"""The command `her-robotics`: which command is asked for, and how it ends."""

import sys
from collections.abc import Callable, Sequence

from envs.camera import RenderingError
from envs.fleet import WorkerError
from envs.making import GoalEnvError

from .. import __version__
from ..config import shipped_tasks
from ..errors import UserError
from ..rollout import NonFiniteError
from .checking import check
from .demos import demo
from .encoding import encode
from .goal_sheet import goals
from .plotting import plot
from .policies import evaluate_policy, play, record
from .training import train

USAGE = """\
usage: her-robotics COMMAND [ARGUMENTS]

Fetch manipulation learnt from sparse rewards with hindsight.

commands:
  train [TASK] [OPTIONS]     train a policy; TASK is one of
                             {tasks}
  train --env ID [OPTIONS]   train in any Gymnasium goal env
  train --resume RUN         go on with a stopped run
  eval RUN [OPTIONS]         test a trained policy on fresh episodes
  play RUN [OPTIONS]         watch a trained policy, also at a goal of your own
  record RUN [OPTIONS]       film a trained policy
  plot RUN [RUN ...]         draw success against steps and time
  check ENV [OPTIONS]        find what in a goal env breaks hindsight
  demo NAME [OPTIONS]        show a method at work: a picture and a table
  goals TASK [OPTIONS]       draw goals of a task as images
  encode TASK [OPTIONS]      train an encoder of pictures, for goals that are images

`her-robotics COMMAND --help` lists a command's options. RUN is the folder of a run,
or the task of a policy that ships with the project.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 after a user's mistake, 130 or 143 if stopped."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    commands: dict[str, Callable[[list[str]], int]] = {
        "train": train,
        "eval": evaluate_policy,
        "record": record,
        "play": play,
        "plot": plot,
        "check": check,
        "demo": demo,
        "goals": goals,
        "encode": encode,
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
    except (UserError, GoalEnvError, RenderingError, NonFiniteError, WorkerError, OSError) as error:
        print(f"her-robotics: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, (UserError, GoalEnvError, RenderingError)) else 1
    except KeyboardInterrupt:
        print("stopped at once; the last checkpoint stands", file=sys.stderr)
        return 130
