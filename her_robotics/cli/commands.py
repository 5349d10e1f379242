"""The table of commands, and how each may end."""

import sys
from collections.abc import Callable

from envs.fleet import WorkerError
from envs.making import GoalEnvError
from envs.opengl import RenderingError

from ..distributed import RankError
from ..errors import UserError, first_line
from ..rollout import NonFiniteError
from .checking import check
from .demos import demo
from .encoding import encode
from .goal_sheet import goals
from .plotting import plot
from .policies import evaluate_policy, play, record
from .sweeping import sweep
from .training import train

COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": train,
    "eval": evaluate_policy,
    "play": play,
    "record": record,
    "plot": plot,
    "check": check,
    "demo": demo,
    "goals": goals,
    "encode": encode,
    "sweep": sweep,
}

MENDABLE = (UserError, GoalEnvError, RenderingError)
"""What a user can mend."""


def run(name: str, arguments: list[str]) -> int:
    """Run one command; what a user can mend, and what a machine refuses, is told in one line."""
    try:
        if name not in COMMANDS:
            choices = ", ".join([*COMMANDS, "doctor"])
            raise UserError(f"unknown command {name!r}: choose one of {choices}")
        return COMMANDS[name](arguments)
    except MENDABLE as error:
        print(f"her-robotics: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # perhaps that of who reads what is printed, which is no error
        raise
    except (NonFiniteError, RankError, WorkerError, OSError) as error:
        print(f"her-robotics: error: {error}", file=sys.stderr)
        return 1
    except MemoryError as error:
        said = first_line(error)
        print(f"her-robotics: error: there is not the memory for this: {said}", file=sys.stderr)
        return 1
