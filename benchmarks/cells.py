"""Cells of a benchmark: trainings of a task in a variant with a seed, each in a folder of its own.

A benchmark that is cut off goes on where it was: cells that have finished are left as they are, others go
on from what they saved. A folder that was run with other settings is refused, naming what differs.
"""

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tqdm import tqdm

from her_robotics.errors import UserError


class Cell(NamedTuple):
    """One training.

    Attributes:
        task: what is to be learnt.
        variant: how.
        seed: of everything random.
    """

    task: str
    variant: str
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.task}-{self.variant}-s{self.seed}"


class Work(Protocol):
    """What a benchmark's cells are."""

    def is_done(self, cell: Cell) -> bool:
        """Whether it has finished; UserError if its folder was run with other settings."""
        ...

    def run(self, cell: Cell) -> None:
        """Run it to its end, from where it was; raises what went wrong."""
        ...


def run_cells(work: Work, cells: Sequence[Cell], workers: int) -> list[str]:
    """Run the cells that have not finished, so many side by side; a line for each that failed.

    Ctrl-C lets those that run save what they have, and begins no other.

    Raises:
        UserError: before anything starts, if a folder was run with other settings.
        SystemExit: after Ctrl-C.
    """
    left = [cell for cell in cells if not work.is_done(cell)]
    failures = {}
    with ThreadPoolExecutor(workers) as pool:
        jobs = {pool.submit(work.run, cell): cell for cell in left}
        try:
            done = len(cells) - len(left)
            for job in tqdm(as_completed(jobs), initial=done, total=len(cells), unit="cell"):
                error, cell = job.exception(), jobs[job]
                if error is not None:
                    failures[cell] = f"{type(error).__name__}: {error}"
                    tqdm.write(f"{cell.name} failed: {failures[cell]}", file=sys.stderr)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            print("stopped: the same command goes on from here", file=sys.stderr)
            raise SystemExit(130) from None
    return [f"{'/'.join(map(str, cell))}: {failures[cell]}" for cell in cells if cell in failures]


def complete(work: Work, cells: Sequence[Cell], workers: int) -> int:
    """``run_cells``, with what goes wrong printed; the exit code, 0 if every cell finished."""
    try:
        failures = run_cells(work, cells, workers)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def in_process(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function in a fresh process of its own.

    Raises:
        Exception: what it raises there.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(function, *arguments).result()


def refuse_other(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse what was run with other settings.

    Raises:
        UserError: naming each setting that differs, what it was and what it is now to be.
    """
    before, now = dict(_flat(found)), dict(_flat(expected))
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if names:
        differences = ", ".join(f"{n} = {before.get(n)}, not {now.get(n)}" for n in names)
        raise UserError(
            f"{path} was run with {differences}: give another folder with --runs, or delete it"
        )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Generator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
