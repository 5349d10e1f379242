"""Strict reading of dataclasses from mappings: every key known, every type right, every value in range."""

import dataclasses
import difflib
import math
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from yaml.composer import ComposerError

from .errors import UserError, first_line
from .files import read_bounded

T = TypeVar("T")


class ConfigError(UserError):
    """A setting is unknown, of the wrong type or out of range; one line says which and what is allowed."""


@dataclass(frozen=True)
class Range:
    """What a number may be: ``low`` to ``high``; an open end excludes the bound itself."""

    low: float = float("-inf")
    high: float = float("inf")
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        # Whole numbers may be too large to be asked.
        if isinstance(value, float) and not math.isfinite(value):
            return False
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        if self.high == float("inf"):
            return f"{'more than' if self.open_low else 'at least'} {self.low:g}, and finite"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"in {left}{self.low:.12g}, {self.high:.12g}{right}"


@dataclass(frozen=True)
class Least(Range):
    """A range whose upper end is only there so that what is asked for can be reckoned with."""

    def __str__(self) -> str:
        return f"at least {self.low:g} and at most {self.high:g}"


@dataclass(frozen=True)
class Text:
    """What a text may be: a full match of ``pattern``, which ``meaning`` puts into words."""

    pattern: str
    meaning: str

    def __contains__(self, value: str) -> bool:
        return re.fullmatch(self.pattern, value, re.ASCII) is not None

    def __str__(self) -> str:
        return self.meaning


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-3 is a number, as everywhere but in YAML 1.1, and nothing refers to another part.

    A few nested references can stand for more than any memory holds.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise ComposerError(None, None, "references (*name) are not allowed", mark)
        return super().compose_node(parent, index)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


LARGEST_YAML = 2**18
"""Bytes of a YAML file that we read: a hundred times our own, and seconds of parsing."""


class _Dumper(yaml.SafeDumper):
    """Quotes a text that ``_Loader`` would read as a number."""


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def write_yaml(values: Mapping[str, Any]) -> str:
    """The text from which ``read_yaml`` reads the same values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as a dict.

    Raises:
        ConfigError: if it cannot be read, is not YAML, or is not a mapping.
    """
    try:
        text = read_bounded(path, LARGEST_YAML).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    try:
        content = yaml.load(text, Loader=_Loader)
    except (
        Exception
    ) as error:  # beside YAMLError, whatever its constructors of tagged values stumble on
        reason = first_line(ValueError(" ".join(str(error).split()) or type(error).__name__))
        raise ConfigError(f"{path} is not valid YAML: {reason}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping of settings, not {type(content).__name__}")
    return content


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over``, mappings merged key by key."""
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(inner, value) if both else value  # type: ignore[arg-type]
    return merged


def to_mapping(config: Any) -> dict[str, Any]:
    """A configuration as plain dicts, lists and scalars, ready for YAML or JSON."""
    plain = dataclasses.asdict(config)
    return {key: _plain(value) for key, value in plain.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value


def differing(left: Any, right: Any, prefix: str = "") -> list[str]:
    """Names of the settings in which two configurations of one kind differ, as in ``agent.gamma``."""
    names = []
    for each in dataclasses.fields(left):
        one, other = getattr(left, each.name), getattr(right, each.name)
        if dataclasses.is_dataclass(one):
            names += differing(one, other, f"{prefix}{each.name}.")
        elif one != other:
            names.append(f"{prefix}{each.name}")
    return names


def from_mapping(kind: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """Build a configuration dataclass from a mapping, strictly.

    Raises:
        ConfigError: on an unknown key, a wrong type or a value out of range.
    """
    hints = get_type_hints(kind, include_extras=True)
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in hints:
            word = key if isinstance(key, str) and key.isprintable() else shown(key)
            close = difflib.get_close_matches(word[:LONGEST], hints, n=1)
            hint = f" (did you mean {prefix}{close[0]}?)" if close else ""
            name = f"{prefix}{word[:LONGEST]}"
            raise ConfigError(f"unknown setting {name}{hint}: choose one of {', '.join(hints)}")
        arguments[key] = _convert(hints[key], value, f"{prefix}{key}")
    return kind(**arguments)


def validate(config: T) -> T:
    """Check every value of a configuration, however it was built, and return it.

    Raises:
        ConfigError: as ``from_mapping``.
    """
    from_mapping(type(config), to_mapping(config))
    return config


LONGEST = 100
"""Characters of a value that a message shows, and entries of a list."""


def shown(value: Any) -> str:
    """A value as a message shows it: in one line, and cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # whole numbers of thousands of digits, endless nesting
        return f"<a {type(value).__name__} too large to show>"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _convert(hint: Any, value: Any, name: str) -> Any:
    """``value`` as the type ``hint`` asks for, or a ConfigError that names it."""
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} = {shown(value)} must be a mapping of settings")
        return from_mapping(hint, value, prefix=f"{name}.")  # type: ignore[arg-type]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        number = _convert(arguments[0], value, name)
        allowed: Range | Text = arguments[1]
        if number not in allowed:
            raise ConfigError(f"{name} = {shown(value)} must be {allowed}")
        return number
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise ConfigError(
                f"{name} = {shown(value)} must be one of {', '.join(map(str, arguments))}"
            )
        return value
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        inner = next(argument for argument in arguments if argument is not type(None))
        return _convert(inner, value, name)
    if origin is tuple:
        if not isinstance(value, (list, tuple)) or not value:
            raise ConfigError(f"{name} = {shown(value)} must be a list of one or more numbers")
        if len(value) > LONGEST:
            raise ConfigError(f"{name} has {len(value)} numbers: at most {LONGEST} are allowed")
        return tuple(_convert(arguments[0], item, name) for item in value)
    return _scalar(hint, value, name)


def _scalar(kind: type, value: Any, name: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{name} is too large a number") from None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{name} = {shown(value)} must be of type {kind.__name__}")
    return value
