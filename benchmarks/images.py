"""Goals and observations as images: `python -m benchmarks.images --seeds 0 1 2 3 4`.

Every config is trained over several seeds, and so is its encoder, where it has one: by `her-robotics
encode`, as the one that ships was, with the run's seed. Success is judged by the simulator's goal that an
image shows. Every run is a process and a folder of its own, so a benchmark that is cut off goes on where it
was. Summary, table and picture go to benchmarks/results/.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tyro
from tqdm import tqdm

from benchmarks import trainings
from benchmarks.cells import Cell
from benchmarks.report import RESULTS, machine, publish
from benchmarks.trainings import Trainings
from envs.shipped import trained_encoders, trained_policies
from her_robotics import checkpoint
from her_robotics.config import load_task_config
from her_robotics.encoders import files as encoder_files
from her_robotics.errors import UserError
from her_robotics.files import write_text
from her_robotics.plots import plot_groups


class Row(NamedTuple):
    """A config to train, and what it is to reach.

    Attributes:
        sees: what policy and training are given to see.
        target: success at the last step.
        steps: env steps within which to reach it, those of the policy it starts from included; None for any.
        minutes: the same for time, encoder included, tests left out.
    """

    sees: str
    target: float
    steps: int | None = None
    minutes: float | None = None


ROWS = {
    "fetch_reach_image": Row("state, goal image", 0.98, 20_000, 5.0),
    "fetch_reach_cnn": Row("state, goal image end to end", 0.98, 20_000, 5.0),
    "fetch_push_image": Row("state, goal image", 0.90, None, 45.0),
}
"""By the name of the config."""


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


@dataclass(frozen=True)
class Run:
    """One config trained with one seed.

    Attributes:
        config: its name.
        seed: of encoder and policy.
        folder: where it goes.
        encoder: where its own encoder goes, if it is to train one; configs of one seed share it.
    """

    config: str
    seed: int
    folder: Path
    encoder: Path | None


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
        options = f"--env.encoder {run.encoder} {options}"
    work = Trainings(given.runs, lambda *_: options, given.workers)
    cell = Cell(run.config, given.encoder, run.seed)  # whose folder is the run's
    return _timed(run.folder, checkpoint.CARD, lambda: _complete(work, cell))


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
    with _walls(folder).open("a") as file:
        file.write(f"{time.monotonic() - started:.1f}\n")
    return code


def _walls(folder: Path) -> Path:
    return folder.with_suffix(".seconds")


def sum_up(runs: list[Run]) -> dict[str, Any]:
    """Every run's figures, and those over its seeds, by config."""
    seeds: dict[str, dict[str, dict[str, Any]]] = {}
    for run in runs:
        seeds.setdefault(run.config, {})[str(run.seed)] = figures(run)
    return {
        "success": "share of the test episodes of a run whose last step is within the threshold of "
        "the simulator's goal that the image shows",
        "steps and seconds": "those of the policy that training starts from and of the encoder included, "
        "tests left out",
        "wall_seconds": "of all commands of a run, start-up and tests included; a bank of goal images that "
        "was cached is not counted",
        "configs": {name: over_seeds(name, of_config) for name, of_config in seeds.items()},
    }


def figures(run: Run) -> dict[str, Any]:
    """One run: its curve, what came before it, when it first reached the target, and its last test."""
    found = trainings.figures(run.folder, ROWS[run.config].target)
    before = {"steps": 0, "seconds": 0.0}
    card = run.folder / encoder_files.CARD
    if card.exists():
        before["seconds"] += json.loads(card.read_text())["trained"]["seconds"]
    found["encoder_seconds"] = before["seconds"]
    start = load_task_config(run.config).train.start_from
    if start:
        trained = checkpoint.FILES.read_card(trained_policies()[start])["trained"]
        before = {name: before[name] + trained[name] for name in before}
    found["before"] = before
    for name, earlier in before.items():
        found[name] += earlier
        reached = found[f"{name}_to_target"]
        found[f"{name}_to_target"] = None if reached is None else reached + earlier
    folders = [run.folder, *([run.encoder] if run.encoder else [])]
    tries = " ".join(_walls(folder).read_text() for folder in folders).split()
    found["wall_seconds"] = round(sum(map(float, tries)), 1)
    return found


def over_seeds(config: str, seeds: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the runs of one config come to; the median exists if more than half of them have the figure."""
    medians: dict[str, float | None] = {}
    for name in (
        "final_success",
        "steps_to_target",
        "seconds_to_target",
        "seconds",
        "wall_seconds",
    ):
        known = sorted(each[name] for each in seeds.values() if each[name] is not None)
        if len(known) == len(seeds):
            medians[name] = statistics.median(known)
        else:
            medians[name] = known[len(seeds) // 2] if len(known) > len(seeds) // 2 else None
    chosen = load_task_config(config)
    return {
        "wanted": ROWS[config]._asdict(),
        "starts_from": chosen.train.start_from,
        "encoder": chosen.env.encoder,
        "median": medians,
        "seeds": seeds,
    }


def table(configs: dict[str, dict[str, Any]]) -> str:
    """The summary as a Markdown table."""
    lines = [
        "| config | sees | wanted | success on fresh episodes, median (all seeds) | steps to it | minutes "
        "to it, encoder included | wall-clock of a run, minutes |",
        "|---|---|---|---|--:|--:|--:|",
    ]
    for name, row in configs.items():
        wanted, median = row["wanted"], row["median"]
        bounds = [f"≥ {wanted['target']:.2f}"]
        bounds += [f"{wanted['steps']:,d} steps"] if wanted["steps"] else []
        bounds += [f"{wanted['minutes']:.0f} min"] if wanted["minutes"] else []
        every = ", ".join(f"{each['final_success']:.2f}" for each in row["seeds"].values())
        steps = median["steps_to_target"]
        cells = [
            f"`{name}`" + (f", from `{row['starts_from']}`" if row["starts_from"] else ""),
            wanted["sees"],
            " within ".join(bounds[:2]) + "".join(f", {bound}" for bound in bounds[2:]),
            f"{median['final_success']:.2f} ({every})",
            "not reached" if steps is None else f"{steps:,.0f}",
            *(_minutes(median[which]) for which in ("seconds_to_target", "wall_seconds")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _minutes(seconds: float | None) -> str:
    return "not reached" if seconds is None else f"{seconds / 60.0:.1f}"


if __name__ == "__main__":
    sys.exit(main())
