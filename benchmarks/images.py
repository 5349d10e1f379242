"""Goals and observations as images: `python -m benchmarks.images --seeds 0 1 2 3 4`.

Every config is trained over several seeds, and so is its encoder of goals, where it has one: by `her-robotics
encode`, as the one that ships was, with the run's seed; observations are seen through the same one where the
config says so. Success is judged by the simulator's goal that an
image shows. Every run is a process and a folder of its own, so a benchmark that is cut off goes on where it
was. Summary, table and picture go to benchmarks/results/.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal

import tyro
from tqdm import tqdm

from benchmarks.cells import Cell
from benchmarks.images_table import ROWS, Run, sum_up, table, walls
from benchmarks.report import RESULTS, machine, publish
from benchmarks.trainings import Trainings
from envs.shipped import trained_encoders
from her_robotics import saved_policy
from her_robotics.encoders import files as encoder_files
from her_robotics.errors import UserError
from her_robotics.files import write_text
from her_robotics.plots import plot_groups
from her_robotics.shipped import load_task_config


@dataclass(frozen=True)
class Arguments:
    """Train configs with images over several seeds and sum up."""

    configs: tuple[str, ...] = tuple(ROWS)
    """Configs to train."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds, a run each."""
    encoder: Literal["shipped", "trained"] = "trained"
    """Whether every seed trains an encoder of its own, or all take the one that ships."""
    encode_options: str = ""
    """Options handed on to `her-robotics encode`, in one string."""
    options: str = ""
    """Options handed on to `her-robotics train`, in one string."""
    workers: int = 1
    """Runs side by side; each then gets one physics thread."""
    runs: Path = Path("runs/benchmarks")
    """Where the run folders go."""
    out: str | None = None
    """The summary; without it, benchmarks/results/images-ENCODER.json."""
    json: bool = False
    """Print the summary as one JSON object."""


def plan(given: Arguments, config: str, seed: int) -> Run:
    """Where a config's run with a seed goes."""
    shipped = load_task_config(config).env.encoder
    own = given.runs / f"encoder-{shipped}-s{seed}"
    trains = given.encoder == "trained" and shipped in trained_encoders()
    folder = given.runs / Cell(config, given.encoder, seed).name
    return Run(config, seed, folder, own if trains else None)


def main() -> int:
    """Run the benchmark; 0 if every run finished."""
    given = tyro.cli(Arguments, description=__doc__)
    if unknown := [name for name in given.configs if name not in ROWS]:
        print(f"no rows for {', '.join(unknown)}: choose of {', '.join(ROWS)}")
        return 2
    if len(set(given.configs)) < len(given.configs) or len(set(given.seeds)) < len(given.seeds):
        print("--configs and --seeds must each be different ones")
        return 2
    where = machine()
    # A seed's runs one after the other, for they may share an encoder.
    of_seeds = [[plan(given, name, seed) for name in given.configs] for seed in given.seeds]
    given.runs.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(given.workers) as pool:
        jobs = pool.map(lambda of_seed: [train(given, run) for run in of_seed], of_seeds)
        codes = [*chain(*tqdm(jobs, total=len(of_seeds), unit="seed"))]
    runs = [*chain(*of_seeds)]
    if failed := [run.folder.name for run, code in zip(runs, codes, strict=True) if code]:
        print(f"these runs failed; their logs are in {given.runs}: {', '.join(failed)}")
        return 1
    summary = sum_up(runs)
    publish("images", given, where, summary, label=f"-{given.encoder}")
    base = Path(given.out) if given.out else RESULTS / f"images-{given.encoder}"
    groups = {name: [run.folder for run in runs if run.config == name] for name in given.configs}
    plot_groups(groups, base.with_suffix(".png"))
    text = table(summary["configs"])
    write_text(base.with_suffix(".md"), text)
    if not given.json:
        print(text)
    return 0


def train(given: Arguments, run: Run) -> int:
    """Train one run and its encoder, go on, or leave it as it is if it has finished; the exit code."""
    options = given.options
    if run.encoder:
        if code := _timed(
            run.encoder,
            encoder_files.CARD,
            partial(encode, given, run.config, run.seed, run.encoder),
        ):
            return code
        env = load_task_config(run.config).env
        options = f"--env.encoder {run.encoder} {options}"
        if env.observer == env.encoder:
            options = f"--env.observer {run.encoder} {options}"
    work = Trainings(given.runs, lambda *_: options, given.workers)
    cell = Cell(run.config, given.encoder, run.seed)  # whose folder is the run's
    return _timed(run.folder, saved_policy.CARD, lambda: _complete(work, cell))


def _complete(work: Trainings, cell: Cell) -> int:
    """Train, or go on; the exit code."""
    try:
        if not work.is_done(cell):
            work.run(cell)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def encode(given: Arguments, config: str, seed: int, folder: Path) -> int:
    """Train an encoder as the config's own was, which ships, but for its seed; the exit code."""
    shipped = trained_encoders()[load_task_config(config).env.encoder or ""]
    card = encoder_files.FILES.read_card(shipped)
    command = [sys.executable, "-m", "her_robotics", "encode", card["task"]]
    command += ["--encoder", card["kind"], "--out", str(folder), "--seed", str(seed)]
    for name in ("episodes", "goals", "updates"):
        command += [f"--{name}", str(card["trained"][name])]
    for name in ("size", "embedding"):
        command += [f"--{name}", str(card[name])]
    command += given.encode_options.split()
    with folder.with_suffix(".log").open("a") as log:
        return subprocess.run(command, stdout=log, stderr=log, check=False).returncode


def _timed(folder: Path, last: str, work: Callable[[], int]) -> int:
    """Do what is done once ``folder`` holds the file ``last``; note the seconds beside it, a line a try."""
    if (folder / last).exists():
        return 0
    started = time.monotonic()
    code = work()
    with walls(folder).open("a") as file:
        file.write(f"{time.monotonic() - started:.1f}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
