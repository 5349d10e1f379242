import copy
import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from her_robotics.agents import DDPG
from her_robotics.config import AgentConfig
from her_robotics.types import Batch, EpisodeShape, GoalObs

from .helpers import random_episodes

SHAPE = EpisodeShape(horizon=6, observation=5, goal=3, action=2)
CONFIG = AgentConfig(hidden=(32, 32), gamma=0.9, tau=0.05)
INF = math.inf
NORMS = pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch norm"])


def build(**changes: object) -> DDPG:
    agent = DDPG(SHAPE, replace(CONFIG, **changes))
    agent.observe(random_episodes(SHAPE, 20))
    return agent


def batch(size: int = 64, seed: int = 0, reward: float | None = None) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    sparse = -(torch.rand(size, generator=generator) < 0.7).float()
    return Batch(
        observation=draw(2, size, SHAPE.observation),
        achieved_goal=draw(2, size, SHAPE.goal),
        goal=draw(size, SHAPE.goal),
        action=draw(size, SHAPE.action).clamp(-1.0, 1.0),
        reward=sparse if reward is None else torch.full((size,), reward),
    )


def shown(count: int = 8, scale: float = 1.0) -> GoalObs:
    generator = np.random.default_rng(0)
    sizes = (SHAPE.observation, SHAPE.goal, SHAPE.goal)
    return GoalObs(*(scale * generator.standard_normal((count, size)) for size in sizes))


def frozen(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(value, before[name]) for name, value in module.state_dict().items())


def encoded(agent: DDPG, data: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        now, following = agent.policy.encode(data.observation, data.achieved_goal, data.goal)
    return now, following


@NORMS
def test_targets_begin_as_copies_that_share_no_memory(batch_norm: bool) -> None:
    agent = build(batch_norm=batch_norm, num_critics=2)
    pairs = ((agent.target_actor, agent.policy.actor), (agent.target_critics, agent.critics))
    for target, network in pairs:
        for name, value in network.state_dict().items():
            twin = target.state_dict()[name]
            assert torch.equal(twin, value)
            assert twin.data_ptr() != value.data_ptr()
        assert not any(parameter.requires_grad for parameter in target.parameters())


@NORMS
@pytest.mark.parametrize("tau", [0.005, 0.3, 1.0])
def test_an_update_moves_targets_by_exactly_tau(tau: float, batch_norm: bool) -> None:
    agent = build(tau=tau, batch_norm=batch_norm)
    pairs = ((agent.target_actor, agent.policy.actor), (agent.target_critics, agent.critics))
    agent.update(batch())
    before = [frozen(target) for target, _ in pairs]
    agent.update(batch(seed=1))
    for (target, network), old in zip(pairs, before, strict=True):
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                expected = tau * value + (1.0 - tau) * old[name]
                torch.testing.assert_close(target.state_dict()[name], expected)


@pytest.mark.parametrize("bias", [-1e3, -1.0, 1e3])
@pytest.mark.parametrize(
    ("rewards", "returns"),
    [((-1, 0), (-10, 0)), ((0, 1), (0, 10)), ((-INF, 0), (-INF, 0)), ((-INF, INF), (-INF, INF))],
)
def test_targets_are_clipped_to_what_a_return_can_be(
    rewards: tuple[float, float], returns: tuple[float, float], bias: float
) -> None:
    agent, free = DDPG(SHAPE, CONFIG, rewards), build(clip_target=False)
    free.load_state_dict(agent.state_dict())
    for each in (agent, free):
        each.target_critics[0].body[-1].bias.fill_(bias)
    step = torch.randn(16, agent.policy.state_goal_size), -torch.ones(16)
    target = free.targets(*step)
    assert (target.sign() == math.copysign(1.0, bias)).all()
    torch.testing.assert_close(agent.targets(*step), target.clamp(*returns))


def test_the_reward_is_taken_for_sparse_unless_said_otherwise() -> None:
    assert (build().lowest_value, build().highest_value) == pytest.approx((-10.0, 0.0))


def test_the_target_is_the_reward_and_the_discounted_least_next_value() -> None:
    agent = build(num_critics=3, clip_target=False)
    following, reward = torch.randn(16, agent.policy.state_goal_size), -torch.rand(16)
    action = agent.target_actor(following)
    values = torch.stack([critic(following, action) for critic in agent.target_critics])
    assert len(values.argmin(dim=0).unique()) > 1
    expected = reward + 0.9 * values.min(dim=0).values
    torch.testing.assert_close(agent.targets(following, reward), expected)


def test_targets_come_from_the_target_networks() -> None:
    agent = build(clip_target=False)
    following = torch.randn(16, agent.policy.state_goal_size)
    before = agent.targets(following, torch.zeros(16))
    for parameter in (*agent.policy.actor.parameters(), *agent.critics.parameters()):
        parameter.data.add_(1.0)
    assert torch.equal(agent.targets(following, torch.zeros(16)), before)


@NORMS
def test_the_actors_update_leaves_the_critics_alone(batch_norm: bool) -> None:
    agent = build(batch_norm=batch_norm, num_critics=2)
    agent.update(batch())
    before, actor = frozen(agent.critics), frozen(agent.policy.actor)
    gradients = [parameter.grad.clone() for parameter in agent.critics.parameters()]
    agent._update_actor(encoded(agent, batch())[0])
    assert changed(agent.policy.actor, actor)
    assert not changed(agent.critics, before)
    for parameter, gradient in zip(agent.critics.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)


class Bowl(nn.Module):
    """A value that is greatest, 0, where every component of the action is a half."""

    def forward(self, state_goal: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return -(action - 0.5).square().sum(dim=-1)


def test_the_actors_updates_climb_a_known_critic_to_its_top() -> None:
    agent = build(action_l2=0.0)
    agent.critics[0] = Bowl()
    state_goal, _ = encoded(agent, batch())
    values = [float(agent._update_actor(state_goal)["actor_q"]) for _ in range(200)]
    assert values[-1] > max(values[0], -0.01)
    assert float((agent.policy.actor(state_goal).detach() - 0.5).abs().mean()) < 0.05


def test_the_weight_on_actions_keeps_them_small() -> None:
    sizes = {}
    for weight in (0.0, 10.0):
        agent = build(action_l2=weight)
        agent.critics[0] = Bowl()
        state_goal, _ = encoded(agent, batch())
        for _ in range(100):
            agent._update_actor(state_goal)
        sizes[weight] = float(agent.policy.actor(state_goal).detach().abs().mean())
    assert sizes[10.0] < 0.2 < sizes[0.0]


def test_the_actor_waits_for_as_many_critic_updates_as_asked() -> None:
    agent, moved = build(actor_every=3), []
    for index in range(7):
        actor, critics = frozen(agent.policy.actor), frozen(agent.critics)
        metrics = agent.update(batch(seed=index))
        assert changed(agent.critics, critics)
        assert ("actor_q" in metrics) == changed(agent.policy.actor, actor)
        moved.append("actor_q" in metrics)
    assert moved == [True, False, False, True, False, False, True]


def test_a_batch_norm_agent_trains_and_its_moments_follow() -> None:
    agent = build(batch_norm=True, num_critics=2)
    networks = (agent.policy.actor, agent.critics, agent.target_actor, agent.target_critics)
    before = [
        {name: value.clone() for name, value in network.named_buffers() if "running" in name}
        for network in networks
    ]
    losses = [agent.update(batch(seed=index))["critic_loss"] for index in range(20)]
    assert torch.stack(losses).isfinite().all()
    for network, old in zip(networks, before, strict=True):
        assert old
        assert all(value.isfinite().all() for value in network.state_dict().values())
        for name, value in network.named_buffers():
            assert name not in old or not torch.equal(value, old[name])


def test_a_batch_norm_agent_acts_alike_in_any_company() -> None:
    agent = build(batch_norm=True)
    agent.update(batch())
    together = agent.act(shown(8))
    alone = agent.act(GoalObs(*(array[:1] for array in shown(8))))
    np.testing.assert_allclose(alone, together[:1], atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{}, {"batch_norm": True}, {"num_critics": 2, "actor_every": 2, "critic_norm": "layer"}],
    ids=["plain", "batch norm", "two critics"],
)
def test_a_restored_agent_goes_on_bit_for_bit(changes: dict[str, object]) -> None:
    original = build(**changes)
    for index in range(5):
        original.update(batch(seed=index))
    file = io.BytesIO()
    torch.save(original.state_dict(), file)
    file.seek(0)
    restored = DDPG(SHAPE, original.config)
    restored.load_state_dict(torch.load(file))
    for index in range(5, 10):
        one, other = original.update(batch(seed=index)), restored.update(batch(seed=index))
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in one.items())
    for name in ("policy", "critics", "target_actor", "target_critics"):
        assert not changed(getattr(restored, name), frozen(getattr(original, name)))
    np.testing.assert_array_equal(original.act(shown()), restored.act(shown()))


@NORMS
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_actions_are_float32_within_bounds_and_deterministic(
    scale: float, batch_norm: bool
) -> None:
    agent, obs = build(batch_norm=batch_norm), shown(scale=scale)
    kept = copy.deepcopy(obs)
    actions = agent.act(obs)
    assert actions.shape == (8, 2)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() <= 1.0
    np.testing.assert_array_equal(agent.act(obs), actions)
    for array, old in zip(obs, kept, strict=True):
        np.testing.assert_array_equal(array, old)


def test_the_policy_heeds_the_goal() -> None:
    agent, obs = build(), shown()
    other = obs._replace(desired_goal=obs.desired_goal + 1.0)
    assert np.abs(agent.act(obs) - agent.act(other)).max() > 1e-3


@NORMS
@pytest.mark.parametrize("reward", [-1.0, 1.0])
def test_the_critic_learns_the_value_of_a_constant_reward(reward: float, batch_norm: bool) -> None:
    changes = {"gamma": 0.5, "tau": 0.1, "critic_lr": 3e-3, "batch_norm": batch_norm}
    agent = DDPG(SHAPE, replace(CONFIG, **changes), (min(reward, 0.0), max(reward, 0.0)))
    agent.observe(random_episodes(SHAPE, 20))
    for index in range(400):
        metrics = agent.update(batch(seed=index, reward=reward))
    assert float(metrics["q_mean"]) == pytest.approx(2.0 * reward, abs=0.1)
    assert float(metrics["critic_loss"]) < 0.02
