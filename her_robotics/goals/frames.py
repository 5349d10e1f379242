"""Goals that are numbers of frames: each picture is kept once, as it was seen, under a number.

An encoder that learns together with the critic has to see pictures again, so they must be kept. Replay
keeps their numbers, which are goals like any other: hindsight, which picks goals by index, needs nothing
new, and of each step one picture is kept, in bytes.
"""

from typing import Any

import numpy as np
import torch

SPAN = 2**22
"""Numbers that each kind of frame has: those of all four are whole in a float32."""
GOALS, TEST_GOALS, TEST_FRAMES, FRAMES = range(4)
"""Kinds: goal images of training and of tests, and what is seen in tests and in training."""
NEVER = -(2**31)
"""Version of an embedding that there is not."""


class FrameStore:
    """Square pictures by number, of each kind the last ones; and what an encoder last made of them.

    Args:
        size: width and height of the pictures.
        embedding: width of their embeddings.
    """

    def __init__(self, size: int, embedding: int):
        self.size, self._embedding = size, embedding
        self._kept = {kind: _Ring(0, size, embedding) for kind in range(4)}

    @staticmethod
    def memory(size: int, embedding: int, frames: int) -> int:
        """Bytes that room for so many frames takes."""
        return frames * (size * size * 3 + 4 * embedding + 4)

    @property
    def bytes(self) -> int:
        """Memory that is taken once all room is filled."""
        rooms = sum(self.room(kind) for kind in self._kept)
        return self.memory(self.size, self._embedding, rooms)

    @property
    def saved_bytes(self) -> int:
        """Bytes of frames that a checkpoint refers to once there is no more room."""
        return self._kept[FRAMES].pictures.nbytes

    def room(self, kind: int) -> int:
        """How many frames of a kind are kept."""
        return len(self._kept[kind].pictures)

    def reserve(self, kind: int, room: int) -> None:
        """Forget the frames of a kind and make room for others; memory is taken as they come.

        Raises:
            ValueError: if there are more than have numbers.
        """
        if not 1 <= room <= SPAN:
            raise ValueError(f"room for {room:,d} frames: choose 1 to {SPAN:,d}")
        self._kept[kind] = _Ring(room, self.size, self._embedding)

    def add(self, kind: int, pictures: np.ndarray) -> np.ndarray:
        """Keep pictures, ``(n, size, size, 3)`` uint8, over the oldest of a kind; their numbers, ``(n,)``.

        Raises:
            ValueError: if there is no room, or no number is left.
        """
        ring = self._kept[kind]
        numbers = ring.count + np.arange(len(pictures))
        if len(pictures) > len(ring.pictures) or ring.count + len(pictures) > SPAN:
            raise ValueError(f"there is no room for frame {numbers[-1]:,d}")
        slots = numbers % len(ring.pictures)
        ring.pictures[slots], ring.version[slots] = pictures, NEVER
        ring.count += len(pictures)
        return kind * SPAN + numbers

    def draw(self, numbers: np.ndarray) -> np.ndarray:
        """The pictures of numbers ``(n,)``, ``(n, size, size, 3)`` uint8.

        Raises:
            ValueError: if one was never given, or has made room.
        """
        drawn = np.empty((len(numbers), self.size, self.size, 3), np.uint8)
        for where, ring, slots in self._find(numbers):
            drawn[where] = ring.pictures[slots]
        return drawn

    def recall(self, numbers: np.ndarray, since: int) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings ``(n, d)`` as last made, and which are of version ``since`` or later, ``(n,)`` bool."""
        embeddings = np.zeros((len(numbers), self._embedding), np.float32)
        fresh = np.zeros(len(numbers), dtype=bool)
        for where, ring, slots in self._find(numbers):
            embeddings[where], fresh[where] = ring.embeddings[slots], ring.version[slots] >= since
        return embeddings, fresh

    def remember(self, numbers: np.ndarray, embeddings: np.ndarray, version: int) -> None:
        """Keep embeddings ``(n, d)`` and by which version of the encoder they were made."""
        for where, ring, slots in self._find(numbers):
            ring.embeddings[slots], ring.version[slots] = embeddings[where], version

    def forget(self) -> None:
        """Take all embeddings for outdated."""
        for ring in self._kept.values():
            ring.version[:] = NEVER

    def state_dict(self) -> dict[str, Any]:
        """What was seen in training, as a ring that checkpoints write once; embeddings are made again."""
        ring = self._kept[FRAMES]
        return {"added": ring.count, "frames": torch.from_numpy(ring.pictures[: ring.count])}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            ValueError: if it was given by a store of another size.
        """
        frames, count, ring = state["frames"].numpy(), state["added"], self._kept[FRAMES]
        if type(count) is not int or not 0 <= count <= SPAN:
            raise ValueError(f"saved frames say that there were {count!r}"[:200])
        kept = (min(count, len(ring.pictures)), *ring.pictures.shape[1:])
        if frames.dtype != np.uint8 or frames.shape != kept:
            raise ValueError(f"saved frames are of shape {frames.shape}, not {kept}")
        ring.pictures[: len(frames)], ring.count = frames, count

    def _find(self, numbers: np.ndarray) -> list[tuple[np.ndarray, "_Ring", np.ndarray]]:
        """Of each kind among them: which of the numbers are of it, its ring, and their slots there."""
        kinds, places = np.divmod(numbers, SPAN)
        found = []
        for kind in np.unique(kinds):
            where, ring = kinds == kind, self._kept[int(kind)]
            place, room = places[where], len(ring.pictures)
            if place.min() < ring.count - room or place.max() >= ring.count:
                raise ValueError(
                    f"frames {place.min():,d} to {place.max():,d} are asked for; of {ring.count:,d} the last "
                    f"{room:,d} are kept: too many episodes that diverged took the room of others"
                )
            found.append((where, ring, place % room))
        return found


class _Ring:
    """Room for frames of a kind."""

    def __init__(self, room: int, size: int, embedding: int):
        self.pictures = np.zeros((room, size, size, 3), np.uint8)
        self.embeddings = np.zeros((room, embedding), np.float32)
        self.version = np.full(room, NEVER, np.int32)
        self.count = 0


class Numbered:
    """Stands in an env where an encoder of pictures does: a picture's embedding is its number.

    Args:
        store: where pictures are kept.
        test: whether the env is for tests: what is seen there is kept until the next step.
        goal: width of the simulator's goals.
    """

    embedding = 1
    supervised = False

    def __init__(self, store: FrameStore, test: bool, goal: int):
        self.store, self.size, self.goal = store, store.size, goal
        self._test = test
        self._goals = np.zeros((0, self.size, self.size, 3), np.uint8)

    def follow(self, pictures: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
        """Keep what is seen at a step, ``(n, size, size, 3)`` uint8; the numbers, ``(n, 1)``. What was seen
        ``before`` changes nothing."""
        kind = TEST_FRAMES if self._test else FRAMES
        if self._test or self.store.room(kind) < len(pictures):
            self.store.reserve(kind, len(pictures))
        return self.store.add(kind, pictures)[:, None]

    def embed_goals(self, pictures: np.ndarray) -> np.ndarray:
        """Keep goal images beside those that there are; the numbers, ``(n, 1)``."""
        kind = TEST_GOALS if self._test else GOALS
        self._goals = np.concatenate([self._goals, pictures])
        self.store.reserve(kind, len(self._goals))
        return self.store.add(kind, self._goals)[-len(pictures) :, None]
