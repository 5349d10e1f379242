"""What a check of an env can say."""

import re
from typing import NamedTuple

import numpy as np


class Finding(NamedTuple):
    """One fault of an env that breaks learning by hindsight.

    Attributes:
        name: what kind of fault, the same words in every env, such as ``reward-not-vectorised``.
        explanation: a sentence: what was seen in this env, why that breaks hindsight, what mends it.
        pixels_only: whether it harms only what learns from images.
    """

    name: str
    explanation: str
    pixels_only: bool = False


class Report(NamedTuple):
    """What came of checking an env.

    Attributes:
        findings: faults, at most one of each name.
        unchecked: a sentence for each thing that could not be checked in this env, and why.
    """

    findings: list[Finding]
    unchecked: list[str]


class Broken(Exception):
    """The env cannot be played on with; ``finding`` says why."""

    def __init__(self, name: str, explanation: str) -> None:
        super().__init__(explanation)
        self.finding = Finding(name, f"{explanation}.")


def brief(value: object, longest: int = 120) -> str:
    """The start of an object's text, fit to stand within a sentence."""
    lines = str(value).strip().splitlines() or [""]
    line = re.split(r"\.\s+(?=[A-Z])", lines[0])[0].rstrip(".")
    return line if len(line) <= longest else f"{line[:longest]}…"


def raised(error: BaseException) -> str:
    """Words for an exception."""
    message = brief(error)
    return f"raised {type(error).__name__}" + (f" ({message})" if message else "")


def show(goal: np.ndarray) -> str:
    """A goal in few characters."""
    return np.array2string(goal, precision=3, separator=", ", threshold=8, max_line_width=200)
