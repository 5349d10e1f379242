"""Samples/s and success against ranks, and what ranks make together against one process:
`python -m benchmarks.ranks`.

Each number of ranks trains the same task for the same env steps by `torchrun`. Ranks of 4, 8 and 19 (the
setting of Andrychowicz et al. 2017 and Plappert et al. 2018) are too many for a small machine to be fast;
they are simulated to see that moments, gradients and weights are what they should be.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import run
from typing import Annotated, Any

import tyro

import envs
from benchmarks.rank_parity import compared
from benchmarks.rank_processes import as_ranks
from benchmarks.report import machine, publish
from her_robotics.config import AgentConfig
from her_robotics.run_folder import CONFIG, METRICS, TIMINGS
from her_robotics.saved_policy import CARD
from her_robotics.shipped import shipped_tasks
from her_robotics.tracking import read_lines


@dataclass(frozen=True)
class Arguments:
    """Train one task by several numbers of ranks, and compare what more of them make together."""

    task: Annotated[str, tyro.conf.Positional] = "fetch_reach"
    """Task to train, as for `her-robotics train`."""
    ranks: tuple[int, ...] = (1, 2)
    """Numbers of ranks that train it."""
    simulated: tuple[int, ...] = (2, 4, 8, 19)
    """Numbers of ranks that are compared with one process."""
    steps: int = 4000
    """Env steps, summed over the ranks."""
    seed: int = 0
    """Seed of every run."""
    options: str = ""
    """Options handed on to `her-robotics train`, in one string."""
    runs: Path = Path("runs/benchmarks")
    """Where the run folders go."""
    out: str | None = None
    """The summary; without it, benchmarks/results/ranks-TASK.json."""
    json: bool = False
    """Print the summary as one JSON object."""


def main() -> int:
    """Run the benchmark; 0 if every run finished and ranks are what they should be."""
    given = tyro.cli(Arguments, description=__doc__)
    if given.task not in shipped_tasks():
        print(f"unknown task {given.task!r}: choose one of {', '.join(shipped_tasks())}")
        return 2
    where = machine()
    parity = {str(size): compare(size) for size in given.simulated}
    trained = {str(size): train(given, size) for size in given.ranks}
    content = {"parity": parity, "training": trained}
    publish("ranks", given, where, content, label=f"-{given.task}")
    if not given.json:
        print_tables(content)
    return 0


def compare(size: int) -> dict[str, Any]:
    """What ``size`` ranks make against one process, after 20 updates.

    Raises:
        SystemExit: if a rank failed, or they do not agree to the last bit.
    """
    ended = as_ranks(size, compared, 20, AgentConfig(hidden=(64, 64)), timeout=600.0)
    if any(each != ended[0] or each.code for each in ended):
        raise SystemExit(f"{size} ranks do not agree: {ended}")
    errors = {name: ended[0].given[name] for name in ("moments", "gradients")}
    return {**errors, "identical_weights": True}


def train(given: Arguments, size: int) -> dict[str, Any]:
    """The figures of a run of ``size`` ranks, which is made, gone on with, or read if it has finished.

    Raises:
        SystemExit: if it fails.
    """
    folder = given.runs / f"ranks-{given.task}-{given.steps}-s{given.seed}-n{size}"
    if not (folder / CARD).exists():
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
        command = [sys.executable, *launch, "-m", "her_robotics", "train"]
        if (folder / CONFIG).exists():
            command += ["--resume", str(folder)]
        else:
            command += [given.task, "--out", str(folder), "--seed", str(given.seed)]
            command += ["--train.steps", str(given.steps), "--wandb", "disabled"]
            command += ["--video.enabled", "false", "--train.torch-threads", "1"]
            command += ["--env.num-threads", "1"] if given.task in envs.TASKS else []
            command += given.options.split()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".log").open("a") as log:
            if run(command, stdout=log, stderr=log, check=False).returncode:
                raise SystemExit(f"{size} ranks failed: see {log.name}")
    return figures(folder)


def figures(folder: Path) -> dict[str, Any]:
    """How fast a run was, and how well it did."""
    timings, metrics = read_lines(folder / TIMINGS), read_lines(folder / METRICS)
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    last = timings[-1]
    return {
        "samples_per_second": round(last["step"] / last["seconds"], 1),
        "seconds": round(last["seconds"], 1),
        "steps": last["step"],
        "updates": metrics[-1]["updates"],
        "curve": [[row["step"], row["test/success_rate"]] for row in metrics],
        "final_success": card["test"]["success_rate"],
        "final_interval": [card["test"]["success_low"], card["test"]["success_high"]],
        "commit": card["provenance"]["commit"],
    }


def print_tables(content: dict[str, Any]) -> None:
    """One line for each number of ranks."""
    print(f"{'ranks':>6}{'moments':>12}{'gradients':>12}  largest difference, as a share")
    for size, row in content["parity"].items():
        print(f"{size:>6}{row['moments']:>12.1e}{row['gradients']:>12.1e}  weights identical")
    print(f"{'ranks':>6}{'samples/s':>12}{'updates':>12}{'success':>12}")
    for size, row in content["training"].items():
        rate, success = row["samples_per_second"], row["final_success"]
        print(f"{size:>6}{rate:>12,.0f}{row['updates']:>12,d}{success:>12.2f}")


if __name__ == "__main__":
    sys.exit(main())
