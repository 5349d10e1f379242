"""The training loop: play, store, update, test."""

import time
from collections.abc import Callable
from statistics import fmean
from typing import NamedTuple

import numpy as np

from .distributed import (
    CHECK_EVERY,
    average_batch_moments_,
    check_alike,
    failing_together,
    gather,
    rank,
    size,
)
from .evaluate import ADVICE, Evaluation, judge
from .learner import MEMORY, Learner, Progress
from .meters import Stopwatch
from .rollout import DIVERGED, Divergence, NonFiniteError, episode_seeds, play
from .types import Episodes, GoalObs

TRAIN, TEST, FINAL = 0, 1, 2
"""Streams of episode seeds: for training, for the tests along the way, for the last test."""


class Report(NamedTuple):
    """What a stretch of training between two tests gave.

    Attributes:
        metrics: deterministic figures: same seed and machine, same values.
        timings: where the time went, in seconds and steps per second.
        evaluation: the test that closes the stretch.
    """

    metrics: dict[str, float]
    timings: dict[str, float]
    evaluation: Evaluation


def train(
    learner: Learner,
    on_cycle: Callable[[], None],
    on_report: Callable[[Report], None],
    stop: Callable[[], bool],
) -> None:
    """Train until the budget of env steps is spent or ``stop()`` says so, in whole cycles.

    A run is always tested at its end. Where that test is not due, it comes after the last ``on_cycle``, so
    that what is saved there goes on to a larger budget as if there had been no end.

    Args:
        learner: the collaborators; its progress is where training starts and how far it came.
        on_cycle: called after every cycle, and the test that was due then.
        on_report: called after every test.
        stop: asked after every cycle.

    Raises:
        NonFiniteError: if an action is not finite, or most episodes diverge.
    """
    progress, watch = learner.progress, Stopwatch()
    budget, every = learner.config.train.steps, learner.config.eval.every
    if learner.config.train.start_from and progress.best_success < 0.0:
        _keep_if_best(learner, learner.evaluate(TEST))
    while progress.tested_at < budget and not stop():
        # A run that was stopped between its last cycle and its last test owes only the test.
        if progress.steps < budget:
            _cycle(learner, watch)
            if progress.steps - progress.tested_at >= every:
                on_report(_test(learner, watch))
            on_cycle()
        if progress.steps >= budget > progress.tested_at:
            on_report(_test(learner, watch))


def _cycle(learner: Learner, watch: Stopwatch) -> None:
    """Play one episode in every env, store them, and make the updates they are owed."""
    progress, agent, averages = learner.progress, learner.agent, learner.averages
    start, updates = time.perf_counter(), progress.updates
    with watch("env"):
        episodes = _collect(learner)
    if any(gather("new episodes", len(episodes.action))):
        learner.replay.add(episodes)
        agent.observe(episodes)
        if learner.counts:
            learner.counts.observe(episodes)
        if learner.leader:
            with watch("guide"):
                learner.leader.learn(episodes)
    if len(episodes.action):
        averages.add(_training_metrics(learner, episodes))
    for _ in range(_updates_due(learner)):
        with watch("sample"):
            batch = learner.replay.sample(learner.config.train.batch_size)
        with watch("update"):
            averages.add(agent.update(batch))
        progress.updates += 1
    if size() > 1:
        average_batch_moments_(learner.shared())
        if progress.updates // CHECK_EVERY > updates // CHECK_EVERY:
            check_alike(learner.shared(), f"after {progress.updates} updates")
    progress.seconds += time.perf_counter() - start


def _collect(learner: Learner) -> Episodes:
    """One exploring episode in every env, without those that are lost: see ``rollout.Divergence``."""
    env, exploration, progress = learner.env, learner.exploration, learner.progress
    guide = learner.leader
    shape = (env.num_envs, learner.task.shape.action)
    exploration.start(shape)
    if guide:
        guide.start(env.num_envs)
    random = progress.episodes < exploration.config.random_episodes

    def act(obs: GoalObs) -> np.ndarray:
        actions = exploration.uniform(shape) if random else exploration(learner.agent.act(obs))
        return guide(obs, actions) if guide else actions

    lost: dict[int, str] = {}

    def lose(divergence: Divergence) -> None:
        lost[divergence.env] = divergence.cause
        learner.lose(divergence)

    # Ranks meet the fresh episodes that one process with as many envs as all of theirs would meet.
    first, together = progress.episodes + rank() * env.num_envs, size() * env.num_envs
    seeds = episode_seeds(learner.config.seed, TRAIN, first, env.num_envs)
    if learner.retries:
        seeds = learner.retries.choose(seeds)
    with failing_together(NonFiniteError):
        episodes = play(env, learner.task.shape.horizon, seeds, act, lose)
    if learner.retries:
        whole = [seed for index, seed in enumerate(seeds) if index not in lost]
        learner.retries.observe(whole, episodes)
    progress.episodes += together
    progress.steps += together * learner.task.shape.horizon
    diverged = list(lost.values()).count(DIVERGED)
    _refuse_most(progress, sum(gather("lost episodes", diverged)), together)
    return episodes


def _refuse_most(progress: Progress, lost: int, played: int) -> None:
    """Take in how many of the last episodes diverged; refuse to go on where most do.

    Raises:
        NonFiniteError: if they do.
    """
    weight = (1.0 - 1.0 / MEMORY) ** played
    progress.diverging = weight * progress.diverging + (1.0 - weight) * lost / played
    if progress.diverging > 0.5:
        raise NonFiniteError(f"most of the last {MEMORY} training episodes diverged: {ADVICE}")


def _updates_due(learner: Learner) -> int:
    """Updates owed so far less those made, so that fractions of updates per step add up.

    Ranks make every update together, from a batch each, so they owe those for the steps of one.
    """
    if not all(gather("replays", len(learner.replay))):
        return 0
    owed = int(learner.progress.steps // size() * learner.config.train.updates_per_step)
    return owed - learner.progress.updates


def _training_metrics(learner: Learner, episodes: Episodes) -> dict[str, float]:
    played = judge(episodes, learner.task)
    bonus = {"train/bonus": learner.counts.mean(episodes)} if learner.counts else {}
    return {
        "train/success_rate": played.success_rate,
        "train/moved_rate": played.moved_rate,
        "train/return": played.mean_return,
        **bonus,
    }


def _test(learner: Learner, watch: Stopwatch) -> Report:
    """Test the greedy policy and close the stretch that led to it."""
    progress = learner.progress
    with watch("test"):
        result = learner.evaluate(TEST)
    _keep_if_best(learner, result)
    stretch = progress.steps - progress.tested_at
    progress.tested_at = progress.steps
    counts = {"step": progress.steps, "episodes": progress.episodes, "updates": progress.updates}
    diverged = sum(gather("diverged", progress.diverged))
    satisfied = fmean(gather("relabels", learner.replay.satisfied_share(learner.task.reached)))
    metrics = {
        **counts,
        **result.metrics("test/"),
        **learner.averages.take(),
        **({"diverged": diverged} if diverged else {}),
        **({"relabels_satisfied": satisfied} if satisfied == satisfied else {}),
    }
    timings = {"step": progress.steps, "seconds": progress.seconds, **watch.take(stretch)}
    return Report(metrics, timings, result)


def _keep_if_best(learner: Learner, result: Evaluation) -> None:
    """Keep the tested policy, unless a better one is kept already."""
    progress = learner.progress
    if result.success_rate >= progress.best_success:
        progress.best_success, progress.best_step = result.success_rate, progress.steps
        policy = learner.agent.averaged.state_dict()
        learner.best_policy = {name: value.clone() for name, value in policy.items()}
