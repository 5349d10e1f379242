"""Every call into an env under scrutiny goes through here."""

import contextlib
import copy
from collections.abc import Callable, Generator
from functools import cached_property
from typing import Any

import gymnasium as gym
import numpy as np

from ..vector import PARTS
from .recording import Episode, Obs, difference
from .report import Broken, brief, raised, show
from .structure import find_method, goal_boxes

LONGEST = 2_000
"""Steps after which an episode that nothing truncates is taken to have no end."""
ENDLESS_SAMPLE = 100
"""Steps kept of each episode of an env without an end."""


class Subject:
    """An env under scrutiny, with the random episodes that all checks share.

    Args:
        env: anything; that it is a goal env is checked first.
        episodes: how many random episodes to record.
        seed: of the first episode; the others have the seeds that follow.

    Attributes:
        episodes: what was recorded.
        horizon: ``max_episode_steps`` of the env's spec, or None.
        endless: whether an episode without a known horizon went on for ``LONGEST`` steps.

    Raises:
        Broken: if the env is not a goal env, fails, or shows what its spaces do not allow.
    """

    def __init__(self, env: Any, episodes: int, seed: int) -> None:
        self._boxes = goal_boxes(env)
        self.env: gym.Env = env
        self.seed = seed
        self.horizon = env.spec.max_episode_steps if env.spec else None
        self.endless = False
        self.compute_reward = find_method(env, "compute_reward")
        # The env's own is left as it is, so that checking an env changes no chance in it.
        self._action_space = copy.deepcopy(env.action_space)
        self._action_space.seed(seed)
        self.episodes: list[Episode] = []
        for index in range(episodes):
            episode = self.play(seed + index)
            self.endless |= self.horizon is None and episode.length == LONGEST
            self.episodes.append(episode.start(ENDLESS_SAMPLE) if self.endless else episode)

    def box(self, part: str) -> gym.spaces.Box:
        """The space of one part of the observation."""
        return self._boxes[part]

    def reset(self, seed: int) -> Obs:
        """What the env shows after ``reset(seed=seed)``, copied."""
        where = f"reset(seed={seed})"
        with failures(where):
            shown, _ = self.env.reset(seed=seed)
        return self._copied(shown, where)

    def play(
        self,
        seed: int,
        actions: list[Any] | None = None,
        goal: np.ndarray | None = None,
        after_step: Callable[[], object] | None = None,
    ) -> Episode:
        """Play an episode until it ends or the actions do.

        Args:
            seed: for reset.
            actions: to take; None draws them at random.
            goal: desired goal set right after reset (see ``can_set_goal``); None leaves it.
            after_step: called after every step.
        """
        episode = Episode(seed, [self.reset(seed)], [], [], [], [], [])
        limit = self.horizon or (ENDLESS_SAMPLE if self.endless else LONGEST)
        with self._goal_set_to(goal):
            for step in range(limit if actions is None else len(actions)):
                self._step(episode, None if actions is None else actions[step])
                if after_step:
                    after_step()
                if episode.terminated[-1] or episode.truncated[-1]:
                    break
        return episode

    def reward(self, achieved: np.ndarray, desired: np.ndarray) -> float:
        """``compute_reward`` of one pair of goals, with an empty info.

        Raises:
            Broken: if it fails or gives no number.
        """
        with failures(f"compute_reward({show(achieved)}, {show(desired)}, {{}})"):
            value = self.compute_reward(achieved.copy(), desired.copy(), {})
            return float(np.asarray(value).item())

    @cached_property
    def replay_difference(self) -> str | None:
        """Where the first episode, played again with its seed and actions, is another; None if nowhere."""
        first = self.episodes[0]
        return difference(first, self.play(first.seed, first.actions))

    @cached_property
    def can_set_goal(self) -> bool:
        """Whether setting ``goal`` on the unwrapped env changes the desired goal and nothing refuses."""
        episode = self.episodes[0]
        others = self.goals_other_than(episode.shown[0]["desired_goal"])
        if not others:
            return False
        try:
            shown = self.reset(episode.seed)["desired_goal"]
            if not _alike(getattr(self.env.unwrapped, "goal", None), shown):
                return False
            played = self.play(episode.seed, episode.actions[:1], goal=others[0])
        except Exception:  # whatever an attribute of that name does, it is not the goal
            return False
        return _alike(played.shown[1]["desired_goal"], others[0])

    @property
    def can_change_only_the_goal(self) -> bool:
        """Whether an episode can be played again with another goal and be the same but for that."""
        return self.can_set_goal and self.replay_difference is None

    def goals_other_than(self, goal: np.ndarray) -> list[np.ndarray]:
        """Recorded goals unlike ``goal`` that may be desired, desired ones first."""
        goals = [episode.shown[0]["desired_goal"] for episode in self.episodes]
        goals += [episode.shown[-1]["achieved_goal"] for episode in self.episodes]
        box = self.box("desired_goal")
        return [g for g in goals if not _alike(g, goal) and _within(g, box)]

    def _step(self, episode: Episode, action: Any) -> None:
        """Take a step, at random without an action, and add it to the episode."""
        where = f"step {episode.length + 1} after reset(seed={episode.seed})"
        with failures(where):
            action = self._action_space.sample() if action is None else action
            shown, reward, terminated, truncated, info = self.env.step(copy.copy(action))
            episode.rewards.append(float(np.asarray(reward).item()))
            episode.terminated.append(bool(terminated))
            episode.truncated.append(bool(truncated))
            episode.infos.append(dict(info))
        episode.shown.append(self._copied(shown, where))
        episode.actions.append(action)

    @contextlib.contextmanager
    def _goal_set_to(self, goal: np.ndarray | None) -> Generator[None, None, None]:
        if goal is None:
            yield
            return
        base: Any = self.env.unwrapped
        with failures(f"setting the goal to {show(goal)}"):
            before = copy.copy(base.goal)
            _set_goal(base, goal)
        try:
            yield
        finally:
            # An env with one goal for ever would not draw the next at reset.
            with failures("setting the goal back"):
                _set_goal(base, before)

    def _copied(self, shown: Any, where: str) -> Obs:
        """The three parts as arrays.

        Raises:
            Broken: if one is missing or is not of its space's shape and kind of number.
        """
        if not isinstance(shown, dict) or any(part not in shown for part in PARTS):
            raise Broken(
                "not-a-goal-env",
                f"{where} showed {brief(shown)}, but hindsight needs all three of "
                f"{', '.join(PARTS)} at every step: return them in a dict",
            )
        with failures(where):
            arrays = {part: np.array(shown[part]) for part in PARTS}
        for part, array in arrays.items():
            box = self.box(part)
            if array.shape != box.shape or not np.can_cast(array.dtype, box.dtype, "same_kind"):
                raise Broken(
                    "outside-space",
                    f"{where} showed {part} of shape {array.shape} and type {array.dtype} where "
                    f"its space says {box.shape} and {box.dtype}, so goals cannot be stored and "
                    "put in each other's place: show what the space declares",
                )
        return arrays


def _set_goal(base: Any, goal: np.ndarray) -> None:
    base.goal = copy.copy(goal)
    # Upstream's mazes move the goal's marker only when told to.
    move_marker = getattr(base, "update_target_site_pos", None)
    if callable(move_marker):
        move_marker()


def _alike(one: Any, other: np.ndarray) -> bool:
    return np.shape(one) == np.shape(other) and bool(np.allclose(one, other))


def _within(goal: np.ndarray, box: gym.spaces.Box) -> bool:
    return bool(((goal >= box.low) & (goal <= box.high)).all())


@contextlib.contextmanager
def failures(where: str) -> Generator[None, None, None]:
    """Turn whatever is raised within into a finding."""
    try:
        yield
    except Exception as error:
        raise Broken(
            "env-fails",
            f"{where} {raised(error)}, so no episode can be recorded or relabelled: mend that first",
        ) from error
