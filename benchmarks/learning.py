"""Learning curves over seeds: `python -m benchmarks.learning fetch_push --seeds 0 1 2 3 4`.

Every seed is one `her-robotics train` in a process and folder of its own, so a benchmark that is
cut off goes on where it was. The summary and the picture go to benchmarks/results/.
"""

import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tqdm import tqdm

from benchmarks.report import RESULTS, machine, publish
from envs import TASKS
from her_robotics.checkpoint import CARD
from her_robotics.config import shipped_tasks
from her_robotics.errors import UserError
from her_robotics.plots import plot_runs
from her_robotics.run_folder import CONFIG, METRICS, TIMINGS
from her_robotics.tracking import read_lines


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
    folders = [given.runs / f"{given.task}-{given.variant}-s{seed}" for seed in given.seeds]
    with ThreadPoolExecutor(given.workers) as pool:
        runs = zip(given.seeds, folders, strict=True)
        jobs = [pool.submit(run_seed, given, seed, folder) for seed, folder in runs]
        codes = [job.result() for job in tqdm(jobs, desc=given.task, unit="seed")]
    if any(codes):
        print(f"exit codes of the seeds: {dict(zip(given.seeds, codes, strict=True))}")
        return 1
    label = f"-{given.task}-{given.variant}"
    summary = sum_up(given, folders)
    plot_runs(
        folders,
        (Path(given.out) if given.out else RESULTS / f"learning{label}").with_suffix(".png"),
    )
    publish("learning", given, where, summary, label=label)
    if not given.json:
        print_table(summary)
    return 0


def run_seed(given: Arguments, seed: int, folder: Path) -> int:
    """Train one seed, go on with it, or leave it as it is if it has finished; the exit code."""
    if (folder / CARD).exists():
        return 0
    command = [sys.executable, "-m", "her_robotics", "train"]
    if (folder / CONFIG).exists():
        command += ["--resume", str(folder)]
    else:
        command += [given.task, "--seed", str(seed), "--out", str(folder), "--wandb", "disabled"]
        command += ["--video.enabled", "false", *given.options.split()]
        physics = given.workers > 1 and given.task in TASKS
        command += ["--env.num-threads", "1"] if physics else []
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".log").open("a") as log:
        return subprocess.run(command, stdout=log, stderr=log, check=False).returncode


def sum_up(given: Arguments, folders: list[Path]) -> dict[str, Any]:
    """Every seed's figures, and their medians."""
    rows = [seed_figures(folder, given.target) for folder in folders]
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


def seed_figures(folder: Path, target: float) -> dict[str, Any]:
    """One run: its curve, when it first reached the target, and its last test on fresh episodes."""
    metrics, timings = read_lines(folder / METRICS), read_lines(folder / TIMINGS)
    card = json.loads((folder / CARD).read_text())
    curve = [
        {
            "step": row["step"],
            "seconds": round(time["seconds"], 2),
            "success": row["test/success_rate"],
            "moved": row["test/moved_rate"],
        }
        for row, time in zip(metrics, timings, strict=True)
    ]
    first = next((point for point in curve if point["success"] >= target), None)
    if card["trained"]["steps"] != curve[-1]["step"]:
        raise UserError(f"{folder}: the policy is of another run than the curve")
    return {
        "steps_to_target": first and first["step"],
        "seconds_to_target": first and first["seconds"],
        "last_success": curve[-1]["success"],
        "final_success": card["test"]["success_rate"],
        "final_interval": [card["test"]["success_low"], card["test"]["success_high"]],
        "steps": curve[-1]["step"],
        "seconds": curve[-1]["seconds"],
        "commit": card["provenance"]["commit"],
        "curve": curve,
    }


def print_table(summary: dict[str, Any]) -> None:
    """One line a seed, and the medians."""
    names = ("steps_to_target", "seconds_to_target", "last_success", "final_success")
    print(f"{'seed':>6}  " + "  ".join(f"{name:>17}" for name in names))
    for label, row in [*summary["seeds"].items(), ("median", summary["median"])]:
        print(f"{label:>6}  " + "  ".join(f"{row[name]!s:>17}" for name in names))


if __name__ == "__main__":
    sys.exit(main())
