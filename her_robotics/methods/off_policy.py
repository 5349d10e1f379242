"""DDPG, SVG(0) and DDPG with hindsight: the learner and the training loop of `her-robotics train`."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Literal

from ..building import build
from ..config import (
    AgentConfig,
    Config,
    EnvConfig,
    EvalConfig,
    ExplorationConfig,
    ReplayConfig,
    TrainConfig,
)
from ..train import Report, train
from .method import Iterate, Problem

NUM_ENVS = 4
"""Episodes in each iteration."""
UPDATES = 0.5
"""For each env step."""
TAU = 0.01
"""Share of the way that target networks move at each update."""


def ddpg(
    problem: Problem,
    tau: float = TAU,
    batch_norm: bool = False,
    clip_target: bool = True,
    updates: float = UPDATES,
) -> Iterator[Iterate]:
    """DDPG, which knows only the goals that were asked for.

    Args:
        problem: what is to be learnt.
        tau: share of the way that target networks move at each update; 1 does without them.
        batch_norm: whether actor and critic batch-normalise.
        clip_target: whether targets are clipped to what a return can be, where that is known.
        updates: for each env step.
    """
    config = _config(problem, "ddpg", "none", ExplorationConfig(), updates)
    agent = replace(config.agent, tau=tau, batch_norm=batch_norm, clip_target=clip_target)
    return _learn(problem, replace(config, agent=agent))


def svg(problem: Problem) -> Iterator[Iterate]:
    """SVG(0), which explores by its own noise alone."""
    return _learn(
        problem, _config(problem, "svg", "none", ExplorationConfig(sigma=0.0, epsilon=0.0))
    )


def ddpg_her(problem: Problem) -> Iterator[Iterate]:
    """DDPG that also learns from goals in hindsight, those achieved later in an episode."""
    return _learn(problem, _config(problem, "ddpg", "future", ExplorationConfig()))


def _config(
    problem: Problem,
    agent: Literal["ddpg", "svg"],
    strategy: Literal["none", "future"],
    exploration: ExplorationConfig,
    updates: float = UPDATES,
) -> Config:
    return Config(
        seed=problem.seed,
        env=EnvConfig(num_envs=NUM_ENVS),
        replay=ReplayConfig(strategy=strategy),
        agent=AgentConfig(
            name=agent,
            hidden=problem.hidden,
            relative_goal=problem.relative_goal,
            gamma=0.98,
            tau=TAU,
            action_l2=0.1,
        ),
        exploration=exploration,
        train=TrainConfig(steps=problem.budget, updates_per_step=updates),
        eval=EvalConfig(every=problem.budget, episodes=1, num_envs=1),
    )


def _learn(problem: Problem, config: Config) -> Iterator[Iterate]:
    """The training loop, cycle by cycle; it tests once, at its end, since it always does."""
    learner = build(config, problem.make_env)
    try:
        while learner.progress.steps < problem.budget:
            asked = iter((False, True))  # it stops when asked again, after one cycle
            train(learner, _nothing, _ignore, partial(next, asked))
            yield Iterate(learner.progress.steps, learner.agent.averaged.act)
    finally:
        learner.close()


def _nothing() -> None:
    pass


def _ignore(report: Report) -> None:
    pass
