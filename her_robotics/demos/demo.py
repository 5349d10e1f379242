"""What all demonstrations have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ..strict import Range


@dataclass(frozen=True)
class Demo(ABC):
    """A demonstration; its fields are the options of its command."""

    out: str | None = None
    """Folder for the picture and the table. None takes runs/demo-<name>."""
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    """Decides every random number, and so every figure, on one machine and version of torch."""

    @abstractmethod
    def run(self, picture: Path) -> str:
        """Draw the picture to a PNG file and return the table of what was measured."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under a header in aligned columns, the first of them to the left."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for first, *others in (header, *rows):
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join((first.ljust(widths[0]), *cells)))
    return "\n".join(lines)


def within(middle: float, low: float, high: float, digits: int = 3) -> str:
    """``1.25 [1.10, 1.40]``, each number to so many significant digits."""
    return f"{middle:.{digits}g} [{low:.{digits}g}, {high:.{digits}g}]"
