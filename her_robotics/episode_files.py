"""Episodes on disk: each is written once, into segments that are only ever added to.

A finished episode never changes, so a checkpoint need not hold it. It names the segments that do, how
much of each it needs, and the SHA-256 of that much: what is added later leaves it valid, and what was
torn off behind it is no concern of it. The name of a segment is never used twice. Frames, which never
change either, are written alike: each is an episode to this module.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .files import append_bytes

LARGEST = 2**22
"""Bytes after which a segment is added to no more, unless one episode alone takes as many. Training does
not wait for more of them at once."""
KINDS = ("float32", "float64", "uint8", "int64")
"""Types of numbers that episodes may consist of."""


class Segment(NamedTuple):
    """Part of what a checkpoint needs.

    Attributes:
        serial: number of the file.
        first: number of its first episode, among all that the ring has ever had.
        count: episodes in it that belong to the checkpoint.
        sha256: of these.
    """

    serial: int
    first: int
    count: int
    sha256: str

    @property
    def end(self) -> int:
        """Number of the first episode behind it."""
        return self.first + self.count


class EpisodeFiles:
    """The segments of one ring of episodes.

    Args:
        folder: where they lie; made when the first one is written.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self.segments: list[Segment] = []
        """Those that hold what the ring holds, as far as it is written."""
        self._running: Any = None  # the checksum of the last of them, if it may be added to
        self._serial = max((int(path.stem) for path in self._files()), default=0)
        self.bytes_written = 0

    def write(self, added: int, episodes: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Write those episodes that are not written yet; returns what ``read`` finds them all by.

        Args:
            added: how many episodes the ring has ever had.
            episodes: the parts of those it holds, each ``(n, …)``; number i stands at i % n.

        Raises:
            OSError: if they cannot be written; what was written before stays valid.
        """
        stored = len(next(iter(episodes.values())))
        end = self._written(added, stored)
        while end < added:
            end = self._append(end, added, episodes, stored)
        parts = {name: (str(part.dtype), part.shape[1:]) for name, part in episodes.items()}
        named = [tuple(segment) for segment in self.segments]
        return {"stored": stored, "parts": parts, "segments": named}

    def write_ahead(self, added: int, episodes: Mapping[str, np.ndarray]) -> bool:
        """Write a segment of those that are not written yet, if they are more than one takes.

        Args:
            added: as for ``write``.
            episodes: as for ``write``.

        Returns:
            Whether what is left to ``write`` is no more than that.

        Raises:
            OSError: as ``write``.
        """
        stored = len(next(iter(episodes.values())))
        if not stored:
            return True
        end, few = self._written(added, stored), LARGEST // _size(episodes)
        if added - end > few:
            end = self._append(end, added, episodes, stored)
        return added - end <= few

    def _written(self, added: int, stored: int) -> int:
        """Number of the first episode that is not written yet; segments of none that is stored are let go."""
        oldest = added - stored
        end = self.segments[-1].end if self.segments else oldest
        if not oldest <= end <= added:  # what has come since has overwritten all that is written
            self.segments, end = [], oldest
        self.segments = [segment for segment in self.segments if segment.end > oldest]
        return end

    def _append(
        self, first: int, added: int, episodes: Mapping[str, np.ndarray], stored: int
    ) -> int:
        """Write episodes from number ``first`` on, as many as one segment takes; where they end."""
        size = _size(episodes)
        most = max(1, LARGEST // size)
        fresh = not self.segments or self._running is None or self.segments[-1].count >= most
        if fresh:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._serial += 1
            last, running = Segment(self._serial, first, 0, ""), hashlib.sha256()
        else:
            last, running = self.segments.pop(), self._running.copy()
        count = min(most - last.count, added - first)
        slots = np.arange(first, first + count) % stored
        content = b"" if not count else _records(episodes, slots)
        running.update(content)
        try:
            append_bytes(self._path(last.serial), content, last.count * size)
        except OSError:
            self.segments += [] if fresh else [last]
            raise
        self.bytes_written += len(content)
        grown = last._replace(count=last.count + count, sha256=running.hexdigest())
        self.segments.append(grown)
        self._running = running
        return grown.end

    def read(self, added: int, named: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The episodes of a checkpoint, as they were given to ``write``; what is new goes behind them.

        Args:
            added: how many episodes the ring had ever had.
            named: what ``write`` returned.

        Raises:
            ValueError: if a segment is missing or damaged, or they are not what ``write`` names.
            OSError: if one cannot be read.
        """
        added, stored = _whole(added), _whole(named["stored"])
        parts = _read_parts(named["parts"])
        segments = [_read_segment(values) for values in named["segments"]]
        size = sum(kind.itemsize * math.prod(shape) for kind, shape in parts.values())
        _refuse_gaps(segments, added, stored)
        for segment in segments:  # before room is made for what they claim to hold
            path = self._path(segment.serial)
            if not path.is_file() or path.stat().st_size < segment.count * size:
                raise ValueError(f"{path} is missing or cut short")
        episodes = {name: np.zeros((stored, *shape), kind) for name, (kind, shape) in parts.items()}
        for segment in segments:
            with self._path(segment.serial).open("rb") as file:
                content = file.read(segment.count * size)
            if hashlib.sha256(content).hexdigest() != segment.sha256:
                raise ValueError(f"{self._path(segment.serial)} is damaged")
            _fill(episodes, content, segment, added - stored)
        self.segments, self._running = segments, None
        return episodes

    def keep(self, segments: Iterable[Segment]) -> None:
        """Remove all files but those of ``segments``.

        Raises:
            OSError: if one cannot be removed.
        """
        needed = {self._path(segment.serial) for segment in segments}
        for path in self._files():
            if path not in needed:
                path.unlink()

    def _files(self) -> list[Path]:
        return [path for path in self._folder.glob("*.episodes") if path.stem.isdecimal()]

    def _path(self, serial: int) -> Path:
        return self._folder / f"{serial:06d}.episodes"


def _size(episodes: Mapping[str, np.ndarray]) -> int:
    """Bytes of one episode."""
    return sum(part[:1].nbytes for part in episodes.values())


def _records(episodes: Mapping[str, np.ndarray], slots: np.ndarray) -> bytes:
    """Episodes one behind the other, each whole."""
    rows = [np.ascontiguousarray(part[slots]).reshape(len(slots), -1) for part in episodes.values()]
    return np.concatenate([each.view(np.uint8) for each in rows], axis=1).tobytes()


def _fill(
    episodes: Mapping[str, np.ndarray], content: bytes, segment: Segment, oldest: int
) -> None:
    """Put a segment's episodes, from number ``oldest`` on, into their slots."""
    skipped = max(0, oldest - segment.first)
    rows = np.frombuffer(content, np.uint8).reshape(segment.count, -1)[skipped:]
    numbers = np.arange(segment.first + skipped, segment.end)
    column = 0
    for part in episodes.values():
        width = part[0].nbytes
        cut = np.ascontiguousarray(rows[:, column : column + width])
        part[numbers % len(part)] = cut.view(part.dtype).reshape(len(rows), *part.shape[1:])
        column += width


def _refuse_gaps(segments: list[Segment], added: int, stored: int) -> None:
    """Refuse segments that do not hold the last ``stored`` of ``added`` episodes, one behind the other."""
    ends = [segment.end for segment in segments]
    if [segment.first for segment in segments[1:]] != ends[:-1]:
        raise ValueError("its segments of episodes do not follow one another")
    first = segments[0].first if segments else added
    if stored > added or first > added - stored or (ends or [added])[-1] != added:
        raise ValueError(f"its segments do not hold the last {stored} of {added} episodes")


def _read_segment(values: Any) -> Segment:
    serial, first, count, digest = values
    if not isinstance(digest, str):
        raise ValueError("a segment of episodes has no checksum")
    return Segment(_whole(serial), _whole(first), _whole(count, 1), digest)


def _read_parts(parts: Mapping[str, Any]) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
    read = {}
    for name, (kind, shape) in parts.items():
        if kind not in KINDS or not 0 < len(shape) < 8:
            raise ValueError(f"{name} of its episodes is of kind {kind}"[:200])
        read[name] = (np.dtype(kind), tuple(_whole(width, 1) for width in shape))
    if not read:
        raise ValueError("its episodes have no parts")
    return read


def _whole(value: Any, least: int = 0) -> int:
    """A saved count.

    Raises:
        ValueError: if it is none.
    """
    if type(value) is not int or not least <= value < 2**48:
        raise ValueError(f"its episodes are counted by {value!r}"[:200])
    return value
