"""Actors that see what critics do not, and students that see what their teachers do not."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from envs.shipped import trained_policies
from her_robotics.agents import DDPG, SVG, DAgger
from her_robotics.building import build
from her_robotics.cli.making import env_maker
from her_robotics.config import AgentConfig
from her_robotics.errors import UserError
from her_robotics.saved_policy import load_policy
from her_robotics.types import Ahead, Batch, EpisodeShape, GoalObs

from .helpers import random_episodes
from .runs import REACH, command, reports_of, same, the_one_line, tiny

SHAPE = EpisodeShape(horizon=6, observation=7, goal=5, action=2, embedding=2, sight=3)
STATE = replace(SHAPE, observation=4, goal=3, embedding=0, sight=0)
SIGHT, EMBEDDING, TRUTH = slice(0, 3), slice(0, 2), slice(2, 5)
CONFIG = AgentConfig(hidden=(16, 16), gamma=0.9, lookahead=3)
AGENTS = pytest.mark.parametrize("kind", [DDPG, SVG])


def made(kind: type[DDPG] = DDPG) -> DDPG:
    torch.manual_seed(0)
    agent = kind(SHAPE, CONFIG)
    agent.observe(random_episodes(SHAPE, 20))
    return agent


def teacher(shape: EpisodeShape = STATE) -> DDPG:
    torch.manual_seed(1)
    agent = DDPG(shape, CONFIG)
    agent.observe(random_episodes(shape, 20))
    return agent


def student(**changes: object) -> DAgger:
    torch.manual_seed(0)
    config = AgentConfig(name="dagger", hidden=(32, 32), **changes)
    agent = DAgger(SHAPE, config, teacher=teacher().policy)
    agent.observe(random_episodes(SHAPE, 20))
    return agent


def batch(size: int = 32) -> Batch:
    generator = torch.Generator().manual_seed(0)

    def draw(*widths: int) -> torch.Tensor:
        return torch.randn(*widths, generator=generator)

    ahead = Ahead(draw(size, 7), draw(size, 5), -draw(size, 3).abs(), torch.full((size,), 3))
    pairs = (draw(2, size, 7), draw(2, size, 5))
    return Batch(*pairs, draw(size, 5), draw(size, 2), -torch.ones(size), ahead)


def disturbed(values: torch.Tensor, where: slice) -> torch.Tensor:
    values = values.clone()
    values[..., where] += 0.7
    return values


@AGENTS
def test_actors_see_the_head_of_what_is_shown_and_critics_the_rest(kind: type[DDPG]) -> None:
    agent, given = made(kind), batch()
    shown = (given.observation[0], given.achieved_goal[0], given.goal)
    encoded = agent.encode(*shown)
    state = slice(SIGHT.stop, None)
    for which, head, rest in ((0, SIGHT, state), (1, EMBEDDING, TRUTH), (2, EMBEDDING, TRUTH)):
        for where, of_actor in ((head, True), (rest, False)):
            parts = list(shown)
            parts[which] = disturbed(parts[which], where)
            now = agent.encode(*parts)
            assert torch.equal(agent.for_actor(now), agent.for_actor(encoded)) != of_actor
            assert torch.equal(agent.for_critics(now), agent.for_critics(encoded)) == of_actor


def test_what_is_kept_to_act_with_holds_nothing_of_the_critics() -> None:
    policy = made().policy.state_dict()
    assert policy["normalizer.mean"].shape == (3,)
    assert policy["encoder.normalizer.mean"].shape == (2,)
    assert not any("critic" in name for name in policy)


@AGENTS
def test_an_update_moves_both_and_a_saved_agent_goes_on_alike(kind: type[DDPG]) -> None:
    agent, given = made(kind), batch()
    before = copy.deepcopy(agent.state_dict())
    agent.update(given)
    after = agent.state_dict()
    for part in ("policy", "critics", "target_critics"):
        assert not same(after[part], before[part])
    other = kind(SHAPE, CONFIG)
    other.load_state_dict(copy.deepcopy(agent.state_dict()))
    for each in (agent, other):
        each.update(given)
    assert same(agent.state_dict(), other.state_dict())


def test_the_actors_gradient_is_that_of_the_critics_value_of_its_action() -> None:
    agent, given = made(), batch()
    shown = (given.observation[0], given.achieved_goal[0], given.goal)
    encoded = agent.encode(*shown)
    action = agent.policy.actor(agent.for_actor(encoded))
    loss = -agent.critics[0](agent.for_critics(encoded), action).mean()
    loss = loss + CONFIG.action_l2 * action.square().mean()
    expected = torch.autograd.grad(loss, list(agent.policy.actor.parameters()))
    agent._update_actor(encoded)
    for parameter, gradient in zip(agent.policy.actor.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_a_teacher_labels_by_state_and_truth_and_its_student_sees_neither() -> None:
    agent, given = student(), batch()
    shown = (given.observation[0], given.achieved_goal[0], given.goal)
    by_hand = teacher().policy.act(
        GoalObs(
            *(
                part.numpy()[:, where]
                for part, where in zip(shown, (slice(3, 7), TRUTH, TRUTH), strict=True)
            )
        )
    )
    obs = GoalObs(*(part.numpy() for part in shown))
    np.testing.assert_allclose(agent.act(obs), by_hand, atol=1e-6)  # nothing is learnt yet
    expected = float(np.square(agent.policy.act(obs) - by_hand).mean())
    loss = agent.update(given)["imitation_loss"]
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    actions = agent.act(obs)
    np.testing.assert_array_equal(actions, agent.policy.act(obs))
    blind = GoalObs(*(part.copy() for part in obs))
    blind.observation[:, 3:] += 1.0
    blind.achieved_goal[:, 2:] += 1.0
    blind.desired_goal[:, 2:] += 1.0
    np.testing.assert_array_equal(agent.act(blind), actions)


def test_a_student_comes_near_its_teacher_which_stays_as_it_is() -> None:
    agent, given = student(average=0.5), batch()
    # All that the teacher looks at can be seen here.
    given.observation[..., :3], given.achieved_goal[..., :2] = given.observation[..., 3:6], 0.0
    given.achieved_goal[..., 2:], given.observation[..., 6] = 0.0, 0.0
    given.goal[..., :2], given.goal[..., 4] = given.goal[..., 2:4], 0.0
    untaught = copy.deepcopy(agent.teacher.state_dict())
    losses = [float(agent.update(given)["imitation_loss"]) for _ in range(300)]
    assert losses[-1] < 0.05 * losses[0]
    assert same(untaught, agent.teacher.state_dict())
    assert not same(agent.averaged.actor.state_dict(), agent.policy.actor.state_dict())
    other = student(average=0.5)
    other.load_state_dict(copy.deepcopy(agent.state_dict()))
    for each in (agent, other):
        each.update(given)
    assert same(agent.state_dict(), other.state_dict())


def test_distilling_the_shipped_reach_policy_gives_one_that_reaches() -> None:
    config = tiny(
        REACH,
        agent={"name": "dagger", "hidden": [64, 64]},
        exploration={"random_episodes": 0, "epsilon": 0.1, "sigma": 0.1},
        train={"steps": 800, "updates_per_step": 1.0, "teacher": "fetch_reach"},
        eval={"every": 800, "episodes": 50},
    )
    saved = load_policy(trained_policies()["fetch_reach"])
    learner = build(config, env_maker(config.env), teacher=saved)
    (report,) = reports_of(learner)
    assert report.evaluation.success_rate >= 0.9


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--agent.name", "dagger"), "train.teacher = None with agent.name = dagger"),
        (("--train.teacher", "fetch_reach"), "with agent.name = ddpg"),
        (("--agent.name", "dagger", "--train.teacher", "fetch_push"), "acts on EpisodeShape("),
        (("--agent.name", "dagger", "--train.teacher", "nobody"), "nobody is neither"),
        (
            ("--agent.name", "dagger", "--train.teacher", "fetch_reach", "--agent.gamma", "0.5"),
            "agent.gamma = 0.5 means nothing to dagger",
        ),
        (
            ("--replay.capacity", 10**11, "--train.steps", 10**11),
            "--replay.capacity",
        ),
    ],
)
def test_runs_that_cannot_be_are_refused_in_a_line(
    options: tuple[object, ...], said: str, tmp_path: object
) -> None:
    line = the_one_line(command("train", "debug", *options, "--out", f"{tmp_path}/run"))
    assert said in line


def test_a_teacher_that_sees_something_else_is_named(tmp_path: object) -> None:
    config = tiny(REACH, agent={"name": "dagger"}, train={"teacher": "fetch_reach"})
    saved = load_policy(trained_policies()["fetch_reach"])
    misfit = saved._replace(shape=replace(saved.shape, observation=3))
    with pytest.raises(UserError, match="observation=3"):
        build(config, env_maker(config.env), teacher=misfit)
