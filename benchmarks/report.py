"""What every benchmark leaves behind: one JSON object, printed and written, that can be traced."""

import dataclasses
import json
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from her_robotics.files import write_text
from her_robotics.run_folder import provenance

RESULTS = Path(__file__).resolve().parent / "results"
OUTPUT_FLAGS = ("--out", "--json", "--runs")
"""Arguments that say where to write, or how, but not what is measured; ``--json`` takes no value."""


class Machine(NamedTuple):
    """What the speed of a benchmark depends on.

    Attributes:
        cpu: name of the processor, with family and model, since virtual machines call many generations alike.
        cores: how many of them this process may use.
        load: jobs that were waiting or running in the minute before; a quiet machine is near 0.
    """

    cpu: str
    cores: int
    load: float


def machine() -> Machine:
    """The machine, asked before the benchmark adds its own load."""
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else float("nan")
    return Machine(_cpu_model(), cores, load)


def at_least(least: int, **arguments: int) -> None:
    """Refuse arguments that are too small to measure anything.

    Raises:
        SystemExit: with a message that names the argument.
    """
    for name, value in arguments.items():
        if value < least:
            raise SystemExit(f"--{name.replace('_', '-')} must be at least {least}, not {value}")


def spread(values: np.ndarray) -> dict[str, float]:
    """Median of a measurement's rounds and the quartiles around it."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return {"median": float(median), "quartile_low": float(low), "quartile_high": float(high)}


def publish(
    name: str,
    arguments: Any,
    where: Machine,
    results: dict[str, Any],
    packages: tuple[str, ...] = (),
    label: str = "",
) -> dict[str, Any]:
    """Write a benchmark's JSON file, and print it if ``arguments.json``.

    What else it leaves in the clone comes after this, since the result says whether the clone was changed.

    Args:
        name: name of the benchmark's module.
        arguments: its command line, a dataclass with ``out`` and ``json``.
        where: what ``machine()`` said before the benchmark ran.
        results: what was measured.
        packages: measured packages beside those that ``provenance()`` lists.
        label: what tells this result from others of the same module.
    """
    settings = dataclasses.asdict(arguments)
    for flag in OUTPUT_FLAGS:
        settings.pop(flag.removeprefix("--"), None)
    traced = provenance()
    traced["versions"] |= {package: metadata.version(package) for package in packages}
    traced["machine"] = {"system": traced["machine"], **where._asdict()}
    traced["command"] = _command(name, sys.argv[1:])
    traced["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    content = {"benchmark": name, "settings": settings, "results": results, "provenance": traced}
    text = json.dumps(content, indent=2, default=str)
    path = Path(arguments.out) if arguments.out else RESULTS / f"{name}{label}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text + "\n")
    if arguments.json:
        print(text)
    return content


def _command(name: str, given: list[str]) -> str:
    """The command that repeats the measurement, without where it wrote: that names folders here."""
    kept, skip = [], False
    for argument in given:
        if skip:
            skip = False
        elif argument in OUTPUT_FLAGS:
            skip = argument != "--json"
        elif argument.partition("=")[0] not in OUTPUT_FLAGS:
            kept.append(argument)
    return shlex.join(["python", "-m", f"benchmarks.{name}", *kept])


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    first: dict[str, str] = {}
    for name, _, value in (line.partition(":") for line in lines):
        first.setdefault(name.strip(), value.strip())
    if "model name" not in first:
        return platform.processor() or "unknown"
    generation = [
        f"{name.split()[-1]} {first[name]}" for name in ("cpu family", "model") if name in first
    ]
    return ", ".join([first["model name"], *generation])
