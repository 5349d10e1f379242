"""What the rounds of ``benchmarks.env_speed`` say: rows with ratios, targets, and a table to read."""

from typing import Any, NamedTuple

import numpy as np

from benchmarks.env_peers import ASYNC, BARE, ENVPOOL, LIGHT, STOCK, SYNC, Contender
from benchmarks.report import spread

LABELS = {
    STOCK: "ours, stock model",
    LIGHT: "ours, lighter model",
    BARE: "bare `mj_step`, stock model",
    SYNC: "official env, `SyncVectorEnv`",
    ASYNC: "official env, `AsyncVectorEnv`",
    ENVPOOL: "envpool",
}
HEADER = """\
| FetchPush, random actions | envs | stepped by | env steps/s (quartiles) | of bare | of the best Async |
|---|--:|---|--:|--:|--:|"""


class Measured(NamedTuple):
    """What c contenders did in r rounds.

    Attributes:
        speeds: ``(r, c)`` env steps per second.
        resets: ``(r, c)`` mean seconds of a reset of all their simulations.
        difference: farthest that gripper or object of ours ended from those of the limit, metres.
    """

    speeds: np.ndarray
    resets: np.ndarray
    difference: float


class Target(NamedTuple):
    """What one of ours is to reach where it is compared.

    Attributes:
        name: which of ours.
        figure: the figure in its row of the results.
        least: what its median is to be at least.
    """

    name: str
    figure: str
    least: float


TARGETS = (
    Target(STOCK, "steps_per_second", 4_000),
    Target(STOCK, "over_bare", 0.95),
    Target(STOCK, "over_best_async", 2.0),
    Target(LIGHT, "over_best_async", 3.0),
)


def find(contenders: list[Contender], name: str, num_envs: int) -> int:
    """Where the contender of that name and size stands."""
    return [(one.name, one.envs) for one in contenders].index((name, num_envs))


def summary(contenders: list[Contender], measured: Measured, num_envs: int) -> dict[str, Any]:
    """A row for everyone, and how far the targets are met at ``num_envs``.

    A ratio is that of two speeds in the same round. The best of the Async variants is the one whose
    median is highest.
    """
    speeds = measured.speeds
    limit = speeds[:, find(contenders, BARE, num_envs)]
    medians = {
        index: np.median(speeds[:, index])
        for index, one in enumerate(contenders)
        if one.name == ASYNC
    }
    best = max(medians, key=medians.__getitem__)
    rows = [
        {
            "name": one.name,
            "envs": one.envs,
            "workers": one.workers,
            "steps_per_second": spread(speeds[:, index]),
            "over_bare": spread(speeds[:, index] / limit),
            "over_best_async": spread(speeds[:, index] / speeds[:, best]),
            "reset_milliseconds": spread(1e3 * measured.resets[:, index]),
            "rounds": speeds[:, index].round(1).tolist(),
        }
        for index, one in enumerate(contenders)
    ]
    return {
        "rows": rows,
        "best_async_workers": contenders[best].workers,
        "light_over_stock": _gain(contenders, speeds),
        "largest_difference_metres": measured.difference,
        "targets": _judge(rows, num_envs),
    }


def markdown(results: dict[str, Any]) -> str:
    """The rows as a table, ours by size first, and below it the targets and who is missing."""
    order = list(LABELS)
    rows = sorted(results["rows"], key=lambda row: (order.index(row["name"]), row["envs"]))
    lines = [HEADER, *map(_line, rows), ""]
    for target in results["targets"]:
        verdict = "met" if target["met"] else "missed"
        what = f"{LABELS[target['name']]}, {target['figure']}"
        lines.append(f"{what}: {target['median']:,.4g}, target {target['least']:,} {verdict}")
    for size, gain in results["light_over_stock"].items():
        lines.append(f"lighter over stock model at {size} envs: {gain['median']:.2f}")
    lines.append(f"largest difference from bare: {results['largest_difference_metres']:.1e} m")
    lines.append(f"envpool: {results[ENVPOOL]}")
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    kind = ("process", "processes") if row["name"] == ASYNC else ("thread", "threads")
    speed = row["steps_per_second"]
    cells = [
        LABELS[row["name"]],
        str(row["envs"]),
        f"{row['workers']} {kind[row['workers'] > 1]}",
        f"{speed['median']:,.0f} ({speed['quartile_low']:,.0f}–{speed['quartile_high']:,.0f})",
        f"{row['over_bare']['median']:.3f}",
        f"{row['over_best_async']['median']:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def _gain(contenders: list[Contender], speeds: np.ndarray) -> dict[str, dict[str, float]]:
    """Speed with the lighter model over that with the stock model, by the number of envs."""
    sizes = sorted(one.envs for one in contenders if one.name == LIGHT)
    gains = {}
    for size in sizes:
        light, stock = (speeds[:, find(contenders, name, size)] for name in (LIGHT, STOCK))
        gains[str(size)] = spread(light / stock)
    return gains


def _judge(rows: list[dict[str, Any]], num_envs: int) -> list[dict[str, Any]]:
    judged = []
    for target in TARGETS:
        for row in rows:
            if (row["name"], row["envs"]) == (target.name, num_envs):
                median = row[target.figure]["median"]
                result = {"envs": num_envs, "median": median, "met": median >= target.least}
                judged.append(target._asdict() | result)
    return judged
