"""What in a goal env breaks learning by hindsight, found by playing it and told in a sentence each."""

import warnings
from collections.abc import Callable
from typing import Any

from .episodes import check_horizon, check_one_goal, check_seeding, check_termination
from .goals import check_goal_not_shown, check_spaces
from .pixels import check_pixels
from .report import Broken, Finding, Report
from .rewards import NOT_A_FUNCTION, check_function, check_vectorised
from .step_reward import check_step_reward
from .subject import Subject

__all__ = ["Finding", "Report", "check_goal_env"]

Check = Callable[[Subject], Finding | str | None]
"""Gives a finding, or a sentence on why it cannot judge this env, or None if all is well."""

CHECKS: list[Check] = [
    check_spaces,
    check_seeding,
    check_horizon,
    check_one_goal,
    check_function,
    check_vectorised,
    check_step_reward,
    check_termination,
    check_goal_not_shown,
    check_pixels,
]
JUDGING_A_FUNCTION: list[Check] = [check_vectorised, check_step_reward]
"""Checks that compare rewards, which says nothing if a reward has no one value."""


def check_goal_env(env: Any, episodes: int = 10, seed: int = 0) -> Report:
    """Find what in an env breaks learning by hindsight.

    Plays random episodes, replays some of them with other goals where the env lets its ``goal`` be
    set, and resets it a few hundred times. Wrappers are checked along with the env; it is not closed.

    Args:
        env: a Gymnasium env; with ``render_mode="rgb_array"`` its pictures are checked too.
        episodes: random episodes to play, at least 2.
        seed: of the first of them.

    Returns:
        A report; an env that is no goal env or raises gets a finding that says so.

    Raises:
        ValueError: if there are fewer than 2 episodes or the seed is negative.
    """
    if episodes < 2 or seed < 0:
        raise ValueError(
            f"a check takes 2 or more episodes and a seed of 0 or more, not {episodes} and {seed}"
        )
    with warnings.catch_warnings():
        # Gymnasium's own checks would warn of half of what is reported here.
        warnings.simplefilter("ignore")
        try:
            subject = Subject(env, episodes, seed)
        except Broken as broken:
            return Report([broken.finding], ["Nothing else could be checked."])
        return _run(subject)


def _run(subject: Subject) -> Report:
    findings: dict[str, Finding] = {}
    unchecked: list[str] = []
    for check in CHECKS:
        if check in JUDGING_A_FUNCTION and NOT_A_FUNCTION in findings:
            unchecked.append(
                f"{(check.__doc__ or '').rstrip('.')} was not checked, because of {NOT_A_FUNCTION}."
            )
            continue
        try:
            outcome = check(subject)
        except Broken as broken:
            outcome = broken.finding
        if isinstance(outcome, Finding):
            findings.setdefault(outcome.name, outcome)
        elif outcome is not None:
            unchecked.append(outcome)
    return Report(list(findings.values()), unchecked)
