"""What a checkpoint costs while FetchPush trains with a full replay: `python -m benchmarks.checkpoint`.

The learner is that of `her-robotics train fetch_push` with a replay of a million transitions, filled with
episodes that the env played by random actions, over and over with other noise on them, so that they are
as large as real ones and not alike. Nothing is on the disk then: they are written between cycles, a segment
at a time, before the first checkpoint. Each of the others writes what has come in `--new-steps` env steps,
about what is played in a minute. Training waits for each of these, for one after the other. Beside it stands
what it cost to write the whole state into one file, as a plain `torch.save` does.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro

from benchmarks.report import at_least, machine, publish, spread
from her_robotics.building import build
from her_robotics.checkpoint import Checkpoints
from her_robotics.cli.making import env_maker
from her_robotics.config import Config
from her_robotics.learner import Learner
from her_robotics.rollout import episode_seeds, play
from her_robotics.sealed import write_sealed
from her_robotics.shipped import load_task_config
from her_robotics.types import Episodes

PLAYED = 64
"""Episodes that are really played."""


@dataclass(frozen=True)
class Arguments:
    """Measure the pause and the bytes of checkpoints."""

    capacity: int = 1_000_000
    """Transitions of the replay, which is full."""
    new_steps: int = 12_000
    """Env steps from one checkpoint to the next."""
    rounds: int = 15
    """Checkpoints after the first, and states written whole."""
    folder: str | None = None
    """Where to write; without it, the folder for temporary files."""
    out: str | None = None
    """The result; without it, benchmarks/results/checkpoint.json."""
    json: bool = False
    """Print the result as one JSON object."""


def configuration(capacity: int) -> Config:
    """FetchPush as it trains, with a replay of a size."""
    config = load_task_config("fetch_push")
    env = replace(config.env, num_envs=PLAYED, num_threads=1)
    return replace(config, env=env, replay=replace(config.replay, capacity=capacity))


def real_episodes(learner: Learner) -> Episodes:
    """Episodes of random actions."""
    generator = np.random.default_rng(0)
    size = (PLAYED, learner.task.shape.action)
    seeds = episode_seeds(0, 0, 0, PLAYED)
    return play(
        learner.env, learner.task.shape.horizon, seeds, lambda obs: generator.uniform(-1, 1, size)
    )


def add(learner: Learner, episodes: Episodes, count: int) -> None:
    """Add ``count`` episodes like those given, no two alike."""
    generator = np.random.default_rng(learner.replay.added)
    for first in range(0, count, PLAYED):
        chosen = [part[: count - first] for part in episodes]
        noise = [1e-3 * generator.standard_normal(part.shape, np.float32) for part in chosen]
        learner.replay.add(Episodes(*(a + b for a, b in zip(chosen, noise, strict=True))))


def fill(learner: Learner, capacity: int) -> Episodes:
    """Fill the replay, and make an update, after which optimisers have something to save."""
    episodes = real_episodes(learner)
    add(learner, episodes, capacity // learner.task.shape.horizon)
    learner.agent.observe(episodes)
    learner.agent.update(learner.replay.sample(256))
    learner.progress.steps = learner.progress.tested_at = capacity
    learner.best_policy = learner.agent.averaged.state_dict()
    return episodes


class Cost(NamedTuple):
    """What a call took.

    Attributes:
        seconds: by the clock, with waiting for the disk and for a busy machine's other work.
        processor_seconds: of its own work.
    """

    seconds: float
    processor_seconds: float


def timed(call: Callable[[], Any]) -> tuple[Cost, Any]:
    """What a call took, and what it returned."""
    start, began = time.process_time(), time.perf_counter()
    returned = call()
    return Cost(time.perf_counter() - began, time.process_time() - start), returned


def spreads(costs: list[Cost]) -> dict[str, dict[str, float]]:
    """Median and quartiles of each kind, and the largest."""
    return {
        name: spread(np.array(values)) | {"largest": max(values)}
        for name, values in zip(Cost._fields, zip(*costs, strict=True), strict=True)
    }


def measure(arguments: Arguments, folder: Path) -> dict[str, Any]:
    """Fill, write and time."""
    config = configuration(arguments.capacity)
    learner = build(config, env_maker(config.env))
    episodes = fill(learner, arguments.capacity)
    checkpoints = Checkpoints(folder)
    first, little = [], False
    while not little:
        cost, little = timed(lambda: checkpoints.write_ahead(learner.state_dict()))
        first.append(cost)
    first.append(timed(lambda: checkpoints.save(learner.state_dict()))[0])
    first_bytes = _kept(folder)
    pauses: list[Cost] = []
    whole: list[Cost] = []
    sizes = []
    for _ in range(arguments.rounds):
        add(learner, episodes, arguments.new_steps // learner.task.shape.horizon)
        pause, size = timed(lambda: checkpoints.save(learner.state_dict()))
        pauses.append(pause)
        sizes.append(size)
        whole.append(timed(lambda: write_sealed(folder / "whole", learner.state_dict()))[0])
    loading, state = timed(lambda: Checkpoints(folder).load())
    learner.load_state_dict(state)
    return {
        "transitions": len(learner.replay) * learner.task.shape.horizon,
        "first": {**spreads(first), "pauses": len(first), "bytes": first_bytes},
        "incremental": {**spreads(pauses), "bytes": int(np.median(sizes))},
        "written_whole": {**spreads(whole), "bytes": (folder / "whole").stat().st_size},
        "kept_on_disk_bytes": _kept(folder),
        "loading": loading._asdict(),
    }


def _kept(folder: Path) -> int:
    """Bytes of the checkpoints in a folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "whole"]
    return sum(path.stat().st_size for path in files)


def main() -> int:
    """Run the benchmark; returns the exit code."""
    arguments = tyro.cli(Arguments)
    at_least(1, rounds=arguments.rounds)
    at_least(50, capacity=arguments.capacity, new_steps=arguments.new_steps)
    torch.set_num_threads(1)
    where = machine()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        results = measure(arguments, Path(folder))
    publish("checkpoint", arguments, where, results)
    for name in ("first", "incremental", "written_whole"):
        took, own = (results[name][kind] for kind in Cost._fields)
        print(
            f"{name:>14}  {took['median']:7.3f} s, at most {took['largest']:7.3f} s; {own['median']:7.3f} s "
            f"of the processor  {results[name]['bytes'] / 2**20:8.1f} MiB"
        )
    print(
        f"on disk {results['kept_on_disk_bytes'] / 2**20:.1f} MiB for the last two, episodes once"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
