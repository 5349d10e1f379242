"""Stable-Baselines3 on our tasks: `python -m benchmarks.peers fetch_push --peer sb3-tqc --hours 1`.

What is measured is how long a peer trains until it succeeds, by the clock and the tests of our own
runs: the clock counts collecting and updating, not testing, and where the machine is busy a peer is
charged the processor's time alone; a test is the success at the last step of the greedy policy over the
same 100 episodes of the same seed and stream. A run ends at the first test that reaches the target, or
when its hours of that clock are spent; the same command goes on with it. A run that was gone on with has
drawn other random numbers than one that was not interrupted.

Where the settings are from: sb3-tqc has rl_zoo3 2.0's for FetchPush, without normalisation and time
feature (hyperparams/tqc.yml). The zoo now has none of SAC or DDPG for Fetch: they get the same, and
DDPG noise of standard deviation 0.2. Each ``-cpu`` variant has a batch and a network that suit a CPU,
and normalised observations, as the zoo has them for FetchReach: without them SAC with a small network
did not learn it in 8,000 steps, with them it did in 3,000. The DDPG of these is the zoo's older one for
Fetch, which it keeps in comments (her.yml), with Stable-Baselines3's default of tau and without the 30%
of uniformly random actions, which Stable-Baselines3 does not offer. All else is at Stable-Baselines3's
defaults, such as one update per env step. They are the same for every task. Updates run on the CPU, as
ours do.

Run it on a quiet machine: where other jobs hold the cores, torch's threads wait for one another, and
one thread is faster than two. The load at each start is among the results.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from benchmarks.peer_run import Limits, PeerRun
from benchmarks.peer_table import cross, format_table
from benchmarks.report import RESULTS, machine, publish
from envs import TASKS
from her_robotics.console import listening_for_stop
from her_robotics.errors import UserError

HER = {"n_sampled_goal": 4, "goal_selection_strategy": "future"}
ZOO = {"buffer_size": 1_000_000, "gamma": 0.95, "learning_rate": 1e-3, "replay_buffer_kwargs": HER}
LARGE = {"batch_size": 2048, "policy_kwargs": {"net_arch": [512, 512, 512]}}
SMALL = {
    "batch_size": 256,
    "policy_kwargs": {"net_arch": [256, 256, 256]},
    "normalize": True,
}
PEERS: dict[str, dict[str, Any]] = {
    "sb3-ddpg": {"algorithm": "ddpg", "noise": 0.2, "tau": 0.05, **ZOO, **LARGE},
    "sb3-ddpg-cpu": {"algorithm": "ddpg", "noise": 0.2, "tau": 0.005, **ZOO, **SMALL},
    "sb3-sac": {"algorithm": "sac", "tau": 0.05, **ZOO, **LARGE},
    "sb3-sac-cpu": {"algorithm": "sac", "tau": 0.05, **ZOO, **SMALL},
    "sb3-tqc": {"algorithm": "tqc", "tau": 0.05, **ZOO, **LARGE},
    "sb3-tqc-cpu": {"algorithm": "tqc", "tau": 0.05, **ZOO, **SMALL},
}


@dataclass(frozen=True)
class Arguments:
    """Train a Stable-Baselines3 peer on one task over several seeds, or print what is known."""

    task: Annotated[str, tyro.conf.Positional] = ""
    """Task to train, one of ours."""
    peer: str = "sb3-tqc-cpu"
    """Whom to train: sb3-ddpg, sb3-sac or sb3-tqc, or one of them with -cpu behind it."""
    seeds: tuple[int, ...] = (0,)
    """Seeds, a run each, one after the other."""
    hours: float = 1.0
    """Training time of each seed, unless it reaches the target before."""
    every: int = 4000
    """Env steps between tests, rounded up to whole episodes."""
    target: float = 0.95
    """Success rate at which a run ends."""
    torch_threads: int = 0
    """Threads of the updates; 0 leaves the choice to torch, which takes every core."""
    checkpoint_minutes: float = 10.0
    """Minutes between checkpoints."""
    runs: Path = Path("runs/peers")
    """Where the run folders go."""
    out: str | None = None
    """The summary; without it, benchmarks/results/peers-TASK-PEER.json."""
    json: bool = False
    """Print the summary as one JSON object."""
    table: bool = False
    """Train nothing: print all results of peers beside ours."""


def check(given: Arguments) -> None:
    """Refuse a command line before long work starts.

    Raises:
        UserError: naming what was given and what is allowed.
    """
    if not 0 < given.target <= 1:
        raise UserError(f"--target must be above 0 and at most 1, not {given.target}")
    if given.table:
        return
    if given.task not in TASKS:
        raise UserError(f"unknown task {given.task!r}: choose one of {', '.join(TASKS)}")
    if given.peer not in PEERS:
        raise UserError(f"unknown peer {given.peer!r}: choose one of {', '.join(PEERS)}")
    seeds = given.seeds
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds must be different numbers of at least 0, not {list(seeds)}")
    if not (math.isfinite(given.hours) and given.hours > 0):
        raise UserError(f"--hours must be a finite number above 0, not {given.hours}")
    if given.every < 1:
        raise UserError(f"--every must be at least 1, not {given.every}")
    if given.torch_threads < 0:
        raise UserError(f"--torch-threads must be at least 0, not {given.torch_threads}")
    if not given.checkpoint_minutes >= 0:
        raise UserError(f"--checkpoint-minutes must be at least 0, not {given.checkpoint_minutes}")


def train_and_publish(given: Arguments) -> int:
    """Train every seed, or go on with it, and publish; the exit code, 0 unless the user stopped it.

    Raises:
        UserError: if what is to be gone on with is another run.
    """
    where, rows, full = machine(), {}, {}
    if given.torch_threads:
        torch.set_num_threads(given.torch_threads)
    settings = {**PEERS[given.peer], "torch_threads": torch.get_num_threads()}
    limits = Limits(
        3600 * given.hours,
        given.target,
        given.every,
        checkpoint_seconds=60 * given.checkpoint_minutes,
    )
    with listening_for_stop() as stop:
        for seed in given.seeds:
            folder = given.runs / f"{given.task}-{given.peer}-s{seed}"
            run = PeerRun(TASKS[given.task].id, settings, seed, folder, where)
            try:
                run.train(limits, stop, name=f"{given.peer} s{seed}")
                if stop():
                    print("stopped: the same command goes on from here", file=sys.stderr)
                    return stop.exit_code
                rows[str(seed)], full = run.figures(given.target), run.settings()
            finally:
                run.close()
    results = {
        "success": "share of 100 test episodes within the threshold at their last step",
        "seconds": "collecting and updating, tests left out; the less of clock and processor time",
        "peer": full,
        "median": cross(list(rows.values()), given.target)._asdict(),
        "seeds": rows,
    }
    packages, label = ("stable-baselines3", "sb3-contrib"), f"-{given.task}-{given.peer}"
    publish("peers", given, where, results, packages, label)
    return 0


def main() -> int:
    """Run the benchmark, or print the table; the exit code."""
    given = tyro.cli(Arguments, prog="python -m benchmarks.peers", description=__doc__)
    try:
        check(given)
        if given.table:
            print(format_table(RESULTS, given.target))
            return 0
        return train_and_publish(given)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
