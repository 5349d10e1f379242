"""The check that a step pays the reward of the goal it achieves."""

from typing import NamedTuple

import numpy as np

from .recording import Episode
from .report import Broken, Finding
from .subject import Subject


class _Pay(NamedTuple):
    """What a step paid, and what the goals achieved before and by it earn."""

    where: str
    paid: float
    before: float
    after: float


def check_step_reward(subject: Subject) -> Finding | str | None:
    """Whether a step pays the reward of the goal it achieved, not of the one achieved before."""
    episodes = list(subject.episodes)
    if subject.can_change_only_the_goal:
        episodes += _provoked(subject)
    pays = [pay for episode in episodes for pay in _pays(subject, episode)]
    wrong = [pay for pay in pays if not _close(pay.paid, pay.after)]
    if wrong:
        return _wrong_pay(wrong)
    if any(not _close(pay.before, pay.after) for pay in pays):
        return None
    return (
        "Whether steps reward the next goal or the current one could not be told, because in "
        f"{len(subject.episodes)} random episodes the two never had different rewards: try more "
        "episodes, or let `goal` be set on the env."
    )


def _pays(subject: Subject, episode: Episode) -> list[_Pay]:
    pays = []
    for step, paid in enumerate(episode.rewards, start=1):
        before, after = (subject.reward(*episode.pair(step, back)) for back in (1, 0))
        pays.append(_Pay(episode.at(step), paid, before, after))
    return pays


def _wrong_pay(wrong: list[_Pay]) -> Finding:
    where, paid, _, after = wrong[0]
    if all(_close(pay.paid, pay.before) for pay in wrong):
        return Finding(
            "reward-of-current-goal",
            f"{where} paid {paid:.4g}, which compute_reward gives for the goal achieved before the "
            f"step, where the goal achieved by it earns {after:.4g}, so relabelled transitions "
            "are rewarded one step off from lived ones: judge the achieved goal of the "
            "observation that the step returns.",
        )
    return Finding(
        "reward-differs-from-step",
        f"{where} paid {paid:.4g}, but compute_reward of the goals it then showed gives "
        f"{after:.4g}, so relabelled transitions are rewarded by another rule than lived ones: let "
        "step return compute_reward(achieved_goal, desired_goal, info) of what it shows.",
    )


def _provoked(subject: Subject) -> list[Episode]:
    """The start of an episode again, with a goal that its longest step reaches and the one before not."""
    moves = [np.diff(e.goals("achieved_goal").astype(float), axis=0) for e in subject.episodes]
    lengths = [np.linalg.norm(m.reshape(len(m), -1), axis=1) for m in moves]
    which = int(np.argmax([of_one.max() for of_one in lengths]))
    episode, step = subject.episodes[which], int(lengths[which].argmax()) + 1
    goal = _dividing_goal(subject, episode, step)
    if goal is None:
        return []
    try:
        return [subject.play(episode.seed, episode.actions[:step], goal=goal)]
    except Broken:  # an env may refuse goals beyond what it draws
        return []


def _dividing_goal(subject: Subject, episode: Episode, step: int) -> np.ndarray | None:
    """A goal ahead of a step whose reward differs between the step's two ends, if there is one."""
    before, after = (episode.shown[step - back]["achieved_goal"] for back in (1, 0))
    move = after.astype(float) - before
    length = float(np.linalg.norm(move))
    if not 0.0 < length < np.inf:
        return None
    box = subject.box("desired_goal")

    def goal_at(distance: float) -> np.ndarray:
        return np.clip(after + distance / length * move, box.low, box.high).astype(box.dtype)

    reached = subject.reward(after, after)
    near, far = 0.0, length
    while subject.reward(after, goal_at(far)) == reached and far < 1e15 * length:
        far *= 2.0
    for _ in range(60):
        middle = (near + far) / 2.0
        inside = subject.reward(after, goal_at(middle)) == reached
        near, far = (middle, far) if inside else (near, middle)
    # The last goal that counts as reached, half a step less far where rounding cannot matter.
    for distance in (0.0, max(near - length / 2.0, 0.0), near):
        goal = goal_at(distance)
        if not _close(subject.reward(before, goal), subject.reward(after, goal)):
            return goal
    return None


def _close(one: float, other: float) -> bool:
    return bool(np.isclose(one, other, rtol=1e-4, atol=1e-5, equal_nan=True))
