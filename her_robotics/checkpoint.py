"""The checkpoint that training resumes from."""

import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .episode_files import EpisodeFiles, Segment
from .errors import first_line
from .files import replacing
from .sealed import read_sealed, write_sealed
from .strict import shown
from .weights import CheckpointError

CHECKPOINT, PREVIOUS, EPISODES = "checkpoint.pt", "checkpoint.previous.pt", "episodes"
_NAMED = "episode_files"  # stands where a ring's episodes do in its state


class Checkpoints:
    """The last two checkpoints of a run: small sealed files, and beside them the episodes both need.

    Episodes are written once, when they are new (see ``episode_files``), so that a checkpoint costs the
    same however full the replay is.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._newest, self._previous = folder / CHECKPOINT, folder / PREVIOUS
        self._rings: dict[str, EpisodeFiles] = {}
        self._needed: dict[str, list[Segment]] | None = None  # by the last checkpoint that is whole
        self._newest_is_whole = True

    def save(self, state: dict[str, Any], agree: Callable[[], None] = lambda: None) -> int:
        """Write a checkpoint; until it is whole the last two stay. Returns the bytes written.

        Args:
            state: what to write.
            agree: called when it is written, before it takes its place; what it raises keeps it from that.

        Raises:
            OSError: if it cannot be written (torch says RuntimeError to some of these).
        """
        before = sum(each.bytes_written for each in self._rings.values())
        small = _exchanged(state, _is_ring, self._write_episodes)
        with replacing(self._newest) as aside:
            write_sealed(aside, small)
            size = aside.stat().st_size
            agree()
            # A damaged one must not take the place of the one that served instead of it.
            if self._newest_is_whole and self._newest.is_file():
                os.replace(self._newest, self._previous)
        self._newest_is_whole = True
        self._remove_unneeded()
        return size + sum(each.bytes_written for each in self._rings.values()) - before

    def write_ahead(self, state: dict[str, Any]) -> bool:
        """Write some of the episodes that the next checkpoint needs, if it would have many to write.

        Whether it then has few.

        Raises:
            OSError: if they cannot be written.
        """
        few = []

        def write(name: str, ring: dict[str, Any]) -> None:
            few.append(self._files_of(name).write_ahead(ring["added"], _episodes(ring)))

        _exchanged(state, _is_ring, write)
        return all(few)

    def held(self) -> set[int]:
        """Env steps of those that are whole."""
        steps = set()
        for path in (self._newest, self._previous):
            with contextlib.suppress(CheckpointError):
                steps.add(self._read(path)["progress"]["steps"])
        return steps

    def load(self, steps: int | None = None) -> dict[str, Any]:
        """Read the newest checkpoint, or else the one before it, and say so.

        Args:
            steps: env steps of the only one that will do.

        Raises:
            CheckpointError: if there is none, or none is whole and ours.
        """
        problems = []
        for path in (self._newest, *([self._previous] if self._previous.exists() else [])):
            try:
                state = self._read(path)
            except CheckpointError as error:
                problems.append(f"{error}")
                continue
            if steps is not None and state["progress"]["steps"] != steps:
                continue  # it is whole, but other ranks have none of its time
            if problems:
                print(f"warning: {problems[0]}; {PREVIOUS} serves instead", file=sys.stderr)
            self._newest_is_whole = path == self._newest
            self._needed = {name: list(each.segments) for name, each in self._rings.items()}
            return state
        raise CheckpointError(", and ".join(problems))

    def _read(self, path: Path) -> dict[str, Any]:
        state = read_sealed(path)
        if not isinstance(state, dict) or "progress" not in state:
            raise CheckpointError(f"{path} is not a checkpoint of this project")
        self._rings = {}
        try:
            return _exchanged(state, _names_episodes, self._read_episodes)
        except Exception as error:  # what names episodes may be wrong in as many ways as a pickle
            raise CheckpointError(f"{path} is not a checkpoint: {first_line(error)}") from error

    def _write_episodes(self, name: str, ring: dict[str, Any]) -> dict[str, Any]:
        parts = _episodes(ring)
        rest = {key: value for key, value in ring.items() if key not in parts}
        return {**rest, _NAMED: self._files_of(name).write(ring["added"], parts)}

    def _read_episodes(self, name: str, ring: dict[str, Any]) -> dict[str, Any]:
        parts = self._files_of(name).read(ring["added"], ring[_NAMED])
        rest = {key: value for key, value in ring.items() if key != _NAMED}
        return {**rest, **{part: torch.from_numpy(values) for part, values in parts.items()}}

    def _files_of(self, name: str) -> EpisodeFiles:
        if not re.fullmatch(r"[a-z_]{1,40}(\.[a-z_]{1,40})*", name):
            raise ValueError(f"a ring of episodes is called {shown(name)}")
        if name not in self._rings:
            place = self._folder / EPISODES / name
            for each in (place.parent, place):
                if each.is_symlink():  # old files are removed there, which may be another run's
                    raise OSError(errno.ELOOP, "leads elsewhere", str(each))
            self._rings[name] = EpisodeFiles(place)
        return self._rings[name]

    def _remove_unneeded(self) -> None:
        """Remove the segments that neither this checkpoint needs nor the one before it."""
        before = self._needed
        self._needed = {name: list(each.segments) for name, each in self._rings.items()}
        if before is None:  # there may be one that needs others
            return
        for name, files in self._rings.items():
            with contextlib.suppress(OSError):  # they take room and do no harm
                files.keep([*before.get(name, []), *files.segments])


def has_checkpoint(folder: Path) -> bool:
    """Whether there is something to resume from."""
    return any((folder / name).exists() for name in (CHECKPOINT, PREVIOUS))


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint that is not one of a series: all of its episodes are written.

    Raises:
        OSError: if it cannot be written.
    """
    Checkpoints(folder).save(state)


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """The state that training goes on from.

    Raises:
        CheckpointError: if there is none, or none is whole and ours.
    """
    return Checkpoints(folder).load()


def _is_ring(value: Any) -> bool:
    """Whether this is what a ring of episodes or frames gives: how many were ``added``, and what it holds."""
    return isinstance(value, dict) and "added" in value


def _episodes(ring: dict[str, Any]) -> dict[str, np.ndarray]:
    """What such a ring holds."""
    return {name: part.numpy() for name, part in ring.items() if isinstance(part, torch.Tensor)}


def _names_episodes(value: Any) -> bool:
    return isinstance(value, dict) and _NAMED in value


def _exchanged(
    value: Any,
    which: Callable[[Any], bool],
    exchange: Callable[[str, dict[str, Any]], Any],
    name: str = "",
) -> Any:
    """A nested state with each dict that ``which`` picks exchanged; where it stands is its name."""
    if which(value):
        return exchange(name.lstrip("."), value)
    if not isinstance(value, dict):
        return value
    return {
        key: _exchanged(inner, which, exchange, f"{name}.{key}") for key, inner in value.items()
    }
