"""Results of ``benchmarks.peers`` beside those of ``benchmarks.learning``, all of them measured."""

import json
from pathlib import Path
from typing import Any, NamedTuple

HEADER = """\
| task | system | steps to {target:.0%} | seconds to {target:.0%} | ratio | seeds there | measured on |
|---|---|--:|--:|--:|--:|---|"""
NOTE = """\
Seconds are of collecting and updating, tests left out, on the machine named; medians over the seeds.
A ratio is the system's seconds over those of {reference}, on the same processor;
">" marks one that had not got there when its time was up, so that its ratio is at least that, and "–" one
with none of ours on its processor. Nothing is extrapolated. The load is the
highest in the minute before a start; a quiet machine is near 0."""


class Crossing(NamedTuple):
    """When half of the seeds had first reached the target.

    Attributes:
        steps_to_target: median over all seeds; None unless more than half got there.
        seconds_to_target: likewise.
        seconds: training time; the median over seeds of what each took or, if it did not get
            there, spent.
        reached: seeds that got there.
    """

    steps_to_target: int | None
    seconds_to_target: float | None
    seconds: float
    reached: int


class Result(NamedTuple):
    """One file of results.

    Attributes:
        task: what was trained.
        system: ours with its variant, or a peer.
        ours: whether it is ours.
        seeds: figures of each seed.
        crossing: when they reached the target.
        cpu: the processor that they were measured on.
        machine: that, and how busy it was.
    """

    task: str
    system: str
    ours: bool
    seeds: list[dict[str, Any]]
    crossing: Crossing
    cpu: str
    machine: str


def first_reaching(curve: list[dict[str, Any]], target: float) -> dict[str, Any] | None:
    """The first point of a curve at the target or above it."""
    return next((point for point in curve if point["success"] >= target), None)


def cross(seeds: list[dict[str, Any]], target: float) -> Crossing:
    """When the seeds, each with its ``curve``, reached the target."""
    points = [first_reaching(seed["curve"], target) for seed in seeds]
    reached = [point for point in points if point is not None]
    spent = [
        point["seconds"] if point else seed["curve"][-1]["seconds"]
        for point, seed in zip(points, seeds, strict=True)
    ]
    middle = len(seeds) // 2

    def median(name: str) -> Any:
        ordered = sorted(point[name] for point in reached)
        return ordered[middle] if len(ordered) > middle else None

    return Crossing(median("step"), median("seconds"), sorted(spent)[middle], len(reached))


def format_table(folder: Path, target: float) -> str:
    """A Markdown table of every peer's result in a folder, ours of the same tasks above them."""
    peers = [_read(path, target) for path in sorted(folder.glob("peers-*.json"))]
    # With another env than the task's own it would be another task.
    ours = [
        _read(path, target)
        for path in sorted(folder.glob("learning-*.json"))
        if "--env." not in json.loads(path.read_text())["settings"]["options"]
    ]
    if not peers:
        return f"no results of peers in {folder}: python -m benchmarks.peers TASK --peer PEER"
    lines, references = [HEADER.format(target=target)], []
    for task in sorted({peer.task for peer in peers}):
        rows = [result for result in [*ours, *peers] if result.task == task]
        by_cpu = {
            cpu: _reference([result for result in rows if result.ours and result.cpu == cpu])
            for cpu in dict.fromkeys(result.cpu for result in rows)
        }
        references += [f"{each.system} on {task}" for each in by_cpu.values() if each]
        lines += [_line(result, by_cpu[result.cpu]) for result in rows]
    named = "; ".join(references) or "ours, of which none has reached the target"
    return "\n".join([*lines, "", NOTE.format(reference=named)])


def _read(path: Path, target: float) -> Result:
    content = json.loads(path.read_text(encoding="utf-8"))
    settings, seeds = content["settings"], list(content["results"]["seeds"].values())
    ours = content["benchmark"] == "learning"
    where = content["provenance"]["machine"]
    load = max([where["load"], *(load for seed in seeds for load in seed.get("loads", ()))])
    side = f", {settings['workers']} runs at once" if settings.get("workers", 1) > 1 else ""
    return Result(
        task=settings["task"],
        system=f"ours, {settings['variant']}" if ours else settings["peer"],
        ours=ours,
        seeds=seeds,
        crossing=cross(seeds, target),
        cpu=where["cpu"],
        machine=f"{where['cpu']}, {where['cores']} cores, load {load}{side}",
    )


def _reference(own: list[Result]) -> Result | None:
    """Ours that the others are held against: the default variant, or else the fastest."""
    there = [result for result in own if result.crossing.seconds_to_target is not None]
    default = [result for result in there if result.system == "ours, default"]
    fastest = sorted(there, key=lambda result: result.crossing.seconds_to_target or 0.0)
    return next(iter([*default, *fastest]), None)


def _line(result: Result, reference: Result | None) -> str:
    found, base = result.crossing, reference and reference.crossing.seconds_to_target
    last = [seed["curve"][-1]["success"] for seed in result.seeds]
    best = [max(point["success"] for point in seed["curve"]) for seed in result.seeds]
    middle = len(last) // 2
    missed = (
        f"not in {found.seconds:,.0f} s: {sorted(last)[middle]:.2f} at the end, "
        f"{sorted(best)[middle]:.2f} at best"
    )
    seconds = found.seconds_to_target
    ratio = "–" if not base else f"{'' if seconds else '> '}{found.seconds / base:.2f}"
    cells = [
        result.task,
        result.system,
        "–" if found.steps_to_target is None else f"{found.steps_to_target:,}",
        missed if seconds is None else f"{seconds:,.1f}",
        ratio,
        f"{found.reached} of {len(result.seeds)}",
        result.machine,
    ]
    return f"| {' | '.join(cells)} |"
