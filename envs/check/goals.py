"""Checks of goals: they lie in their spaces and show nowhere but in ``desired_goal``."""

import numpy as np

from ..vector import PARTS
from .recording import Episode
from .report import Finding
from .subject import Subject

FORETOLD = 0.99
"""Share of a goal's variance from which on the observation is said to give it away."""
RESETS = 200
MOST_RESETS = 600
ENOUGH_STEPS = 5


def check_spaces(subject: Subject) -> Finding | None:
    """Whether all that is shown lies within the bounds of its space."""
    for episode in subject.episodes:
        for step, shown in enumerate(episode.shown):
            for part in PARTS:
                value, box = shown[part], subject.box(part)
                inside = (value >= box.low) & (value <= box.high)
                if inside.all():
                    continue
                at = tuple(int(index) for index in np.argwhere(~inside)[0])
                return Finding(
                    "outside-space",
                    f"{part}{list(at)} was {value[at]:.4g} at {episode.at(step)}, outside its "
                    f"space's bounds {box.low[at]:.4g} to {box.high[at]:.4g}, so goals that are "
                    "achieved cannot all be desired in hindsight: widen the Box to what occurs.",
                )
    return None


def check_goal_not_shown(subject: Subject) -> Finding | str | None:
    """Whether the observation tells nothing of the desired goal."""
    could_set = subject.can_change_only_the_goal
    seen = _changed_with_goal(subject) if could_set else None
    unchecked = None
    if seen is None:
        seen, unchecked = _foretold(subject)
    if seen is not None:
        return Finding(
            "goal-visible-in-observation",
            f"{seen}, so a relabelled transition still shows the goal it was lived for and the "
            "policy learns to heed that one: leave the goal out of all but desired_goal.",
        )
    if could_set or unchecked is None:
        return None
    return f"Whether the observation shows the goal could not be told, because {unchecked}."


def _changed_with_goal(subject: Subject) -> str | None:
    """Play starts of episodes again with another goal: nothing else may change."""
    for episode in subject.episodes[:3]:
        goals = subject.goals_other_than(episode.shown[0]["desired_goal"])
        if not goals:
            continue
        actions = episode.actions[:ENOUGH_STEPS]
        seen = _first_change(episode, subject.play(episode.seed, actions, goal=goals[0]))
        if seen is not None:
            return seen
    return None


def _first_change(one: Episode, other: Episode) -> str | None:
    for step, (a, b) in enumerate(zip(one.shown, other.shown, strict=False)):
        for part in ("observation", "achieved_goal"):
            changed = (a[part] != b[part]) & ~(np.isnan(a[part]) & np.isnan(b[part]))
            if changed.any():
                where = tuple(int(index) for index in np.argwhere(changed)[0])
                return (
                    f"{part}{list(where)} at {one.at(step)} was {a[part][where]:.4g} but "
                    f"{b[part][where]:.4g} when only the desired goal was another"
                )
    return None


def _foretold(subject: Subject) -> tuple[str | None, str | None]:
    """Foretell the goal from the observation, over many resets, by linear regression.

    What the achieved goal alone foretells is no leak: some tasks draw the goal around the start.

    Returns:
        What was seen, if the goal is given away, and why it could not be told, if it could not.
    """
    sizes = [int(np.prod(subject.box(part).shape)) for part in PARTS[:2]]
    count = max(RESETS, 3 * sum(sizes))
    if count > MOST_RESETS:
        return None, f"its {sizes[0]} numbers are too many to search"
    resets = [subject.reset(subject.seed + index) for index in range(count)]
    observed, achieved, desired = (
        np.stack([shown[part].astype(float).ravel() for shown in resets]) for part in PARTS
    )
    varying = np.flatnonzero(desired.std(axis=0) > 1e-9)
    if len(varying) == 0:
        return None, f"the goal was the same after all of {count} resets"
    if not np.isfinite(np.concatenate([observed, achieved, desired], axis=1)).all():
        return None, f"not all that {count} resets showed is finite"
    everything = np.concatenate([observed, achieved], axis=1)
    for index in varying:
        share = _explained(everything, desired[:, index])
        by_start = _explained(achieved, desired[:, index])
        if share > FORETOLD and 1.0 - share < 0.1 * (1.0 - by_start):
            return (
                f"over {count} resets the observation foretold {100 * share:.1f}% of the variance "
                f"of desired_goal[{index}], the achieved goal alone {100 * max(by_start, 0.0):.1f}%"
            ), None
    return None, None


def _explained(features: np.ndarray, target: np.ndarray) -> float:
    """Share of a target's variance ``(n,)`` that features ``(n, d)`` explain, on the last third."""
    train = 2 * len(target) // 3
    spread = features[:train].std(axis=0)
    moving = spread > 1e-9
    scaled = (features[:, moving] - features[:train, moving].mean(axis=0)) / spread[moving]
    columns = np.column_stack([scaled, np.ones(len(target))])
    weights, *_ = np.linalg.lstsq(columns[:train], target[:train], rcond=None)
    left = target[train:] - columns[train:] @ weights
    return 1.0 - float(left.var() / max(target[train:].var(), 1e-18))
