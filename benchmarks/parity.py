"""How close our Fetch envs are to the official ones, and MuJoCo to what it was.

Parity: the official env, which ``envs/compat.py`` makes run, plays episodes with contact in them; ours
start from the same seeds and take the same actions. Distributions: starts and goals of ours and of
theirs, from different seeds, by Kolmogorov and Smirnov's two-sample test of every coordinate, with
Bonferroni's correction. Drift: the actions that ``record_official.py`` has stored with what they led
to on MuJoCo 3.10, on the MuJoCo installed now.

Run from the repository's root: ``python -m benchmarks.parity``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import tyro
from scipy.stats import ks_2samp
from tqdm import tqdm

from benchmarks.record_official import DATA, OFFICIAL_IDS, Recording, load, record
from benchmarks.replay import contact, differences, first_moves, replay, singles, vector
from benchmarks.report import at_least, machine, publish
from envs.compat import register_gymnasium_robotics
from envs.simulation import MAX_DISPLACEMENT

STORED = DATA / "official_mujoco_3.10.npz"
NUDGE = 2.5e-4
"""Metres, about what the home state of FetchPush and FetchSlide has drifted by."""
STEPS = (0, 1, 2, 5, 10, 15, 25, 50)
BATCH = 100
OTHER_SEEDS = 1_000_000
"""Where the seeds of our resets begin, far from those of the official env."""
ROUNDING = 9
"""Decimals kept of what is ranked: a height that is fixed must not rank by its rounding error."""


@dataclass(frozen=True)
class Arguments:
    """Differences between ours and the official Fetch envs, and between MuJoCo now and 3.10."""

    episodes: int = 100
    """Episodes of each task played by both, half with float32 and half with float64 actions."""
    resets: int = 2_000
    """Starts and goals of each task that are drawn from each."""
    out: str | None = None
    """File to write; without it, parity.json in the results folder beside this script."""
    json: bool = False
    """Print one JSON object."""


def official_starts(env: gym.Env, resets: int) -> np.ndarray:
    """Observation and goal at the start of ``resets`` episodes, ``(resets, o + g)``."""
    shown = (env.reset(seed=seed)[0] for seed in range(resets))
    return np.stack([np.append(one["observation"], one["desired_goal"]) for one in shown])


def our_starts(task: str, resets: int) -> np.ndarray:
    """The same of ours, from other seeds."""
    env = vector(task, min(BATCH, resets))
    starts = []
    for first in range(0, resets, env.num_envs):
        shown, _ = env.reset(seed=OTHER_SEEDS + first)
        starts.append(np.hstack([shown["observation"], shown["desired_goal"]]))
    env.close()
    return np.concatenate(starts)[:resets]


def distance_of_samples(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Compare two samples ``(n, d)`` coordinate by coordinate.

    Returns:
        ``fixed``: the largest difference among coordinates that never vary; ``tested``: how many do;
        ``smallest_p`` of their two-sample tests; ``corrected_p``: that times their number.
    """
    ours, theirs = ours.round(ROUNDING), theirs.round(ROUNDING)
    varies = (np.ptp(ours, axis=0) > 0.0) | (np.ptp(theirs, axis=0) > 0.0)
    fixed = np.abs(ours[0] - theirs[0])[~varies]
    tests = [ks_2samp(ours[:, i], theirs[:, i]).pvalue for i in np.flatnonzero(varies)]
    smallest = float(min(tests))
    return {
        "fixed": float(fixed.max(initial=0.0)),
        "tested": len(tests),
        "smallest_p": smallest,
        "corrected_p": min(1.0, len(tests) * smallest),
    }


def drift(task: str, stored: Recording) -> dict[str, Any]:
    """How far the stored actions lead from where they led, by step, over the episodes.

    ``nudged`` is the measure of what that means once something is hit: how far the same actions lead
    apart on one version of MuJoCo, after the first of them was a quarter of a millimetre shorter
    along each axis.
    """
    now = replay(vector(task, len(stored.seed)), stored)
    action = stored.action.copy()
    action[:, 0, :3] -= NUDGE / MAX_DISPLACEMENT * np.sign(action[:, 0, :3])
    nudged = replay(vector(task, len(stored.seed)), stored._replace(action=action))
    moves = first_moves(stored)
    gaps = np.abs(now.observation - stored.observation).max(axis=2)
    before = max(gap[:step].max() for gap, step in zip(gaps, moves, strict=True))
    return {
        "episodes": len(stored.seed),
        "now": _curves(now, stored),
        "nudged": _curves(nudged, now),
        "first_moves": moves.tolist(),
        "largest_before_first_move": float(before),
        "success_mismatches": int((now.success != stored.success).sum()),
        "successes_at_the_end": {
            "stored": int(stored.success[:, -1].sum()),
            "now": int(now.success[:, -1].sum()),
        },
    }


def _curves(one: Recording, other: Recording) -> dict[str, dict[str, dict[str, float]]]:
    """Gaps by step: an observation's worst coordinate, and metres between what was achieved."""
    gaps = {
        "observation": np.abs(one.observation - other.observation).max(axis=2),
        "achieved_goal": np.linalg.norm(one.achieved_goal - other.achieved_goal, axis=2),
    }
    return {
        name: {
            str(step): {
                "median": float(np.median(gap[:, step])),
                "largest": float(gap[:, step].max()),
            }
            for step in STEPS
        }
        for name, gap in gaps.items()
    }


def played(env: gym.Env, task: str, episodes: int) -> Iterator[Recording]:
    """Episodes of the official env, half with actions of either type."""
    half = episodes // 2
    yield record(env, task, range(half), np.float32)
    yield record(env, task, range(half, episodes), np.float64)


def parity(recordings: list[Recording], task: str) -> dict[str, Any]:
    """How ours differ on the episodes played, and what happened in those."""
    found: dict[str, Any] = {}
    for name, make in (("vector", vector), ("single", singles)):
        pairs = [differences(replay(make(task, len(one.seed)), one), one) for one in recordings]
        # NumPy's max, unlike Python's, lets no NaN by.
        found[name] = {key: float(np.max([pair[key] for pair in pairs])) for key in pairs[0]}
        found[name]["success_mismatches"] = sum(pair["success_mismatches"] for pair in pairs)
    touch = np.concatenate([one.touch for one in recordings])
    success = np.concatenate([one.success for one in recordings])
    return {
        "episodes": len(touch),
        "steps": touch.size,
        "episodes_with_contact": float(np.concatenate([contact(one) for one in recordings]).mean()),
        "steps_with_contact": float(touch.mean()),
        "episodes_with_success": float(success.any(axis=1).mean()),
        "steps_with_success": float(success.mean()),
        **found,
    }


def measure(arguments: Arguments) -> dict[str, Any]:
    """All three comparisons, task by task."""
    register_gymnasium_robotics()
    stored, versions = load(STORED)
    results: dict[str, Any] = {}
    for task, name in tqdm(OFFICIAL_IDS.items(), unit="task", disable=None):
        env = gym.make(name)
        recordings = list(played(env, task, arguments.episodes))
        starts = official_starts(env, arguments.resets)
        env.close()
        results[task] = {
            "parity": parity(recordings, task),
            "starts": distance_of_samples(our_starts(task, arguments.resets), starts),
            "drift": drift(task, stored[task]),
        }
    return {"stored_versions": versions, "tasks": results}


def main() -> None:
    """Run the comparison."""
    arguments = tyro.cli(Arguments, prog="python -m benchmarks.parity")
    at_least(2, episodes=arguments.episodes, resets=arguments.resets)
    where = machine()
    results = measure(arguments)
    publish("parity", arguments, where, results, packages=("gymnasium-robotics", "scipy"))
    if not arguments.json:
        for task in OFFICIAL_IDS:
            print(_line(task, results["tasks"][task]))


def _line(task: str, result: dict[str, Any]) -> str:
    both = (result["parity"]["vector"], result["parity"]["single"])
    largest = max(one["observation"] for one in both)
    mismatches = sum(one["success_mismatches"] for one in both)
    end = result["drift"]["now"]["achieved_goal"][str(STEPS[-1])]
    return (
        f"{task}: observations within {largest:.1e}, {mismatches} success mismatches, "
        f"contact in {result['parity']['episodes_with_contact']:.0%}, "
        f"starts p = {result['starts']['corrected_p']:.2f}, "
        f"drift {end['median']:.1e} m (median), {end['largest']:.1e} m (largest)"
    )


if __name__ == "__main__":
    main()
