"""Reading a command line: dataclasses by tyro, and mistakes in one line."""

import contextlib
import io
import re
from typing import Any, TypeVar

import tyro

from ..errors import UserError

T = TypeVar("T")


def parse(kind: type[T], arguments: list[str], program: str, default: T | None = None) -> T:
    """Parse with tyro; its framed messages become one line.

    Raises:
        UserError: if the arguments do not fit.
    """
    messages = io.StringIO()
    options: dict[str, Any] = {}
    if default is not None:
        options = {"default": default, "config": (tyro.conf.FlagConversionOff,)}
    try:
        with contextlib.redirect_stderr(messages):
            return tyro.cli(kind, prog=program, args=arguments, **options)
    except SystemExit as exit_:
        if exit_.code:
            raise UserError(_one_line(messages.getvalue())) from None
        raise


def _one_line(framed: str) -> str:
    """The message of a framed error: without its frame, its headline and the pointer to --help."""
    rows = [re.sub(r"[│╭╮╰╯─|+]|-{3,}", " ", row) for row in framed.splitlines()[1:]]
    words = " ".join(" ".join(rows).split())
    return re.split(r" For full helptext,", words)[0]


def take(arguments: list[str], name: str) -> str | None:
    """Remove ``name VALUE`` or ``name=VALUE`` from the arguments and return the value."""
    for index, argument in enumerate(arguments):
        if argument != name and not argument.startswith(f"{name}="):
            continue
        value = arguments.pop(index).partition("=")[2]
        if argument == name and index < len(arguments) and not arguments[index].startswith("--"):
            value = arguments.pop(index)
        if not value:
            raise UserError(f"{name} needs a value behind it")
        return value
    return None


def at_least(name: str, value: float, least: float) -> None:
    """Refuse a number below its least.

    Raises:
        UserError: naming it.
    """
    if not value >= least:  # NaN is refused too
        raise UserError(f"{name} {value} must be at least {least}")
