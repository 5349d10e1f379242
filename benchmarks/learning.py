"""Learning curves over seeds: `python -m benchmarks.learning fetch_push --seeds 0 1 2 3 4`.

Every seed is one `her-robotics train` in a process and folder of its own, so a benchmark that is
cut off goes on where it was. The summary and the picture go to benchmarks/results/.
"""

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from benchmarks.cells import Cell, complete
from benchmarks.report import RESULTS, machine, publish
from benchmarks.trainings import Trainings, figures
from her_robotics.plots import plot_runs
from her_robotics.shipped import shipped_tasks


@dataclass(frozen=True)
class Arguments:
    """Train one task over several seeds and sum up."""

    task: Annotated[str, tyro.conf.Positional]
    """Task to train, as for `her-robotics train`."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds, a run each."""
    variant: str = "default"
    """Name of this set of options."""
    options: str = ""
    """Options handed on to `her-robotics train`, in one string."""
    workers: int = 1
    """Runs side by side; each then gets one physics thread."""
    target: float = 0.95
    """Success rate whose first crossing is reported."""
    runs: Path = Path("runs/benchmarks")
    """Where the run folders go."""
    out: str | None = None
    """The summary; without it, benchmarks/results/learning-TASK-VARIANT.json."""
    json: bool = False
    """Print the summary as one JSON object."""


def main() -> int:
    """Run the benchmark; 0 if every seed finished."""
    given = tyro.cli(Arguments, description=__doc__)
    if given.task not in shipped_tasks():
        print(f"unknown task {given.task!r}: choose one of {', '.join(shipped_tasks())}")
        return 2
    where = machine()
    work = Trainings(given.runs, lambda task, variant: given.options, given.workers)
    cells = [Cell(given.task, given.variant, seed) for seed in given.seeds]
    if code := complete(work, cells, given.workers):
        return code
    folders = [work.folder(cell) for cell in cells]
    label = f"-{given.task}-{given.variant}"
    summary = sum_up(given, folders)
    publish("learning", given, where, summary, label=label)
    output = Path(given.out) if given.out else RESULTS / f"learning{label}"
    plot_runs(folders, output.with_suffix(".png"))
    if not given.json:
        print_table(summary)
    return 0


def sum_up(given: Arguments, folders: list[Path]) -> dict[str, Any]:
    """Every seed's figures, and their medians."""
    rows = [figures(folder, given.target) for folder in folders]
    reached = [row for row in rows if row["steps_to_target"] is not None]
    medians = {
        name: statistics.median([row[name] for row in rows])
        for name in ("last_success", "final_success", "steps", "seconds")
    }
    for name in ("steps_to_target", "seconds_to_target"):
        # The median over all seeds exists only if more than half of them got there.
        ordered = sorted(row[name] for row in reached)
        middle = len(rows) // 2
        medians[name] = ordered[middle] if len(ordered) > middle else None
    return {
        "success": "share of 100 test episodes within the threshold at their last step",
        "median": medians,
        "seeds": dict(zip(map(str, given.seeds), rows, strict=True)),
    }


def print_table(summary: dict[str, Any]) -> None:
    """One line a seed, and the medians."""
    names = ("steps_to_target", "seconds_to_target", "last_success", "final_success")
    print(f"{'seed':>6}  " + "  ".join(f"{name:>17}" for name in names))
    for label, row in [*summary["seeds"].items(), ("median", summary["median"])]:
        print(f"{label:>6}  " + "  ".join(f"{row[name]!s:>17}" for name in names))


if __name__ == "__main__":
    sys.exit(main())
