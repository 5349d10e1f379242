"""Goal images: pictures in which a goal is reached, with the goal that they really show."""

from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from .goal_states import GoalStates
from .pictures import shared_pictures
from .tasks import THRESHOLDS, GoalName, find_task
from .vector import check_least

TRIES = 20
"""Goals drawn in place of one that cannot be reached before giving up."""


class GoalImages(NamedTuple):
    """n goal images.

    Attributes:
        pictures: ``(n, size, size, 3)`` uint8 RGB.
        achieved: ``(n, g)`` goals that they show: what is achieved in the pictured states.
        desired: ``(n, g)`` goals that were asked for.
        redrawn: goals that were drawn but not reached, and so replaced by others.
    """

    pictures: np.ndarray
    achieved: np.ndarray
    desired: np.ndarray
    redrawn: int = 0


class GoalPhotographer:
    """Makes goal images of a task.

    Args:
        task: a name in ``envs.TASKS``.
        goal: goal space, ``"object"`` or ``"gripper"``; None takes the task's own.
        camera: a camera of the scene; None takes the task's own.
        size: width and height in pixels.
        distance_threshold: what counts as reached; None takes the goal space's own.
        num_envs: goals reached at once.
        num_threads: physics threads; 0 takes every core.

    Raises:
        ValueError: if a name is unknown or a number out of range; the message says what is allowed.
    """

    def __init__(
        self,
        task: str,
        goal: GoalName | None = None,
        camera: str | None = None,
        size: int = 64,
        distance_threshold: float | None = None,
        num_envs: int = 64,
        num_threads: int = 0,
    ):
        check_least(num_envs=(num_envs, 1), num_threads=(num_threads, 0))
        self._states = GoalStates(find_task(task), goal, num_envs, num_threads)
        self._drawer = shared_pictures(self._states.task)
        self._drawer.check(camera, size)
        self._camera, self._size, self._batch = camera, size, num_envs
        if distance_threshold is None:
            distance_threshold = THRESHOLDS[self._states.goal]
        self._threshold = distance_threshold

    def take(self, goals: np.ndarray) -> tuple[GoalImages, np.ndarray]:
        """Pictures of given goals.

        Args:
            goals: ``(n, g)``.

        Returns:
            the pictures, and which of them show their goal, ``(n,)`` bool: within the threshold, at rest.

        Raises:
            ValueError: if the goals are of another shape or not finite.
        """
        width = self._states.space.dim
        goals = np.asarray(goals, dtype=np.float64)
        if goals.ndim != 2 or goals.shape[1] != width or not np.isfinite(goals).all():
            raise ValueError(f"goals must be finite and of shape (n, {width}), not {goals!r}")
        poses, achieved, reached = self._reach(goals)
        pictures = self._drawer.draw(poses, self._camera, self._size)
        return GoalImages(pictures, achieved, goals), reached

    def draw(self, count: int, seed: int = 0, progress: bool = False) -> GoalImages:
        """Pictures of ``count`` goals, drawn as the task draws them.

        Goal ``i`` comes from a generator of its own, seeded by ``(seed, i)``, so that it does not depend
        on how many there are. What cannot be reached is replaced by the next goal of its generator.

        Args:
            count: how many.
            seed: of the goals.
            progress: whether a bar is shown on a terminal when it takes long.

        Raises:
            RuntimeError: if a goal and all that replaced it cannot be reached.
        """
        generators = [np.random.default_rng((seed, index)) for index in range(count)]
        size, width = self._size, self._states.space.dim
        pictures = np.empty((count, size, size, 3), np.uint8)
        achieved, desired = np.empty((2, count, width))
        tries = np.zeros(count, dtype=int)
        waiting = list(range(count))
        with tqdm(
            total=count, unit="goal", delay=1.0, disable=None if progress else True, leave=False
        ) as bar:
            while waiting:
                ids, waiting = np.array(waiting[: self._batch]), waiting[self._batch :]
                goals = self._states.space.sample([generators[index] for index in ids])
                poses, ends, reached = self._reach(goals)
                done = ids[reached]
                achieved[done], desired[done] = ends[reached], goals[reached]
                pictures[done] = self._drawer.draw(poses[reached], self._camera, size)
                tries[ids] += 1
                if tries.max() > TRIES:
                    lost = goals[np.argmax(tries[ids])]
                    raise RuntimeError(
                        f"{TRIES} goals in turn cannot be reached; the last is {lost}"
                    )
                waiting = [*ids[~reached], *waiting]
                bar.update(len(done))
        return GoalImages(pictures, achieved, desired, int(tries.sum()) - count)

    def _reach(self, goals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Poses in which ``goals`` ``(m, g)`` are reached, the goals achieved in them, and which count."""
        starts = range(0, len(goals), self._batch)
        ends = [self._states.reach(goals[start : start + self._batch]) for start in starts]
        poses, achieved, at_rest = (np.concatenate(parts) for parts in zip(*ends, strict=True))
        distances = self._states.space.distances(achieved, goals)
        return poses, achieved, at_rest & (distances < self._threshold).all(axis=1)
