"""Whether training stays as it is for an hour: `python -m benchmarks.long_run --minutes 60`.

A `her-robotics train fetch_push` of 64 envs, whose replay is full early, is watched from outside: its
resident memory, threads and open file handles. Its throughput is what it notes itself, tests left out.
Ctrl-C ends it early and leaves what there is. Figures and picture go to benchmarks/results/; `--again`
judges and draws what is there once more, and trains nothing.
"""

import dataclasses
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import tyro
from tqdm import tqdm

from benchmarks.report import RESULTS, machine, publish
from envs.tasks import HORIZON
from her_robotics.files import write_text
from her_robotics.guides import mover
from her_robotics.plots import picture
from her_robotics.run_folder import TIMINGS
from her_robotics.tracking import read_lines

NAME = "long_run"
ACTIVITIES = ("env", "sample", "update")
"""What throughput counts. A guide learns for the first updates only: with it, the end would look faster."""
MEMORY_MARGIN, THROUGHPUT_MARGIN = 0.01, 0.05
STOP_SECONDS = 600
"""How long a cycle and a checkpoint may take, after which a run that was asked to stop is killed."""
GUIDE = mover.CAPACITY * HORIZON
"""Env steps after which the replay of FetchPush's guide is full."""
SHOWN = 120
"""Looks that the JSON file holds, evenly spread; the verdicts and the picture are made of all."""


@dataclass(frozen=True)
class Arguments:
    """Watch a long training run for growth of what it holds and for loss of speed."""

    minutes: float = 60.0
    """How long to train."""
    num_envs: int = 64
    """Simulations stepped at once."""
    capacity: int = 64_000
    """Transitions in the replay: few, so that it is full for most of the time."""
    every: float = 5.0
    """Seconds between looks at the process."""
    options: str = ""
    """Further options for `her-robotics train`, in one string."""
    runs: Path = Path("runs/benchmarks")
    """Where the run folder goes."""
    out: str | None = None
    """The figures; without it, benchmarks/results/long_run.json."""
    again: bool = False
    """Train nothing: judge and draw once more what an earlier run left, its looks and its throughput."""
    json: bool = False
    """Print the figures as one JSON object."""

    @property
    def full(self) -> int:
        """Env steps from which on nothing fills any more: neither the agent's replay nor its guide's."""
        return max(self.capacity, GUIDE)


class Look(NamedTuple):
    """What the process holds at a moment.

    Attributes:
        minutes: since the start.
        memory: resident, in MiB.
        threads: of the process.
        handles: open file handles.
        steps: env steps that the run had reported.
    """

    minutes: float
    memory: float
    threads: int
    handles: int
    steps: int


class Stretch(NamedTuple):
    """Throughput between two reports of the run.

    Attributes:
        steps: env steps at the second of them.
        wall: env steps per second.
        processor: env steps per second of processor time.
    """

    steps: int
    wall: float
    processor: float


def main() -> int:
    """Run the benchmark; 0 if all that is judged passes."""
    given = tyro.cli(Arguments, description=__doc__)
    if not (given.minutes > 0 and given.every > 0):
        print("--minutes and --every must be more than 0")
        return 2
    if given.again:
        return judge_again(given)
    where = machine()
    folder = given.runs / f"{NAME}-{datetime.now():%Y%m%d-%H%M%S}"
    looks, ended = watch(given, folder)
    stretches = read_stretches(folder) if looks else []
    if not stretches:
        print(f"the run reported nothing ({ended}); its log is {folder.with_suffix('.log')}")
        return 1
    verdicts = judge(looks, stretches, given.full)
    verdicts["ended as asked"] = {"passed": ended in ("time was up", "interrupted"), "how": ended}
    summary = {
        "verdicts": verdicts,
        "minutes": looks[-1].minutes,
        "greatest_memory": max(look.memory for look in looks),
        "looks": [look._asdict() for look in looks[:: -(-len(looks) // SHOWN)]],
        "stretches": [stretch._asdict() for stretch in stretches],
    }
    publish(NAME, given, where, summary, packages=("psutil",))
    path = Path(given.out) if given.out else RESULTS / NAME
    draw(path.with_suffix(".png"), looks, stretches, given.full)
    if not given.json:
        print_verdicts(verdicts)
    return 0 if all(verdict["passed"] for verdict in verdicts.values()) else 1


def judge_again(given: Arguments) -> int:
    """Judge and draw the looks that a file holds; how the run was made and ended stays as it says."""
    path = Path(given.out) if given.out else RESULTS / f"{NAME}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    kept, settings = content["results"], content["settings"]
    full = dataclasses.replace(given, capacity=settings["capacity"]).full
    looks = [Look(**look) for look in kept["looks"]]
    stretches = [Stretch(**stretch) for stretch in kept["stretches"]]
    kept["verdicts"] |= judge(looks, stretches, full)
    draw(path.with_suffix(".png"), looks, stretches, full)
    text = json.dumps(content, indent=2)
    write_text(path, text + "\n")
    print(text) if given.json else print_verdicts(kept["verdicts"])
    return 0 if all(verdict["passed"] for verdict in kept["verdicts"].values()) else 1


def watch(given: Arguments, folder: Path) -> tuple[list[Look], str]:
    """Train and look on, until the time is up, the run ends or Ctrl-C; the looks, and how it ended."""
    command = [sys.executable, "-m", "her_robotics", "train", "fetch_push", "--out", str(folder)]
    command += ["--wandb", "disabled", "--video.enabled", "false", "--train.steps", str(10**9)]
    command += ["--env.num-envs", str(given.num_envs), "--replay.capacity", str(given.capacity)]
    # A report a cycle, of few episodes.
    command += ["--eval.every", "1", "--eval.episodes", "20", *given.options.split()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Not what stood before: a job started in the background has SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with folder.with_suffix(".log").open("w") as log:
        # In a session of its own: Ctrl-C is for us, who then ask it to stop.
        run = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        looks: list[Look] = []
        try:
            ended = _look_on(given, run, folder, looks)
        except KeyboardInterrupt:
            ended = "interrupted"
        finally:
            code = _stop(run)
    return looks, ended or f"exit code {code}"


def _look_on(
    given: Arguments, run: subprocess.Popen[bytes], folder: Path, looks: list[Look]
) -> str | None:
    """Collect looks; says that the time was up, or None if the run ended by itself."""
    start, process = time.monotonic(), psutil.Process(run.pid)
    with tqdm(total=round(given.minutes, 2), unit="min", disable=None) as bar:
        while (minutes := (time.monotonic() - start) / 60) < given.minutes:
            rows = read_lines(folder / TIMINGS)
            try:
                with process.oneshot():
                    held = process.memory_info().rss / 2**20, process.num_threads()
                    handles = process.num_fds()
            except psutil.Error:  # it is gone, or a zombie that holds nothing
                return None
            look = Look(round(minutes, 3), round(held[0], 2), held[1], handles, 0)
            looks.append(look._replace(steps=rows[-1]["step"] if rows else 0))
            bar.update(minutes - bar.n)
            bar.set_postfix_str(f"{look.memory:,.0f} MiB, {looks[-1].steps:,d} steps")
            time.sleep(given.every)
            if run.poll() is not None:
                return None
    return "time was up"


def _stop(run: subprocess.Popen[bytes]) -> int:
    """Ask the run to stop, which it does after its cycle; its exit code."""
    run.send_signal(signal.SIGTERM)
    try:
        return run.wait(STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        run.kill()
        return run.wait()


def read_stretches(folder: Path) -> list[Stretch]:
    """The run's throughput from report to report; the first, of random actions, is left out."""
    rows = read_lines(folder / TIMINGS)
    stretches = []
    for before, row in itertools.pairwise(rows):
        steps = row["step"] - before["step"]
        wall, processor = (
            sum(row[f"{clock}/{name}"] for name in ACTIVITIES) for clock in ("seconds", "processor")
        )
        stretches.append(Stretch(row["step"], round(steps / wall, 2), round(steps / processor, 2)))
    return stretches


def judge(looks: list[Look], stretches: list[Stretch], full: int) -> dict[str, dict[str, Any]]:
    """What passes, by name: the first and the last tenth, and whether they are alike."""
    training = [look for look in looks if look.steps]
    filled = [look for look in looks if look.steps >= full]
    share, rate = f"{MEMORY_MARGIN:.0%}", f"{THROUGHPUT_MARGIN:.0%}"
    verdicts = {
        "memory, MiB": _compare(
            [look.memory for look in filled],
            lambda first, last: last <= first * (1 + MEMORY_MARGIN),
            "from when the replays of agent and guide are full, the median of the last tenth is at most "
            f"{share} above that of the first",
        )
    }
    for name in ("threads", "handles"):
        verdicts[name] = _compare(
            [getattr(look, name) for look in training],
            lambda first, last: last <= first,
            "from the first report on, the median of the last tenth is not above that of the first",
        )
    for name in ("wall", "processor"):
        verdicts[f"steps per second of {name} time"] = _compare(
            [getattr(stretch, name) for stretch in stretches],
            lambda first, last: abs(last / first - 1) <= THROUGHPUT_MARGIN,
            f"from the second report on, the median of the last tenth is within {rate} of the first's",
        )
    return verdicts


def _compare(
    values: Sequence[float], alike: Callable[[float, float], bool], criterion: str
) -> dict[str, Any]:
    """A verdict on the first and last tenth of ``values``; where there are too few it does not pass."""
    if len(values) < 2:
        why = f"{len(values)} values are too few to compare: train for longer"
        return {"passed": False, "criterion": criterion, "first": None, "last": None, "why": why}
    tenth = max(1, len(values) // 10)
    first, last = float(np.median(values[:tenth])), float(np.median(values[-tenth:]))
    return {"passed": alike(first, last), "criterion": criterion, "first": first, "last": last}


def draw(path: Path, looks: list[Look], stretches: list[Stretch], full: int) -> None:
    """Memory, threads and handles, and throughput, against minutes."""
    minutes = [look.minutes for look in looks]
    filled = next((look.minutes for look in looks if look.steps >= full), None)
    reported = {look.steps: look.minutes for look in reversed(looks)}
    seen = [stretch for stretch in stretches if stretch.steps in reported]
    when = [reported[stretch.steps] for stretch in seen]
    with picture(path, 3, figsize=(15, 4)) as axes:
        axes[0].plot(minutes, [look.memory for look in looks])
        axes[0].set(ylabel="resident memory, MiB")
        for name in ("threads", "handles"):
            axes[1].plot(minutes, [getattr(look, name) for look in looks], label=name)
        for name in ("wall", "processor"):
            label = f"per second of {name} time"
            axes[2].plot(when, [getattr(stretch, name) for stretch in seen], label=label)
        axes[2].set(ylabel="env steps, tests left out")
        for axis in axes:
            axis.set(xlabel="minutes")
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
            if filled is not None:
                axis.axvline(filled, color="grey", ls=":", label="replays full")
            if axis.get_legend_handles_labels()[0]:
                axis.legend(loc="lower right")


def print_verdicts(verdicts: dict[str, dict[str, Any]]) -> None:
    """One line for each."""
    for name, verdict in verdicts.items():
        word = "pass" if verdict["passed"] else "fail"
        told = (
            verdict.get("how") or verdict.get("why") or f"{verdict['first']} to {verdict['last']}"
        )
        print(f"{word}  {name:34} {told}")


if __name__ == "__main__":
    sys.exit(main())
