"""`her-robotics plot`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import UserError
from ..plots import plot_runs
from .parse import parse


@dataclasses.dataclass(frozen=True)
class PlotArguments:
    """Draw success against env steps and against time; runs of one task are drawn together."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
    """Folders of the runs."""
    out: str = "learning_curve.png"
    """The picture."""


def plot(arguments: list[str]) -> int:
    """Draw runs; returns the exit code."""
    given = parse(PlotArguments, arguments, "her-robotics plot")
    if not given.runs:
        raise UserError("plot needs the folder of at least one run")
    plot_runs([Path(run) for run in given.runs], Path(given.out))
    print(given.out)
    return 0
