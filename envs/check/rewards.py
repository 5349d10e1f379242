"""Checks of ``compute_reward``: hindsight asks it of goals that were never pursued."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .recording import Pair, difference
from .report import Broken, Finding, brief, raised, show
from .subject import Subject, failures

PAIRS = 61
"""Pairs of goals judged at once: a number that no goal is long."""
NOT_A_FUNCTION = "reward-not-a-function"


def check_function(subject: Subject) -> Finding | None:
    """Whether ``compute_reward`` is a function of the goals it is given, and of nothing else."""
    seen = (
        _needs_info(subject)
        or _changes_its_arguments(subject)
        or _changes_with_time(subject)
        or _changes_the_episode(subject)
    )
    if seen is None:
        return None
    return Finding(
        NOT_A_FUNCTION,
        f"{seen}, so the reward of a goal put in afterwards is not what pursuing it would have "
        "earned: compute it from achieved_goal and desired_goal alone, and change nothing.",
    )


def check_vectorised(subject: Subject) -> Finding | None:
    """Whether ``compute_reward`` judges a batch of pairs as it judges each alone."""
    pairs = _many_pairs(subject)
    achieved, desired = np.stack([p.achieved for p in pairs]), np.stack([p.desired for p in pairs])
    alone = np.array([subject.reward(*pair) for pair in pairs])
    seen = _batch_fault(subject, achieved, desired, alone)
    if seen is None:
        return None
    return Finding(
        "reward-not-vectorised",
        f"compute_reward of goals of shape {achieved.shape} {seen}, but hindsight judges thousands "
        "of relabelled transitions in one call: reduce over the last axis (axis=-1) and return one "
        "reward a pair.",
    )


def _batch_fault(
    subject: Subject, achieved: np.ndarray, desired: np.ndarray, alone: np.ndarray
) -> str | None:
    try:
        given: Any = subject.compute_reward(achieved.copy(), desired.copy(), {})
        rewards = np.asarray(given).astype(float)
    except Exception as error:
        return raised(error)
    if rewards.shape != alone.shape:
        return f"gave rewards of shape {rewards.shape} instead of {alone.shape}"
    wrong = np.flatnonzero(~np.isclose(rewards, alone, rtol=1e-4, atol=1e-5, equal_nan=True))
    if len(wrong) == 0:
        return None
    at = int(wrong[0])
    return f"gave {rewards[at]:.4g} for pair {at}, which alone earns {alone[at]:.4g}"


def _needs_info(subject: Subject) -> str | None:
    """Words for how the step's info sways the reward; hindsight has none of a relabelled step."""
    episode = subject.episodes[0]
    for step, info in enumerate(episode.infos, start=1):
        achieved, desired = episode.pair(step)
        try:
            value = subject.compute_reward(achieved.copy(), desired.copy(), dict(info))
            informed = float(np.asarray(value).item())
        except Exception:
            informed = None
        try:
            bare = subject.reward(achieved, desired)
        except Broken as broken:
            if informed is None:
                raise
            cause = brief(repr(broken.__cause__))
            return (
                f"compute_reward works with the step's info but fails with an empty one ({cause})"
            )
        if informed is not None and not _same(informed, bare):
            return (
                f"compute_reward at {episode.at(step)} gave {informed:.4g} with the step's info "
                f"and {bare:.4g} with an empty one"
            )
    return None


def _changes_its_arguments(subject: Subject) -> str | None:
    for pair in _few_pairs(subject):
        given = Pair(pair.achieved.copy(), pair.desired.copy())
        with failures(f"compute_reward of {pair}"):
            subject.compute_reward(*given, {})
        for name, before, after in zip(("achieved", "desired"), pair, given, strict=True):
            if not np.array_equal(before, after, equal_nan=True):
                return (
                    f"compute_reward overwrote the {name} goal {show(before)} that it was given "
                    f"with {show(after)}"
                )
    return None


def _changes_with_time(subject: Subject) -> str | None:
    pairs = _few_pairs(subject)
    first: list[float] = []
    for where in _moments(subject):
        values = [subject.reward(*pair) for pair in pairs]
        first = first or values
        for pair, one, other in zip(pairs, first, values, strict=True):
            if not _same(one, other):
                return f"compute_reward gave {one:.4g} and, {where}, {other:.4g} for {pair}"
    return None


def _changes_the_episode(subject: Subject) -> str | None:
    if subject.replay_difference is not None:
        return None
    first = subject.episodes[0]
    achieved, desired = _few_pairs(subject)[-1]

    def meddle() -> None:
        subject.reward(achieved, desired)

    change = difference(first, subject.play(first.seed, first.actions, after_step=meddle))
    if change is None:
        return None
    return (
        f"with compute_reward called between its steps an episode turned out otherwise ({change})"
    )


def _moments(subject: Subject) -> Iterator[str]:
    """Bring the env into different states, the first of them twice."""
    yield "at first"
    yield "asked again"
    for index, episode in enumerate(subject.episodes[:3]):
        subject.play(episode.seed, episode.actions[: _moment(index, episode.length)])
        yield "after another episode had begun"


def _moment(index: int, length: int) -> int:
    """At which step of its episode the ``index``-th of the moments lies."""
    return (index + 1) * length // 3


def _few_pairs(subject: Subject) -> list[Pair]:
    """All pairs of the goals shown at the moments that ``_moments`` visits."""
    goals: list[np.ndarray] = []
    for index, episode in enumerate(subject.episodes[:3]):
        shown = episode.shown[_moment(index, episode.length)]
        goals += [shown["achieved_goal"], shown["desired_goal"]]
    return [Pair(one, other) for one in goals for other in goals]


def _many_pairs(subject: Subject) -> list[Pair]:
    """``PAIRS`` pairs, from equal ones to distant ones."""
    achieved = np.concatenate([e.goals("achieved_goal") for e in subject.episodes])
    goals = [e.shown[0]["desired_goal"] for e in subject.episodes]
    pairs = []
    for index in range(PAIRS):
        one = achieved[index * 17 % len(achieved)]
        later = achieved[(index * 17 + index % 5) % len(achieved)]
        pairs.append(Pair(one, goals[index % len(goals)] if index % 3 == 2 else later))
    return pairs


def _same(one: float, other: float) -> bool:
    return one == other or (one != one and other != other)
