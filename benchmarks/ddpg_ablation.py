"""Whether DDPG needs its target networks: `python -m benchmarks.ddpg_ablation`.

The experiment of figure 2 of Lillicrap et al. (2015), who find them crucial: DDPG with target networks and
without, each with and without batch normalisation, and with them from pixels. Pixels are seen through the
encoder that ships, which was trained beforehand with positions for labels, where the paper trains from
pixels alone; there are none of the pendulum. Targets are not clipped, nor are there goals in hindsight, as
in the paper; all else is this project's `ddpg`. Every task, variant and seed is one cell, as in
benchmarks/methods.py. Figures, verdict and picture go to benchmarks/results/.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks import methods
from benchmarks.cells import Cell, complete
from benchmarks.methods import TASKS, Comparison, format_results, list_cells, sum_up
from benchmarks.report import RESULTS, machine, publish
from her_robotics.cli.making import env_maker
from her_robotics.config import EnvConfig
from her_robotics.demos.demo import table
from her_robotics.methods import METHODS, Method, Problem
from her_robotics.methods.off_policy import ddpg
from her_robotics.plots import picture
from her_robotics.statistics import bootstrap_interval

NAME = "ddpg_ablation"
NONE = {"tau": 1.0}
"""Targets that follow all the way are the networks themselves."""
VARIANTS: dict[str, dict[str, Any]] = {
    "no_target": NONE,
    "target": {},
    "batch_norm": {**NONE, "batch_norm": True},
    "target_batch_norm": {"batch_norm": True},
    "target_pixels": {},
}
"""What each is to `ddpg`, beside what all are."""
PIXELS = "target_pixels"
SEEN = partial(
    EnvConfig, task="fetch_reach", observation="image", observer="fetch_reach", num_threads=1
)
SEEN_TASKS = {"fetch_reach_dense": SEEN(reward="dense"), "fetch_reach": SEEN()}
"""Tasks whose observations may be images."""
RANDOM = "random"
"""What learning begins from: random actions, which every other variant is measured from."""
PAIRS = {"target": "no_target", "target_batch_norm": "batch_norm"}
"""Variants that differ in nothing but their target networks: with them, and without."""
CRUCIAL = 0.5
"""Share of what is learnt that must be lost without target networks for them to be called crucial."""
VERDICTS = ("crucial", "not crucial", "open", "nothing learnt")


@dataclass(frozen=True)
class Arguments(methods.Arguments):
    """Train DDPG with and without target networks and batch normalisation, over seeds."""

    tasks: tuple[str, ...] = ("fetch_reach_dense", "fetch_reach", "pendulum")
    """Tasks, by name."""
    methods: tuple[str, ...] = (RANDOM, *VARIANTS)
    """Variants, by name."""
    budget: int = 10_000
    """Env steps that each may learn from, in whole iterations."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers of every network."""
    episodes: int = 50
    """Episodes of each test."""
    updates: float = 1.0
    """Updates for each env step."""
    runs: Path = Path(f"runs/benchmarks/{NAME}")
    """Where finished cells go."""
    out: str | None = None
    """The result, beside which the picture goes; without it, benchmarks/results/ddpg_ablation.json."""


@dataclass(frozen=True)
class Ablation(Comparison):
    """What the cells are: a variant of DDPG learns a task."""

    given: Arguments

    def method(self, cell: Cell) -> Method:
        return METHODS[RANDOM] if cell.variant == RANDOM else partial(ddpg, **self._options(cell))

    def problem(self, cell: Cell) -> Problem:
        problem = super().problem(cell)
        if cell.variant != PIXELS:
            return problem
        # Where the goal lies from the gripper would tell what pixels are to show.
        return replace(problem, make_env=env_maker(SEEN_TASKS[cell.task]), relative_goal=False)

    def settings(self, cell: Cell) -> dict[str, Any]:
        return {**super().settings(cell), **self._options(cell)}

    def _options(self, cell: Cell) -> dict[str, Any]:
        if cell.variant == RANDOM:
            return {}
        return {"clip_target": False, "updates": self.given.updates, **VARIANTS[cell.variant]}


def main() -> int:
    """Run the benchmark; 0 if every cell finished."""
    given = tyro.cli(Arguments, prog=f"python -m benchmarks.{NAME}", description=__doc__)
    refuse_nonsense(given)
    where = machine()
    work, cells = Ablation(given), cells_of(given)
    if code := complete(work, cells, given.workers):
        return code
    results = sum_up(work, cells)
    results["with target networks"] = judge(results["tasks"])
    publish(NAME, given, where, results)
    output = Path(given.out) if given.out else RESULTS / f"{NAME}.json"
    draw(output.with_suffix(".png"), results["tasks"])
    if not given.json:
        print(format_results(results), format_verdict(results["with target networks"]), sep="\n\n")
    return 0


def cells_of(given: Arguments) -> list[Cell]:
    """Every cell, less those of pixels where a task has none."""
    return [cell for cell in list_cells(given) if cell.variant != PIXELS or cell.task in SEEN_TASKS]


def refuse_nonsense(given: Arguments) -> None:
    """Refuse unknown names and numbers that mean nothing.

    Raises:
        SystemExit: with a message that names what was given and what is allowed.
    """
    methods.refuse_nonsense(given, (RANDOM, *VARIANTS))
    if not given.updates > 0.0:
        raise SystemExit(f"--updates must be above 0, not {given.updates}")
    if len(given.hidden) < 2:  # with batch normalisation, actions enter a critic at its second
        raise SystemExit(f"--hidden must be two or more widths, not {given.hidden}")


def score(task: str) -> str:
    """What a task is judged by."""
    return "success" if TASKS[task].goals else "return"


def late(task: str, run: dict[str, Any]) -> float:
    """The mean score of the last half of a run's tests: a policy that comes and goes is half as good."""
    curve = run["curve"]
    return float(np.mean([point[score(task)] for point in curve[len(curve) // 2 :]]))


def judge(tasks: dict[str, Any]) -> dict[str, Any]:
    """What is lost without target networks in each pair of variants, and what follows from it."""
    losses = [
        loss(task, having, lacking, found)
        for task, found in tasks.items()
        for having, lacking in PAIRS.items()
        if {having, lacking, RANDOM} <= found.keys()
    ]
    counts = {verdict: sum(each["verdict"] == verdict for each in losses) for verdict in VERDICTS}
    return {"threshold": CRUCIAL, "losses": losses, "counts": counts, "crucial": conclude(counts)}


def loss(task: str, having: str, lacking: str, found: dict[str, Any]) -> dict[str, Any]:
    """One pair's figures: means over seeds of their ``late`` scores, and the share of learning lost.

    That share is (with - without) / (with - random), of means over seeds. Its 95% interval is by the
    bootstrap over seeds, which all variants are resampled by alike. None of a single seed, or where it is
    not sure that anything was learnt.
    """
    names = (having, lacking, RANDOM)
    scores = np.array([[late(task, run) for run in found[name]["runs"]] for name in names]).T
    figures = dict(zip(("with", "without", RANDOM), scores.mean(0).tolist(), strict=True))
    return {
        "task": task,
        "pair": [having, lacking],
        "score": score(task),
        **figures,
        **_share_lost(scores),
    }


def _share_lost(scores: np.ndarray) -> dict[str, Any]:
    """The share lost, its interval and the verdict, of scores ``(seeds, 3)``."""
    undecided = {"share": None, "interval": None}
    if len(scores) < 2:
        return {**undecided, "verdict": "open"}
    learnt, _ = bootstrap_interval(scores[:, 0] - scores[:, 2], np.mean)
    if not learnt > 0.0:
        return {**undecided, "verdict": "nothing learnt"}

    def share(values: np.ndarray, axis: int) -> np.ndarray:
        having, lacking, random = np.moveaxis(values.mean(axis), -1, 0)
        return (having - lacking) / (having - random)

    low, high = map(float, bootstrap_interval(scores, share))
    verdict = "crucial" if low > CRUCIAL else "not crucial" if high < CRUCIAL else "open"
    return {"share": float(share(scores, 0)), "interval": [low, high], "verdict": verdict}


def conclude(counts: dict[str, int]) -> str:
    """Whether "target networks are crucial" holds for what was compared."""
    crucial, not_crucial, undecided, _ = (counts[verdict] for verdict in VERDICTS)
    if crucial and not_crucial:
        return "confirmed in part"
    if undecided or not (crucial or not_crucial):
        return "open"
    return "confirmed" if crucial else "refuted"


def format_verdict(verdict: dict[str, Any]) -> str:
    """One row a pair, and the conclusion."""
    rows = []
    for each in verdict["losses"]:
        numbers = [f"{each[name]:.2f}" for name in ("with", "without", RANDOM)]
        share, interval = each["share"], each["interval"]
        lost = "-" if share is None else f"{share:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"
        label = f"{each['task']}, {each['pair'][0]}"
        rows.append([label, each["score"], *numbers, lost, each["verdict"]])
    header = ["last half of tests", "score", "with", "without", RANDOM, "share lost without", ""]
    decided = ", ".join(f"{count} {name}" for name, count in verdict["counts"].items() if count)
    end = f'"Target networks are crucial": {verdict["crucial"]} ({decided})'
    return f"{table(header, rows)}\n\n{end}"


def draw(output: Path, tasks: dict[str, Any]) -> None:
    """Scores against env steps, a panel a task: mean over seeds and its 95% bootstrap interval."""
    with picture(output, len(tasks), figsize=(4.8 * len(tasks), 3.8)) as axes:
        for axis, (task, found) in zip(axes, tasks.items(), strict=True):
            for colour, (variant, figures) in enumerate(found.items()):
                steps, values = curves(score(task), figures["runs"])
                if variant == RANDOM:  # it learns nothing, and is tested once
                    axis.axhline(values.mean(), color=f"C{colour}", ls=":", label=variant)
                    continue
                low, high = bootstrap_interval(values, np.mean)
                axis.plot(steps, values.mean(0), color=f"C{colour}", label=variant)
                axis.fill_between(steps, low, high, color=f"C{colour}", alpha=0.2, lw=0)
            axis.set(title=task, xlabel="env steps", ylabel=score(task))
            axis.grid(alpha=0.3)
        axes[0].legend(fontsize="small")


def curves(name: str, runs: Sequence[dict[str, Any]]) -> tuple[list[int], np.ndarray]:
    """Steps of the tests, and a figure of every run at them, ``(runs, tests)``."""
    values = [[point[name] for point in run["curve"]] for run in runs]
    return [point["step"] for point in runs[0]["curve"]], np.array(values)


if __name__ == "__main__":
    sys.exit(main())
