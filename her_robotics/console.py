"""What a person sees while a run goes on, and how they stop it."""

import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from tqdm import tqdm

from .learner import Progress
from .train import Report


class Bar:
    """A progress bar with steps/s, success rate and time left; plain lines where there is no terminal.

    Args:
        total: env steps of the whole run.
        progress: of the run, read as it changes.
        shown: whether there is a bar at all; of several ranks, the first has one.
    """

    def __init__(self, total: int, progress: Progress, shown: bool = True):
        self._progress = progress
        self._bar = tqdm(
            total=total,
            initial=progress.steps,
            unit="step",
            disable=None if shown else True,
            dynamic_ncols=True,
        )
        self._total = total

    def advance(self) -> None:
        """Show how far the run is."""
        self._bar.update(self._progress.steps - self._bar.n if not self._bar.disable else 0)

    def report(self, report: Report) -> None:
        """Print one line for a test."""
        result, timings = report.evaluation, report.timings
        low, high = result.interval
        to_go = max(0, self._total - self._progress.steps)
        left = self._progress.seconds / self._progress.steps * to_go
        line = (
            f"step {self._progress.steps:>8,d}  success {result.success_rate:.2f} "
            f"[{low:.2f}, {high:.2f}]  distance {result.final_distance:.3f}  "
            f"moved {result.moved_rate:.2f}  {timings['steps_per_second']:,.0f} steps/s  "
            f"{duration(left)} left"
        )
        self._bar.set_postfix_str(f"success {result.success_rate:.2f}")
        tqdm.write(line, file=sys.stderr)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bar.close()


def duration(seconds: float) -> str:
    """``1:05`` or ``2:03:09``."""
    return tqdm.format_interval(seconds)


class StopRequest:
    """Whether, and by which signal, the user asked to stop.

    Attributes:
        signal: number of the signal, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM, 0 if nobody asked."""
        return 0 if self.signal is None else 128 + self.signal


@contextmanager
def listening_for_stop() -> Generator[StopRequest]:
    """Turn the first Ctrl-C or SIGTERM into a request; a second one interrupts at once."""
    request = StopRequest()
    handled = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in handled}

    def ask(number: int, frame: FrameType | None) -> None:
        request.signal = number
        tqdm.write("stopping after this cycle; once more to stop at once", file=sys.stderr)
        # Not what stood before: a job started in the background has SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    for number in handled:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number in handled:
            signal.signal(number, before[number])
