"""Hindsight against what it was compared with: `python -m benchmarks.her_figure`.

The learning curves of Andrychowicz et al. 2017 ("Hindsight Experience Replay", sections 4.2, 4.4 and 4.5):
DDPG alone, with count-based exploration, with hindsight goals from the end of the episode (final) and from
what comes later in it (future, with k of them for each real goal), under the sparse and the shaped reward.
With the paper's own settings (appendix A) one process learns nothing in the steps that fit a laptop: its 8
workers took 40,000 an epoch each, for 200 epochs. So every variant has this project's settings, the same for
all, and what is compared is what the paper compares. What differs from it, beside steps and step sizes:

- A guide that knows nothing of the task, the mover, leads every variant to where something moves.
- Networks see the goal also relative to what is achieved, and what is near magnified; actions are penalised
  after they are squashed. The policy that is tested is of averaged weights.
- Tasks are today's Fetch tasks, within the paper's wider thresholds (7 cm; 20 cm for sliding). In
  pick-and-place no episode starts with the block in the gripper.

There is no relay, no scatter, no rings and no blur: nothing else of what makes our own settings faster.
Every run is a `her-robotics train` in a process and folder of its own, so a figure that is cut off
goes on where it was. The summary, the table and the picture go to benchmarks/results/.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.grid import GridArguments, run_grid

PLAIN = (
    "--agent.hidden 128 128 128 --agent.critic-norm none --agent.near-scale 0.01 --agent.near-waves false "
    "--agent.gamma 0.95 --agent.actor-lr 0.002 --agent.critic-lr 0.002 --agent.tau 0.02 "
    "--agent.average 0.003 --agent.action-l2 0.1 --agent.lookahead 1 "
    "--replay.blur 0 --replay.scatter 0 --replay.rings 1 --replay.rings-after 0 "
    "--replay.k-until None --replay.k-end 0 --exploration.epsilon 0.1 "
    "--exploration.sigma 0.1 --exploration.retry 0 --exploration.guide.name mover "
    "--exploration.guide.until None --exploration.guide.drift 0 --exploration.guide.sigma 0.3 "
    "--exploration.guide.updates 10000 --train.steps 40000 --train.batch-size 256 "
    "--train.updates-per-step 1 --eval.every 4000"
)
"""Of every variant."""
METHODS = {
    "ddpg": "--replay.strategy none",
    "ddpg-counts": "--replay.strategy none --exploration.count-bonus 1 --exploration.count-cell 0.01",
    "her-final": "--replay.strategy final --replay.k 4",
    "her-future": "--replay.strategy future --replay.k 4",
}
REWARDS = {"sparse": "--env.reward sparse", "shaped": "--env.reward dense"}
KS = (1, 2, 4, 8, 16)
THRESHOLDS = {"fetch_push": 0.07, "fetch_slide": 0.2, "fetch_pick_and_place": 0.07}
"""Distance in metres within which a goal is reached, by task."""
TASKS = tuple(THRESHOLDS)


@dataclass(frozen=True)
class Arguments(GridArguments):
    """Train DDPG with and without hindsight and counts, for every reward, and hindsight for every k."""

    tasks: tuple[str, ...] = TASKS
    """Tasks, by name."""
    runs: Path = Path("runs/benchmarks/her_figure")
    """Where the run folders go."""


def main() -> int:
    """Run the benchmark; 0 if every run finished."""
    return run(tyro.cli(Arguments, prog="python -m benchmarks.her_figure", description=__doc__))


def run(given: Arguments) -> int:
    """``main`` for a command line that was read."""
    label = "" if given.tasks == TASKS else "-" + "-".join(given.tasks)
    return run_grid("her_figure", given, given.tasks, VARIANTS, places, label)


def variants(task: str) -> dict[str, str]:
    """What `her-robotics train` is told in each variant, those of the main panels first."""
    plain = f"{PLAIN} --env.distance-threshold {THRESHOLDS[task]}"
    methods = {
        f"{reward}-{method}": f"{plain} {setting} {options}"
        for reward, setting in REWARDS.items()
        for method, options in METHODS.items()
    }
    others = {
        _with_k(k): f"{plain} {REWARDS['sparse']} --replay.strategy future --replay.k {k}"
        for k in KS
        if _with_k(k) not in methods
    }
    return methods | others


def _with_k(k: int) -> str:
    return "sparse-her-future" if k == 4 else f"sparse-her-future-k{k}"


VARIANTS = {task: variants(task) for task in TASKS}


def places(variant: str, drawn: Sequence[str]) -> list[tuple[str, str]]:
    """A row of panels for each reward, and one for k."""
    reward, _, method = variant.partition("-")
    found = [(f"{reward} reward", method)] if method in METHODS else []
    return found + [("HER future, k", f"k = {k}") for k in KS if _with_k(k) == variant]


if __name__ == "__main__":
    sys.exit(main())
