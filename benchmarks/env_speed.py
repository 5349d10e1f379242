"""How fast the vector env steps, against its peers and the bare physics it cannot outrun.

Ours is everything a step gives: observations, goals, rewards. The limit is ``mj_step`` alone, on
the stock model, from the same start states and under the same actions, by Python threads that share
the simulations out as they become free; that the two end in the same states is measured too. The
peers are the official env in Gymnasium's vector envs, and envpool if it is installed, which nothing
here depends on (``pip install envpool``).

All take their turns in every round, there and back, on the same cores. Those with few simulations play
several episodes in a turn, so that no turn has fewer steps than ``--num-envs`` episodes. Only steps
count, for nobody resets within an episode: resets are timed apart.

Run from the repository's root on a quiet machine: ``python -m benchmarks.env_speed``.
"""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata

import numpy as np
import tyro
from tqdm import tqdm

from benchmarks import env_peers as peers
from benchmarks.env_peers import BARE, ENVPOOL, LIGHT, STOCK, Contender, Player
from benchmarks.env_table import Measured, find, markdown, summary
from benchmarks.report import at_least, machine, publish
from envs import HORIZON


@dataclass(frozen=True)
class Arguments:
    """Env steps per second of FetchPush with random actions: ours, its bare physics, and our peers."""

    num_envs: int = 64
    """Simulations of the limit and of envpool, and of ours where it is compared with them."""
    sizes: tuple[int, ...] = (1, 4, 16, 64, 256, 1024)
    """Simulations of ours; --num-envs is always among them."""
    light: bool = True
    """Measure ours with the lighter model too."""
    threads: int = 2
    """Cores that all share; physics threads of ours, of the limit and of envpool."""
    workers_per_core: tuple[int, ...] = (1, 2, 4)
    """Worker processes of AsyncVectorEnv on each of these cores; the best of them is what counts."""
    rounds: int = 12
    """Rounds; the first one warms up and is dropped."""
    steps: int = HORIZON
    """Env steps of every episode, 50 at most."""
    seed: int = 0
    """Seed of the episodes and actions."""
    out: str | None = None
    """File to write; without it, env_speed.json in the results folder beside this script."""
    json: bool = False
    """Print one JSON object."""


def line_up(arguments: Arguments) -> list[Contender]:
    """Everyone to be measured; those that are compared take their turns next to each other."""
    count, threads = arguments.num_envs, arguments.threads
    names = (LIGHT, STOCK) if arguments.light else (STOCK,)
    sizes = sorted({*arguments.sizes, count})
    return [
        *(peers.ours(name, size, threads) for size in sizes if size != count for name in names),
        *(peers.ours(name, count, threads) for name in names),
        peers.bare(count, threads),
        *(peers.official_async(threads * m) for m in sorted(set(arguments.workers_per_core))),
        peers.official_sync(threads),
        *([peers.envpool(count, threads, arguments.seed)] if peers.has_envpool() else []),
    ]


def measure(contenders: list[Contender], arguments: Arguments) -> Measured:
    """Let everyone play all rounds; the first is not in what is returned."""
    stock, limit = (find(contenders, name, arguments.num_envs) for name in (STOCK, BARE))
    shape = (arguments.rounds, len(contenders))
    speeds, resets, difference = np.zeros(shape), np.zeros(shape), 0.0
    with ExitStack() as stack:
        players: list[Player] = []
        for contender in contenders:
            players.append(contender.start())
            stack.callback(players[-1].close)
        for index in tqdm(range(arguments.rounds), unit="round", disable=None):
            ends: dict[int, np.ndarray] = {}
            turns = list(range(len(players)))
            # There and back, so that a drift of the machine's speed favours none.
            for turn in reversed(turns) if index % 2 else turns:
                speeds[index, turn], resets[index, turn], ends[turn] = play(
                    players[turn], contenders[turn].envs, index, arguments
                )
            difference = max(difference, float(np.abs(ends[stock] - ends[limit]).max()))
    return Measured(speeds[1:], resets[1:], difference)


def play(
    player: Player, num_envs: int, index: int, arguments: Arguments
) -> tuple[float, float, np.ndarray]:
    """One turn: env steps per second, seconds of a reset, and where the last episodes ended."""
    # Who has as many envs in the same round plays the same episodes.
    generator = np.random.default_rng((arguments.seed, index))
    episodes = max(1, -(-arguments.num_envs // num_envs))
    played = []
    for episode in range(index * episodes, (index + 1) * episodes):
        actions = generator.uniform(-1.0, 1.0, (arguments.steps, num_envs, 4)).astype(np.float32)
        played.append(player.play(arguments.seed + episode * num_envs, actions))
    seconds = sum(one.seconds for one in played)
    reset_seconds = sum(one.reset_seconds for one in played) / episodes
    steps = episodes * num_envs * arguments.steps
    return steps / seconds, reset_seconds, played[-1].positions


def share_cores(count: int) -> list[int] | None:
    """Keep this process, and all it starts, to ``count`` cores.

    Returns:
        Their numbers, or None where the system knows no such thing.

    Raises:
        SystemExit: if there are not as many.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    if count > len(cores):
        raise SystemExit(f"--threads {count}: this process may use {len(cores)} cores only")
    os.sched_setaffinity(0, cores[:count])
    return cores[:count]


def check(arguments: Arguments) -> None:
    """Refuse what cannot be measured.

    Raises:
        SystemExit: with a message that names the argument.
    """
    at_least(2, rounds=arguments.rounds)
    at_least(1, num_envs=arguments.num_envs, threads=arguments.threads, steps=arguments.steps)
    at_least(1, sizes=min(arguments.sizes, default=1))
    at_least(1, workers_per_core=min(arguments.workers_per_core, default=0))
    if arguments.steps > HORIZON:
        raise SystemExit(f"--steps must be at most {HORIZON}, not {arguments.steps}")


def main() -> None:
    """Run the benchmark."""
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.env_speed")
    check(arguments)
    where = machine()
    cores = share_cores(arguments.threads)
    contenders = line_up(arguments)
    results = summary(contenders, measure(contenders, arguments), arguments.num_envs)
    others = (ENVPOOL,) if peers.has_envpool() else ()
    results |= {"cores": cores, ENVPOOL: metadata.version(ENVPOOL) if others else "not installed"}
    publish("env_speed", arguments, where, results, packages=others)
    if not arguments.json:
        print(markdown(results))


if __name__ == "__main__":
    main()
