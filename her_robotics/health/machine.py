"""Cores, memory and room on disk, against what a run needs."""

import contextlib
import os
import shlex
import tempfile
from pathlib import Path

from ..errors import first_line
from ..files import write_text
from ..shipped import load_task_config
from .finding import Finding, failed, passed

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PROGRAM = 2**30
"""Bytes that torch, MuJoCo, their models and networks take beside the replay, generously."""
FILMS = 64 * 2**20
"""Bytes for film, curve, policy, tracked files and the states of two checkpoints, generously."""
LEAST_SHARE = 0.1
"""Share of a run's transitions below which a smaller replay is no advice."""
PROBE = "x" * 2**20


def cores() -> int:
    """Cores that this process may use, those that a container is granted included."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _words("/sys/fs/cgroup/cpu.max")
    if len(quota) == 2 and quota[0].isdigit():
        granted = max(1, round(int(quota[0]) / int(quota[1])))
        return min(usable or 1, granted)
    return usable or 1


def device() -> Finding:
    """What training can compute on."""
    from ..devices import (  # torch may be broken, which is for another check to tell
        gpu_name,
        no_gpu,
    )

    reason = no_gpu()
    if reason:
        return passed(f"cpu alone: {reason}", device="cpu")
    return passed(f"cpu, and {gpu_name()} by train --device cuda", device="cuda")


def threads() -> Finding:
    """Whether the libraries' threads fit the cores."""
    import torch  # may be broken, which is for another check to tell

    count = cores()
    for name in THREAD_VARIABLES:
        value = os.environ.get(name)
        if value is None:
            continue
        if not value.isdigit() or not 0 < int(value) <= count:
            said = f"{name}={value} is more than the {count} cores"
            if not value.isdigit() or not int(value):
                said = f"{name}={value} is no number of threads"
            return failed(said, f"export {name}={count}")
    if torch.get_num_threads() > count:
        said = f"torch takes {torch.get_num_threads()} threads for {count} cores"
        return failed(said, f"export OMP_NUM_THREADS={count}")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    busy = f"; other work keeps {load:.1f} busy, so speeds are lower bounds" if load > 0.5 else ""
    return passed(f"{count} cores, torch on {torch.get_num_threads()}{busy}", cores=count)


def free_memory() -> int | None:
    """Bytes that can still be taken, also within a container's limit; None where nobody says."""
    lines = dict(line.split(":", 1) for line in _lines("/proc/meminfo") if ":" in line)
    known = [int(lines["MemAvailable"].split()[0]) * 1024] if "MemAvailable" in lines else []
    limit, used = _words("/sys/fs/cgroup/memory.max"), _words("/sys/fs/cgroup/memory.current")
    if limit and used and limit[0].isdigit():
        known.append(int(limit[0]) - int(used[0]))
    return min(known, default=None)


def memory(needs: dict[str, int]) -> Finding:
    """Whether the replay of each task fits into memory.

    Args:
        needs: bytes of replay that a task's run fills.
    """
    free, (task, largest) = free_memory(), max(needs.items(), key=lambda item: item[1])
    if free is None:
        return passed(f"this system does not say how much is free; {task} fills {_size(largest)}")
    said = f"{_size(free)} free; {task} takes the most, {_size(largest + PROGRAM)}"
    if free < largest + PROGRAM:
        share = max(0.0, (free - PROGRAM) / largest)
        if share < LEAST_SHARE:
            return failed(
                f"{said}: too little to train in", "ps -eo pid,rss,args --sort -rss | head"
            )
        capacity = int(share * load_task_config(task).train.steps)
        return failed(said, f"her-robotics train {task} --replay.capacity {capacity}", free=free)
    return passed(said, free=free)


def disk(folder: Path, needs: dict[str, int]) -> Finding:
    """Whether a run folder can be written, and holds a run: its episodes are written once, beside two states.

    Args:
        folder: where runs are to be.
        needs: bytes of replay that a task's run fills, which its checkpoint keeps.
    """
    there, (task, largest) = _existing(folder), max(needs.items(), key=lambda item: item[1])
    needed = largest + FILMS
    probe = there / f".her-robotics-{os.getpid()}.probe"
    try:
        write_text(probe, PROBE)
        if probe.read_text() != PROBE:
            return failed(f"{there} gives back other than was written", _elsewhere(there, needed))
        free = _free(there)
    except OSError as error:
        why = error.strerror or first_line(error)
        return failed(f"{there} cannot be written: {why}", _elsewhere(there, needed))
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    said = f"{_size(free)} free in {there.resolve()}; {task} takes the most, {_size(needed)}"
    if free < needed:
        return failed(said, _elsewhere(there, needed))
    return passed(said, free=free)


def _elsewhere(there: Path, needed: int) -> str:
    """The command that looks at a place for runs that has room; or else at what takes it ``there``."""
    for place in (Path("runs"), Path.home() / "runs", Path(tempfile.gettempdir()) / "runs"):
        other = _existing(place)
        if not other.samefile(there) and os.access(other, os.W_OK) and _free(other) >= needed:
            return f"her-robotics doctor --out {shlex.quote(str(place))}"
    return f"du -xh --max-depth 2 {shlex.quote(str(there))} | sort -h | tail"


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def _free(folder: Path) -> int:
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize


def scratch() -> Finding:
    """Whether there is a folder for temporary files, and it is the one asked for."""
    asked = os.environ.get("TMPDIR")
    try:
        with tempfile.NamedTemporaryFile(dir=asked or None) as file:
            file.write(PROBE.encode())
            file.flush()
    except OSError as error:
        where = f"TMPDIR={asked}" if asked else "no folder for temporary files"
        return failed(f"{where}: {error.strerror or error}", "export TMPDIR=/tmp")
    return passed(f"temporary files go to {asked or tempfile.gettempdir()}")


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def _words(path: str) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
