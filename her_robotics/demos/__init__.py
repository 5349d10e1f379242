"""Demonstrations of the methods, one module each: a picture and a small table within a minute or so."""

from .demo import Demo
from .estimators import EstimatorsDemo
from .known_mdp import KnownMDPDemo

__all__ = ["DEMOS", "Demo"]

DEMOS: dict[str, type[Demo]] = {
    "estimators": EstimatorsDemo,
    "known_mdp": KnownMDPDemo,
}
