"""Small accumulators for figures that are reported now and then."""

import math
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import torch

from .distributed import gather


class Averages:
    """Running means of named figures. Tensors are summed as they are and read only when taken."""

    def __init__(self) -> None:
        self._sums: dict[str, float | torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, figures: Mapping[str, float | torch.Tensor]) -> None:
        """Take in one value of each figure."""
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def state_dict(self) -> dict:
        """What has been taken in since the last ``take``."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: dict) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            ValueError: if it is not what ``state_dict`` gives.
        """
        sums, counts = state["sums"], state["counts"]
        if not isinstance(sums, dict) or not isinstance(counts, dict):
            raise ValueError("the averages are no sums of figures")
        numbers = all(math.isfinite(total) for total in sums.values())
        if not numbers or sums.keys() != counts.keys() or not all(map(_is_count, counts.values())):
            raise ValueError("the averages are no sums of figures")
        self._sums, self._counts = dict(sums), dict(counts)

    def take(self) -> dict[str, float]:
        """The means since the last call, over what all ranks have taken in."""
        own = {name: (float(total), self._counts[name]) for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        totals: dict[str, tuple[float, int]] = {}
        for shares in gather("averages", own):
            for name, (total, count) in shares.items():
                before, number = totals.get(name, (0.0, 0))
                totals[name] = (before + total, number + count)
        return {name: total / count for name, (total, count) in totals.items()}


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


class Stopwatch:
    """Time spent in named activities: on the clock, and by the process's threads on all processors."""

    def __init__(self) -> None:
        self._spent: dict[str, float] = {}
        self._worked: dict[str, float] = {}

    @contextmanager
    def __call__(self, activity: str) -> Generator[None]:
        """Time the body of a ``with`` statement."""
        start, worked = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            spent, worked = time.perf_counter() - start, time.process_time() - worked
            self._spent[activity] = self._spent.get(activity, 0.0) + spent
            self._worked[activity] = self._worked.get(activity, 0.0) + worked

    def take(self, steps: int) -> dict[str, float]:
        """Seconds and processor seconds per activity since the last call, and env steps per second of the
        former, tests left out."""
        training = math.fsum(time for name, time in self._spent.items() if name != "test")
        figures = {f"seconds/{name}": time for name, time in self._spent.items()}
        figures |= {f"processor/{name}": time for name, time in self._worked.items()}
        self._spent.clear()
        self._worked.clear()
        return {**figures, "steps_per_second": steps / training if training else float("nan")}
