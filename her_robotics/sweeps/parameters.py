"""What a sweep may vary: settings by name, and where their values come from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..config import Config
from ..strict import ConfigError, from_mapping, shown

Value = bool | int | float | str | None
"""A list is written as in YAML: ``[64, 64]``."""


class Suggest(Protocol):
    """Optuna's trial, as far as values are drawn from it."""

    def suggest_categorical(self, name: str, choices: tuple[Value, ...], /) -> Any: ...

    def suggest_int(self, name: str, low: int, high: int, /) -> int: ...

    def suggest_float(self, name: str, low: float, high: float, /, *, log: bool) -> float: ...


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Value, ...]

    def suggest(self, trial: Suggest, name: str) -> Value:
        """The value that a trial takes."""
        return trial.suggest_categorical(name, self.values)


@dataclass(frozen=True)
class Interval:
    """A number between two, both included; drawn evenly, or evenly in its logarithm."""

    low: float
    high: float
    whole: bool = False
    log: bool = False

    @property
    def values(self) -> tuple[Value, ...]:
        """Its ends."""
        return (self.low, self.high)

    def suggest(self, trial: Suggest, name: str) -> Value:
        """The value that a trial takes."""
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high))
        return trial.suggest_float(name, self.low, self.high, log=self.log)


Parameter = Choice | Interval
KEYS = {
    "constant": ("value",),
    "categorical": ("values",),
    "int_uniform": ("min", "max"),
    "uniform": ("min", "max"),
    "log_uniform_values": ("min", "max"),
}
"""Distributions of wandb's that can be searched here too, and what each is told."""


def read_parameters(given: Mapping[str, Any]) -> dict[str, Parameter]:
    """The parameters of a sweep, every value of which the setting may have.

    Raises:
        ConfigError: naming what is not understood, and what is.
    """
    if not given:
        raise ConfigError("parameters names no setting to vary, such as agent.gamma")
    parameters = {}
    for name, told in given.items():
        if not isinstance(name, str) or not isinstance(told, Mapping):
            raise ConfigError(
                f"parameters.{shown(name)} = {shown(told)} must map the name of a setting, such as "
                "agent.gamma, to its values: {values: [0.95, 0.98]}, or {min: 0.9, max: 0.99}"
            )
        parameters[name] = _read(f"parameters.{name}", told)
        for value in parameters[name].values:
            _check(name, value, told)
    return parameters


def _read(where: str, told: Mapping[str, Any]) -> Parameter:
    kind = told.get("distribution", _usual(told))
    if not isinstance(kind, str) or kind not in KEYS:
        raise ConfigError(f"{where}.distribution = {shown(kind)} must be one of {', '.join(KEYS)}")
    wanted = KEYS[kind]
    if told.keys() - {"distribution"} != set(wanted):
        others = ", ".join(map(str, told.keys() - {"distribution"})) or "nothing"
        raise ConfigError(f"{where} is {kind}, which is told {' and '.join(wanted)}, not {others}")
    if kind == "constant":
        return Choice((_plain(told["value"]),))
    if kind == "categorical":
        if not isinstance(told["values"], list) or not told["values"]:
            raise ConfigError(f"{where}.values = {shown(told['values'])} must be a list of values")
        return Choice(tuple(map(_plain, told["values"])))
    return _interval(where, kind, told["min"], told["max"])


def _usual(told: Mapping[str, Any]) -> str:
    """The distribution that wandb takes where none is named."""
    if "value" in told:
        return "constant"
    if "values" in told:
        return "categorical"
    whole = all(isinstance(told.get(end), int) for end in ("min", "max"))
    return "int_uniform" if whole else "uniform"


def _interval(where: str, kind: str, low: Any, high: Any) -> Interval:
    whole = kind == "int_uniform"
    for end, value in (("min", low), ("max", high)):
        fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not fits:
            a = "a whole number" if whole else "a number"
            raise ConfigError(f"{where}.{end} = {shown(value)} must be {a}")
    if not low < high:
        raise ConfigError(f"{where}: min = {low} must be less than max = {high}")
    if kind == "log_uniform_values" and low <= 0:
        raise ConfigError(f"{where}.min = {low} must be more than 0 for {kind}")
    if whole:
        return Interval(low, high, whole=True)
    return Interval(float(low), float(high), log=kind == "log_uniform_values")


def _plain(value: Any) -> Value:
    """A value as Optuna keeps it; it has no lists."""
    return value if isinstance(value, Value) else str(value)


def _check(name: str, value: Value, told: Mapping[str, Any]) -> None:
    """Refuse a name that is no setting, and a value that it cannot have."""
    lists = {str(each): each for each in told.get("values", [told.get("value")])}
    nested: Any = lists.get(value, value) if isinstance(value, str) else value
    for part in reversed(name.split(".")):
        nested = {part: nested}
    try:
        from_mapping(Config, nested)
    except ConfigError as error:
        raise ConfigError(f"parameters: {error}") from error
