"""Banks of goal images, made once and kept in the user's cache.

A bank is one ``.npy`` file of records, read as a memory map, and a small ``.json`` file that is written
last and says what the bank is, with a checksum: a bank without it is none. Its name holds a hash of all
that its pictures come from: the model, the code that makes them, versions, and what was asked for.
"""

import hashlib
import json
import os
import sys
import tempfile
import zlib
from importlib import metadata
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from tqdm import tqdm

from . import (
    goal_images,
    goal_states,
    goals,
    light,
    pictures,
    readings,
    scene,
    simulation,
    tasks,
)
from .goal_images import GoalImages, GoalPhotographer
from .scene import load_scene, picture_camera
from .tasks import GoalName, find_task
from .vector import check_least, first_line

MODULES = (goal_images, goal_states, goals, light, pictures, readings, scene, simulation, tasks)
"""Code that decides what a bank holds."""
PACKAGES = ("mujoco", "gymnasium-robotics", "numpy")


def cache_folder() -> Path:
    """Where banks are kept: ``her_robotics/goal_images`` in ``$XDG_CACHE_HOME``, or in ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "her_robotics" / "goal_images"


def goal_bank(
    task: str,
    count: int,
    camera: str | None = None,
    size: int = 64,
    goal: GoalName | None = None,
    seed: int = 0,
    num_threads: int = 0,
    folder: Path | None = None,
) -> GoalImages:
    """A bank of goal images: from the cache, or made now and kept there for the next time.

    Args:
        task: a name in ``envs.TASKS``.
        count: how many.
        camera: a camera of the scene; None takes the task's own.
        size: width and height in pixels.
        goal: goal space, ``"object"`` or ``"gripper"``; None takes the task's own.
        seed: of the goals.
        num_threads: physics threads while it is made; 0 takes every core.
        folder: in place of the user's cache.

    Returns:
        The goal images, read from disk as they are looked at, and so not to be written to.

    Raises:
        ValueError: if a name is unknown or a number out of range; the message says what is allowed.
    """
    check_least(count=(count, 1), seed=(seed, 0))
    known = find_task(task)
    goal, camera = goal or known.goal, camera or picture_camera(known)
    asked = {"count": count, "camera": camera, "size": size, "goal": goal, "seed": seed}
    path = (folder or cache_folder()) / f"{task}-{_hash(task, asked)}.npy"
    found = _read(path)
    if found is None:
        photographer = GoalPhotographer(task, goal, camera, size, num_threads=num_threads)
        images = photographer.draw(count, seed, progress=True)
        _keep(path, images, {"task": task, **asked})
        found = _read(path) or images
    return found


def _hash(task: str, asked: dict[str, Any]) -> str:
    """Of all that a bank's content depends on."""
    model = load_scene(find_task(task)).model
    compiled = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, compiled)
    parts = hashlib.sha256(compiled.tobytes())
    for module in MODULES:
        parts.update(Path(str(module.__file__)).read_bytes())
    versions = {name: metadata.version(name) for name in PACKAGES}
    parts.update(repr((find_task(task), sorted(asked.items()), versions)).encode())
    return parts.hexdigest()[:16]


def _read(path: Path) -> GoalImages | None:
    """The bank in ``path``, if it is there and whole; one line is printed if it is there and is not."""
    if not path.exists():
        return None
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        records = np.load(path, mmap_mode="r", allow_pickle=False)
        if _checksum(records) != card["crc32"]:
            raise ValueError("its checksum is wrong")
        fields = (records[name] for name in ("picture", "achieved", "desired"))
        return GoalImages(*fields, redrawn=card["redrawn"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, IndexError) as error:
        _say(f"the goal images in {path} are damaged ({first_line(error)}): making them anew")
        return None


def _keep(path: Path, images: GoalImages, asked: dict[str, Any]) -> None:
    """Write a bank, whole or not at all; one line is printed where that is not possible."""
    fields = {"picture": images.pictures, "achieved": images.achieved, "desired": images.desired}
    kinds = [(name, values.dtype, values.shape[1:]) for name, values in fields.items()]
    records = np.empty(len(images.pictures), dtype=kinds)
    for name, values in fields.items():
        records[name] = values
    card = {**asked, "redrawn": images.redrawn, "crc32": _checksum(records)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, lambda file: np.save(file, records))
        text = json.dumps(card, indent=2) + "\n"
        _replace(path.with_suffix(".json"), lambda file: file.write(text.encode()))
    except OSError as error:
        _say(f"the goal images cannot be kept in {path.parent} ({first_line(error)})")


def _replace(path: Path, write: Any) -> None:
    """Write aside, under a name that no other process has, then rename."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        try:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def _checksum(records: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(records).view(np.uint8).data)


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
