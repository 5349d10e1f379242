"""Checks of how episodes begin, go on and end."""

import numpy as np

from .recording import Episode
from .report import Broken, Finding
from .subject import LONGEST, Subject


def check_seeding(subject: Subject) -> Finding | None:
    """Whether the same seed and actions give the same episode, whatever was played between."""
    change = subject.replay_difference
    if change is None:
        return None
    first = subject.episodes[0]
    return Finding(
        "non-deterministic-seeding",
        f"reset(seed={first.seed}) and the same {first.length} actions gave another episode the "
        f"second time ({change}), so no run can be repeated and no goal can be tried twice from "
        "one start: draw all chance from self.np_random, which super().reset(seed=seed) seeds, "
        "and reset the whole state.",
    )


def check_horizon(subject: Subject) -> Finding | str | None:
    """Whether every episode is truncated after the same number of steps."""
    seen = _uneven_ends(subject)
    if seen is not None:
        return Finding(
            "variable-horizon",
            f"{seen}, but hindsight takes goals from whole episodes that are stored and sampled as "
            "arrays of one length: truncate after a fixed number of steps, as "
            "gymnasium.wrappers.TimeLimit does, and let nothing else end an episode.",
        )
    whole = [e for e in subject.episodes if not e.terminated[-1]]
    if len(whole) < 2:
        return (
            f"Whether episodes have one length could not be told, because only {len(whole)} of "
            f"{len(subject.episodes)} ended by truncation: play more."
        )
    return None


def check_termination(subject: Subject) -> Finding | str | None:
    """Whether reaching the goal leaves the episode going."""
    ended = [e for e in subject.episodes if _ends_early(subject, e) and reached(subject, e)]
    if ended:
        return _terminating(f"{ended[0].at(ended[0].length)} reached its goal and was terminated")
    goal = subject.episodes[0].shown[-1]["desired_goal"]
    if _calls_success_an_end(subject, goal):
        return _terminating("compute_terminated(goal, goal, {}) is true")
    succeeded = any(_flag(e, step) for e in subject.episodes for step in range(1, e.length))
    if subject.can_change_only_the_goal:
        return _provoke(subject)
    if succeeded:
        return None
    return (
        "Whether success ends an episode could not be told, because no random episode reached its "
        "goal and no other goal could be set: try more episodes, or let `goal` be set on the env."
    )


def check_one_goal(subject: Subject) -> Finding | None:
    """Whether the desired goal stays what it is until the episode ends."""
    for episode in subject.episodes:
        goals = episode.goals("desired_goal")
        moved = [k for k, g in enumerate(goals) if not np.array_equal(g, goals[0], equal_nan=True)]
        if moved:
            return Finding(
                "goal-changes-within-episode",
                f"at {episode.at(moved[0])} the desired goal was no longer the one shown at reset, "
                "but hindsight keeps one desired goal an episode and would judge the other steps "
                "by the wrong one: draw goals at reset only.",
            )
    return None


def reached(subject: Subject, episode: Episode) -> bool:
    """Whether the last step of an episode reached the goal, by its info or else by its reward."""
    flag = _flag(episode, episode.length)
    if flag is not None:
        return flag
    goal = episode.shown[-1]["desired_goal"]
    *earlier, last = episode.rewards
    return last == subject.reward(goal, goal) or all(last > reward for reward in earlier)


def _flag(episode: Episode, step: int) -> bool | None:
    """What the info of a step says of success, if anything."""
    info = episode.infos[step - 1]
    value = info.get("is_success", info.get("success"))
    return None if value is None else bool(np.all(value))


def _ends_early(subject: Subject, episode: Episode) -> bool:
    horizon = subject.horizon or max(e.length for e in subject.episodes)
    return episode.terminated[-1] and episode.length < horizon


def _uneven_ends(subject: Subject) -> str | None:
    """Words for how the episodes' lengths differ, those cut short by success left out."""
    if subject.endless:
        return (
            f"nothing had ended an episode after {LONGEST} steps, and the env's spec names no "
            "max_episode_steps"
        )
    fallen = [e for e in subject.episodes if _ends_early(subject, e) and not reached(subject, e)]
    if fallen:
        return f"{fallen[0].at(fallen[0].length)} was terminated short of its goal"
    whole = [e for e in subject.episodes if not e.terminated[-1]]
    short, long = (pick(whole, key=_length, default=None) for pick in (min, max))
    if short is None or long is None or short.length == long.length:
        return None
    return (
        f"the episode seeded {short.seed} was truncated after {short.length} steps, the one "
        f"seeded {long.seed} after {long.length}"
    )


def _length(episode: Episode) -> int:
    return episode.length


def _calls_success_an_end(subject: Subject, goal: np.ndarray) -> bool:
    judge = getattr(subject.env.unwrapped, "compute_terminated", None)
    if not callable(judge):
        return False
    try:
        return bool(np.all(judge(goal.copy(), goal.copy(), {})))
    except Exception:  # not ours to ask without the step's info; what steps do is seen anyway
        return False


def _provoke(subject: Subject) -> Finding | None:
    """Play the first episode again, with what it achieves midway as its goal."""
    first = subject.episodes[0]
    middle = max(first.length // 2, 1)
    goal = first.shown[middle]["achieved_goal"]
    try:
        played = subject.play(first.seed, first.actions, goal=goal)
    except Broken:  # not every achieved goal need be one that may be set
        return None
    if not played.terminated[-1] or first.terminated[-1]:
        return None
    return _terminating(
        f"{played.at(played.length)}, of {first.length}, was terminated when its goal was set to "
        f"what step {middle} achieves"
    )


def _terminating(seen: str) -> Finding:
    return Finding(
        "early-termination",
        f"{seen}, but hindsight calls every achieved goal a success, so episodes would have no "
        "one length and staying at a goal would never be learnt: return terminated=False and "
        'report success in info["is_success"].',
    )
