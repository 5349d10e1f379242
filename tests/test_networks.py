import copy

import pytest
import torch
from torch import nn

from her_robotics.networks import Actor, Critic, Critics, Norm, mlp

INPUTS, ACTIONS, HIDDEN = 7, 3, (16, 12, 8)
EVERY_NORM = pytest.mark.parametrize("norm", ["none", "layer", "batch"])


def count(module: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(part, kind) for part in module.modules())


@EVERY_NORM
def test_an_mlp_has_the_widths_and_the_normalisation_asked_for(norm: Norm) -> None:
    network = mlp(INPUTS, HIDDEN, 2, norm)
    linear = [part for part in network if isinstance(part, nn.Linear)]
    widths = [(part.in_features, part.out_features) for part in linear]
    assert widths == [(7, 16), (16, 12), (12, 8), (8, 2)]
    assert count(network, nn.LayerNorm) == (3 if norm == "layer" else 0)
    assert count(network, nn.BatchNorm1d) == (3 if norm == "batch" else 0)
    assert isinstance(network[-1], nn.Linear)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_actions_are_within_bounds_however_large_the_input(batch_norm: bool, scale: float) -> None:
    actor = Actor(INPUTS, ACTIONS, HIDDEN, batch_norm)
    action = actor(scale * torch.randn(32, INPUTS))
    assert action.shape == (32, ACTIONS)
    assert action.abs().max() <= 1.0


@EVERY_NORM
def test_a_critic_gives_one_value_for_each_pair_and_heeds_both_parts(norm: Norm) -> None:
    critic = Critic(INPUTS, ACTIONS, HIDDEN, norm).eval()
    state_goal = torch.randn(5, INPUTS, requires_grad=True)
    action = torch.randn(5, ACTIONS, requires_grad=True)
    values = critic(state_goal, action)
    assert values.shape == (5,)
    for gradient in torch.autograd.grad(values.sum(), (state_goal, action)):
        assert (gradient != 0.0).any(dim=1).all()


def test_an_ensemble_stacks_what_its_critics_say() -> None:
    critics = Critics(Critic(INPUTS, ACTIONS, HIDDEN) for _ in range(4))
    state_goal, action = torch.randn(5, INPUTS), torch.randn(5, ACTIONS)
    values = critics(state_goal, action)
    assert values.shape == (4, 5)
    for critic, row in zip(critics, values, strict=True):
        assert torch.equal(critic(state_goal, action), row)
    assert not torch.equal(values[0], values[1])


def test_with_batch_norm_the_action_enters_after_the_last_normalised_layer() -> None:
    critic = Critic(INPUTS, ACTIONS, HIDDEN, "batch")
    assert count(critic.first, nn.BatchNorm1d) == 2
    assert count(critic.body, nn.BatchNorm1d) == 0
    assert critic.body[0].in_features == HIDDEN[0] + ACTIONS
    state_goal, twin = torch.randn(16, INPUTS), copy.deepcopy(critic)
    critic(state_goal, torch.zeros(16, ACTIONS))
    twin(state_goal, torch.ones(16, ACTIONS))
    for name, moments in critic.named_buffers():
        assert torch.equal(moments, dict(twin.named_buffers())[name])


def test_a_batch_norm_actor_normalises_its_input_and_every_hidden_layer() -> None:
    actor = Actor(INPUTS, ACTIONS, HIDDEN, batch_norm=True)
    assert count(actor.input, nn.BatchNorm1d) == 1
    assert count(actor.body, nn.BatchNorm1d) == len(HIDDEN)
    assert count(Actor(INPUTS, ACTIONS, HIDDEN), nn.BatchNorm1d) == 0


def test_batch_norm_sees_the_batch_in_training_and_only_its_moments_when_acting() -> None:
    actor = Actor(INPUTS, ACTIONS, HIDDEN, batch_norm=True)
    batch = torch.randn(16, INPUTS)
    other = torch.cat([batch[:1], 5.0 + torch.randn(15, INPUTS)])
    actor.train()
    assert not torch.allclose(actor(batch)[0], actor(other)[0])
    actor.eval()
    torch.testing.assert_close(actor(batch)[0], actor(other)[0])
