"""Each lever off, one at a time: `python -m benchmarks.ablation fetch_push --seeds 0 1 --steps 40000`.

A variant is the task as it ships but for one setting: a lever off, or one that is off, on. ``full`` is
the task as it ships. Every run is a `her-robotics train` in a process and folder of its own, so an
ablation that is cut off goes on where it was. The summary, the table and the picture, in which every
variant has a panel beside ``full``, go to benchmarks/results/.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.grid import GridArguments, run_grid

FULL = "full"
LEVERS = {
    FULL: "",
    "no-guide": "--exploration.guide.name none",
    "guide-keeps-episodes": "--exploration.guide.stretch 1e9",
    "more-noise": "--exploration.epsilon 0.3 --exploration.sigma 0.2",
    "no-average": "--agent.average 1",
    "slow-targets": "--agent.tau 0.005",
    "small-steps": "--agent.actor-lr 0.001 --agent.critic-lr 0.001",
    "half-the-updates": "--train.updates-per-step 0.5",
    "two-critics": "--agent.num-critics 2",
    "two-layers": "--agent.hidden 128 128",
    "not-magnified": "--agent.near-scale None",
    "waves": "--agent.near-waves true",
    "retries": "--exploration.retry 0.5",
    "absolute-goals-alone": "--agent.relative-goal false",
    "no-hindsight": "--replay.strategy none",
    "future-k1": "--replay.strategy future --replay.k 1",
    "future-k4": "--replay.strategy future --replay.k 4",
    "no-action-l2": "--agent.action-l2 0",
    "discount-0.98": "--agent.gamma 0.98",
    "no-clip": "--agent.clip-target false",
}
"""What makes each variant of every task."""
OWN = {
    "fetch_push": {
        "no-lookahead": "--agent.lookahead 1",
        "layer-norm": "--agent.critic-norm layer",
        "relay": "--exploration.guide.name relay",
        "no-scatter": "--replay.scatter 0",
        "no-rings": "--replay.rings 1",
        "blur-instead": "--replay.scatter 0 --replay.rings 1 --replay.blur 0.17",
    },
    "fetch_pick_and_place": {
        "lookahead": "--agent.lookahead 10",
        "no-layer-norm": "--agent.critic-norm none",
        "mover": "--exploration.guide.name mover",
        "no-drift": "--exploration.guide.drift 0",
        "no-blur": "--replay.blur 0",
        "scatter-instead": "--replay.blur 0 --replay.scatter 0.35 --replay.rings 2",
        "width-128": "--agent.hidden 128 128 128",
    },
}
"""The same for what a task has of its own."""

VARIANTS = {task: {**LEVERS, **own} for task, own in OWN.items()}


@dataclass(frozen=True)
class Arguments(GridArguments):
    """Train a task without each of its levers."""

    tasks: Annotated[tuple[str, ...], tyro.conf.Positional] = tuple(OWN)
    """Tasks: fetch_push, fetch_pick_and_place or both."""
    seeds: tuple[int, ...] = (0, 1)
    """Seeds, a run each for every task and variant."""
    runs: Path = Path("runs/benchmarks/ablation")
    """Where the run folders go."""


def main() -> int:
    """Run the benchmark; 0 if every run finished."""
    return run(tyro.cli(Arguments, prog="python -m benchmarks.ablation", description=__doc__))


def run(given: Arguments) -> int:
    """``main`` for a command line that was read."""
    label = f"-{given.tasks[0]}" if len(given.tasks) == 1 else ""
    return run_grid("ablation", given, given.tasks, VARIANTS, beside_full, label)


def beside_full(variant: str, drawn: Sequence[str]) -> list[tuple[str, str]]:
    """A panel for each variant, all of them with ``full``."""
    if variant == FULL:
        return [(other, FULL) for other in drawn if other != FULL] or [("", FULL)]
    return [(variant, variant)]


if __name__ == "__main__":
    sys.exit(main())
