"""The command `her-robotics`: which command is asked for, and how it ends."""

import os
import select
import sys
from collections.abc import Sequence
from typing import TextIO

from .. import __version__
from ..errors import UserError, first_line
from ..shipped import shipped_tasks

USAGE = """\
usage: her-robotics COMMAND [ARGUMENTS]

Fetch manipulation learnt from sparse rewards with hindsight.

commands:
  train [TASK] [OPTIONS]     train a policy; TASK is one of
                             {tasks}
  train --env ID [OPTIONS]   train in any Gymnasium goal env
  train --resume RUN         go on with a stopped run, or with any to more steps
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


UNREAD = 128 + 13
"""Exit code of a command whose output nobody reads any more: that of who is ended by SIGPIPE."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 after a user's mistake, 130 or 143 if stopped.

    It is 141 where what reads the output has gone, as in ``her-robotics eval RUN | head -1``.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _told(given)
        sys.stdout.flush()
        return code
    except BrokenPipeError as error:
        unread = [stream for stream in (sys.stdout, sys.stderr) if _is_unread(stream)]
        if not unread:
            print(f"her-robotics: error: {error}", file=sys.stderr)
            return 1
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in unread:  # Python writes out what is left in them when it ends
            os.dup2(nowhere, stream.fileno())
        return UNREAD


def _is_unread(stream: TextIO) -> bool:
    """Whether a stream is a pipe whose other end has been closed."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(stream, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _told(given: list[str]) -> int:
    """Run one command; what a user can mend is told in one line."""
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
