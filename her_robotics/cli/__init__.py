"""The command `her-robotics`: which command is asked for, and how it ends."""

import sys
from collections.abc import Sequence

from .. import __version__
from ..config import shipped_tasks
from ..errors import UserError, first_line

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
  doctor [OPTIONS]           find what on this machine stands in training's way
  encode TASK [OPTIONS]      train an encoder of pictures, for goals that are images
  sweep NAME|FILE [OPTIONS]  search for settings

`her-robotics COMMAND --help` lists a command's options. RUN is the folder of a run,
or the task of a policy that ships with the project.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 after a user's mistake, 130 or 143 if stopped."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(USAGE.format(tasks=", ".join(shipped_tasks())), end="")
        return 0 if given else 2
    if given[0] == "--version":
        print(__version__)
        return 0
    try:
        return _run(given[0], given[1:])
    except UserError as error:
        print(f"her-robotics: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped at once; the last checkpoint stands", file=sys.stderr)
        return 130


def _run(name: str, arguments: list[str]) -> int:
    if name == "doctor":
        # It is asked for where what the others import may be broken.
        from .doctoring import doctor

        return doctor(arguments)
    try:
        from .commands import run
    except Exception as error:
        said = f"{first_line(error)}: `her-robotics doctor` finds out what to mend"
        raise UserError(f"what the command needs cannot be imported: {said}") from error
    return run(name, arguments)
