"""SVG(0): the pathwise gradient through a Gaussian policy, and its limit without noise."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Independent

from her_robotics.agents import DDPG, SVG
from her_robotics.config import AgentConfig, EnvConfig
from her_robotics.relabel import STRATEGIES
from her_robotics.replay import Replay
from her_robotics.saved_policy import load_policy, save_policy
from her_robotics.types import Ahead, EpisodeShape

from .helpers import labelled_episodes, random_episodes, sparse_reward
from .test_ddpg import SHAPE, batch, encoded, frozen, shown

CONFIG = AgentConfig(name="svg", hidden=(32, 32), gamma=0.9, tau=0.05)
KINDS = pytest.mark.parametrize("covariance", ["diagonal", "full"])


def build(**changes: object) -> SVG:
    torch.manual_seed(0)
    agent = SVG(SHAPE, replace(CONFIG, **changes))
    agent.observe(random_episodes(SHAPE, 20))
    return agent


def deterministic_twin(agent: SVG) -> DDPG:
    """A DDPG agent whose policy is the mean of ``agent``'s."""
    torch.manual_seed(1)
    twin = DDPG(SHAPE, replace(agent.config, name="ddpg"))
    twin.observe(random_episodes(SHAPE, 20))
    twin.critics.load_state_dict(agent.critics.state_dict())
    twin.target_critics.load_state_dict(agent.target_critics.state_dict())
    pairs = ((twin.policy.actor, agent.policy.actor), (twin.target_actor, agent.target_actor))
    for own, other in pairs:
        for parameter, source in zip(own.parameters(), other.parameters(), strict=True):
            parameter.data.copy_(source[: len(parameter)])
    return twin


@KINDS
def test_without_noise_its_update_is_that_of_ddpg(covariance: str) -> None:
    agent = build(covariance=covariance, policy_sigma=1e-9)
    twin, data = deterministic_twin(agent), batch()
    agent.update(data)
    twin.update(data)
    for ours, theirs in zip(agent.critics.parameters(), twin.critics.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    actors = zip(agent.policy.actor.parameters(), twin.policy.actor.parameters(), strict=True)
    for ours, theirs in actors:
        assert ours.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(ours.grad[: len(theirs)], theirs.grad)
        assert theirs.grad.abs().max() > 1e-5
    np.testing.assert_allclose(agent.policy.act(shown()), twin.act(shown()), atol=1e-5)


@KINDS
def test_with_noise_its_update_is_another(covariance: str) -> None:
    agent = build(covariance=covariance, policy_sigma=0.5)
    twin, data = deterministic_twin(agent), batch()
    agent.update(data)
    twin.update(data)
    ours, theirs = (next(each.policy.actor.parameters()).grad for each in (agent, twin))
    assert ours is not None
    assert theirs is not None
    assert (ours - theirs).abs().max() > 0.05 * theirs.abs().max()


@KINDS
def test_its_actor_follows_the_pathwise_gradient(covariance: str) -> None:
    agent = build(covariance=covariance, action_l2=0.3)
    state_goal, _ = encoded(agent, batch())
    actor = copy.deepcopy(agent.policy.actor)
    noise = agent._generator.get_state()
    agent._update_actor(state_goal)
    agent._generator.set_state(noise)
    z = agent._noise(len(state_goal))
    action = agent.gaussian.sample(actor(state_goal), z)
    loss = -agent.critics[0](state_goal, action).mean() + 0.3 * action.square().mean()
    expected = torch.autograd.grad(loss, list(actor.parameters()))
    for parameter, gradient in zip(agent.policy.actor.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-7)


@KINDS
def test_its_actions_are_a_squashed_gaussian_of_its_covariance(covariance: str) -> None:
    policy = build(covariance=covariance).gaussian
    width = 2 * SHAPE.action + (1 if covariance == "full" else 0)
    outputs = torch.tensor([[0.3, -0.2, 0.4, -0.5, 0.8][:width]])
    many = 200_000
    noise = torch.randn(many, SHAPE.action, generator=torch.Generator().manual_seed(0))
    inner = policy.sample(outputs.expand(many, -1), noise).double().atanh()
    gaussian = policy.distribution(outputs)
    diagonal = isinstance(gaussian, Independent)
    expected = (gaussian.variance[0].diag() if diagonal else gaussian.covariance_matrix[0]).double()
    assert bool(expected[0, 1] != 0) == (covariance == "full")
    deviations = expected.diagonal().sqrt()
    # Five standard errors of a mean and of a covariance.
    bound = 5 * torch.outer(deviations, deviations) * (2 / many) ** 0.5
    mean = outputs[0, : SHAPE.action].double()
    assert ((inner.mean(0) - mean).abs() < 5 * deviations / many**0.5).all()
    assert ((inner.T.cov() - expected).abs() < bound).all()


def test_it_acts_by_drawing_and_is_tested_by_its_mean() -> None:
    agent = build()
    assert not np.array_equal(agent.act(shown()), agent.act(shown()))
    outputs = agent.gaussian.outputs(shown())
    np.testing.assert_array_equal(
        agent.averaged.act(shown()), outputs[:, : SHAPE.action].tanh().numpy()
    )


def test_it_goes_on_from_a_saved_state_with_the_same_draws() -> None:
    agent, other = build(), build()
    agent.update(batch())
    other.load_state_dict(copy.deepcopy(agent.state_dict()))
    for each in (agent, other):
        each.update(batch(seed=1))
    np.testing.assert_array_equal(agent.act(shown()), other.act(shown()))
    assert frozen(agent.critics).keys() == frozen(other.critics).keys()
    for ours, theirs in zip(agent.critics.parameters(), other.critics.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@KINDS
def test_its_policy_survives_the_disk(covariance: str, tmp_path: Path) -> None:
    agent = build(covariance=covariance)
    save_policy(tmp_path, agent.policy.state_dict(), SHAPE, EnvConfig(), agent.config, {})
    loaded = load_policy(tmp_path).policy
    np.testing.assert_array_equal(loaded.act(shown()), agent.policy.act(shown()))


LABELLED = EpisodeShape(horizon=12, observation=2, goal=2, action=2)


def drawn_steps(td_lambda: float, lookahead: int) -> tuple[np.ndarray, np.ndarray]:
    """Where sampled transitions are in their episodes, and how far ahead of them was looked."""
    hindsight = STRATEGIES["future"]
    replay = Replay(LABELLED, 240, hindsight, 4.0, sparse_reward, 0, lookahead, td_lambda)
    replay.add(labelled_episodes(20, LABELLED.horizon))
    drawn = replay.sample(40_000)
    assert drawn.ahead is not None
    step = drawn.observation[0, :, 1]
    assert torch.equal(drawn.ahead.observation[:, 1], step + drawn.ahead.steps)
    return step.numpy().astype(int), drawn.ahead.steps.numpy()


@pytest.mark.parametrize("td_lambda", [0.3, 0.8])
def test_td_lambda_looks_n_steps_ahead_with_probability_lambda_to_the_n(td_lambda: float) -> None:
    lookahead = 5
    step, steps = drawn_steps(td_lambda, lookahead)
    for left in (1, 3, LABELLED.horizon):
        lengths = steps[LABELLED.horizon - step == left]
        longest = min(left, lookahead)
        assert lengths.max() == longest
        for n in range(1, longest):
            share = (1 - td_lambda) * td_lambda ** (n - 1)
            error = (share * (1 - share) / len(lengths)) ** 0.5
            assert abs((lengths == n).mean() - share) < 5 * error


def test_td_lambda_targets_are_what_was_got_where_a_bound_only_lifts() -> None:
    data = batch(reward=0.0)
    worse = torch.full((64, 3), -1.0)
    ahead = Ahead(data.observation[1], data.achieved_goal[1], worse, torch.full((64,), 3))
    means = {}
    for td_lambda in (0.0, 0.5):
        torch.manual_seed(0)
        agent = DDPG(SHAPE, replace(CONFIG, name="ddpg", td_lambda=td_lambda))
        one_step = agent.targets(encoded(agent, data)[1], data.reward).mean()
        later = agent.ahead_targets(ahead, data.goal).mean()
        assert later < one_step
        means[td_lambda] = agent.update(data._replace(ahead=ahead))["target_mean"]
    torch.testing.assert_close(means[0.0], one_step)
    torch.testing.assert_close(means[0.5], later)
