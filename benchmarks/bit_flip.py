"""DQN on bit flipping with and without hindsight: `python -m benchmarks.bit_flip`.

The experiment of figure 1 of Andrychowicz et al. 2017: success against the number of bits. Every run has
the same env steps and updates, whatever its bits, and is a `her-robotics train bit_flip` in a process and
folder of its own, so a benchmark that is cut off goes on where it was. What differs from the paper stands
in envs/bit_flip.py. The summary and the picture go to benchmarks/results/.
"""

import itertools
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks.cells import Cell, complete
from benchmarks.report import RESULTS, machine, publish
from benchmarks.trainings import Trainings, figures
from her_robotics.plots import plot_against
from her_robotics.statistics import bootstrap_interval

TASK = "bit_flip"
LABELS = {"future": "DQN + HER (future)", "none": "DQN"}


@dataclass(frozen=True)
class Arguments:
    """Train DQN for every number of bits, with hindsight and without, over several seeds."""

    bits: tuple[int, ...] = (5, 10, 13, 15, 20, 25, 30, 40)
    """Numbers of bits."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds, a run each."""
    options: str = ""
    """Options handed on to `her-robotics train`, in one string."""
    workers: int = 1
    """Runs side by side."""
    target: float = 0.95
    """Success rate whose first crossing is reported."""
    runs: Path = Path("runs/benchmarks")
    """Where the run folders go."""
    out: str | None = None
    """The summary; without it, benchmarks/results/bit_flip.json."""
    json: bool = False
    """Print the summary as one JSON object."""


def main() -> int:
    """Run the benchmark; 0 if every run finished."""
    given = tyro.cli(Arguments, description=__doc__)
    if len(set(given.bits)) < len(given.bits) or len(set(given.seeds)) < len(given.seeds):
        print("--bits and --seeds must each be different numbers")
        return 2
    where = machine()
    work = Trainings(given.runs, lambda task, variant: options(given, variant), given.workers)
    cells = [
        Cell(TASK, variant(strategy, bits), seed)
        for seed in given.seeds  # so that one that is cut off has a whole curve first
        for bits in given.bits
        for strategy in LABELS
    ]
    if code := complete(work, cells, given.workers):
        return code
    summary = sum_up(given, work)
    picture = Path(given.out) if given.out else RESULTS / TASK
    plot_against(picture.with_suffix(".png"), "bits", successes(summary))
    publish(TASK, given, where, summary)
    if not given.json:
        print_table(summary)
    return 0


def variant(strategy: str, bits: int) -> str:
    """What a strategy with so many bits is called."""
    return f"{strategy}-{bits}"


def options(given: Arguments, variant: str) -> str:
    """How ``her-robotics train`` is told of a variant."""
    strategy, _, bits = variant.partition("-")
    return f"--env.bits {bits} --replay.strategy {strategy} {given.options}"


def sum_up(given: Arguments, work: Trainings) -> dict[str, Any]:
    """Every run's figures, and those over its seeds, by strategy and bits."""
    rows: dict[str, dict[str, dict[str, Any]]] = {strategy: {} for strategy in LABELS}
    for strategy, bits in itertools.product(LABELS, given.bits):
        seeds = rows[strategy][str(bits)] = {}
        for seed in given.seeds:
            folder = work.folder(Cell(TASK, variant(strategy, bits), seed))
            seeds[str(seed)] = figures(folder, given.target)
            del seeds[str(seed)]["curve"]  # all of them would be most of the file
    return {
        "success": "share of 100 fresh test episodes that are at the goal at their last step",
        **{
            strategy: {bits: over_seeds(seeds) for bits, seeds in by_bits.items()}
            for strategy, by_bits in rows.items()
        },
    }


def over_seeds(seeds: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Success over the runs of one kind, with its bootstrap interval, and every one of them."""
    success = np.array([each["final_success"] for each in seeds.values()])
    reached = [each for each in seeds.values() if each["steps_to_target"] is not None]
    low, high = bootstrap_interval(success, np.mean)
    return {
        "mean": float(success.mean()),
        "interval": [float(low), float(high)],
        "reached_target": len(reached),
        "seconds": statistics.median(each["seconds"] for each in seeds.values()),
        "seeds": seeds,
    }


def successes(summary: dict[str, Any]) -> dict[str, dict[float, list[float]]]:
    """Every seed's success by the number of bits, for the picture."""
    return {
        label: {
            float(bits): [each["final_success"] for each in row["seeds"].values()]
            for bits, row in summary[strategy].items()
        }
        for strategy, label in LABELS.items()
    }


def print_table(summary: dict[str, Any]) -> None:
    """Mean success of every number of bits, and what its seeds lie between."""
    print(f"{'bits':>6}  " + "  ".join(f"{label:>20}" for label in LABELS.values()))
    for bits in summary["future"]:
        cells = []
        for strategy in LABELS:
            row = summary[strategy][bits]
            every = [each["final_success"] for each in row["seeds"].values()]
            cells.append(f"{row['mean']:.2f} ({min(every):.2f}–{max(every):.2f})")
        print(f"{bits:>6}  " + "  ".join(f"{cell:>20}" for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
