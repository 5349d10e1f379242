"""What a check gives."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Status = Literal["pass", "note", "fail"]


class Finding(NamedTuple):
    """What a check found.

    Attributes:
        status: ``"fail"`` keeps training from working, ``"note"`` only something beside it.
        says: one line: what is there, or what is wrong.
        mend: the command that mends it; empty where nothing is wrong.
        figures: what was measured.
    """

    status: Status
    says: str
    mend: str = ""
    figures: Mapping[str, Any] = {}


def passed(says: str, **figures: Any) -> Finding:
    """All is well."""
    return Finding("pass", says, figures=figures)


def noted(says: str, mend: str) -> Finding:
    """Something is missing that training does without."""
    return Finding("note", says, mend)


def failed(says: str, mend: str, **figures: Any) -> Finding:
    """Training would fail, or go wrong."""
    return Finding("fail", says, mend, figures)
