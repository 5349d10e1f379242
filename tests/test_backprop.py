"""Both ways through a network give what autograd gives."""

import copy

import pytest
import torch
from torch import nn

from her_robotics.backprop import Chain, Graph, Network, flatten, network
from her_robotics.networks import Actor, Critic, mlp

INPUTS, ACTIONS, HIDDEN = 7, 3, (16, 12)
PLAIN = {
    "actor": lambda: Actor(INPUTS, ACTIONS, HIDDEN),
    "critic": lambda: Critic(INPUTS, ACTIONS, HIDDEN),
    "critic, layer norm": lambda: Critic(INPUTS, ACTIONS, HIDDEN, "layer"),
}
BATCH_NORM = {
    "actor, batch norm": lambda: Actor(INPUTS, ACTIONS, HIDDEN, batch_norm=True),
    "critic, batch norm": lambda: Critic(INPUTS, ACTIONS, HIDDEN, "batch"),
}
MODULES = {**PLAIN, **BATCH_NORM}
WAYS = [("chain", name) for name in PLAIN] + [("graph", name) for name in MODULES]
EACH = pytest.mark.parametrize(("way", "name"), WAYS)


def made(name: str) -> nn.Module:
    """A module, no parameter of which has a special value such as LayerNorm's 1."""
    module = MODULES[name]()
    for parameter in module.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return module


def network_of(way: str, module: nn.Module, batch_size: int) -> Network:
    return Graph(module) if way == "graph" else Chain(module.layers, batch_size)


def drawn(name: str, batch_size: int) -> tuple[torch.Tensor, ...]:
    """Inputs of a module."""
    widths = (INPUTS,) if name.startswith("actor") else (INPUTS, ACTIONS)
    return tuple(torch.randn(batch_size, width) for width in widths)


def check(net: Network, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Compare values and all gradients with those of autograd in a copy."""
    twin, kept = copy.deepcopy(module), tuple(each.clone() for each in inputs)
    leaves = [each.clone().requires_grad_() for each in inputs]
    expected = twin(*leaves)
    values = net.forward(*inputs)
    torch.testing.assert_close(values.reshape(expected.shape), expected.detach())
    gradient = torch.randn_like(values)
    parameters = list(twin.parameters())
    *wanted, last = torch.autograd.grad(
        expected, [*parameters, leaves[-1]], gradient.reshape(expected.shape)
    )
    torch.testing.assert_close(net.backward(gradient, inputs=True), last)
    for parameter, each in zip(module.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, each)
    for given, before in zip(inputs, kept, strict=True):
        assert torch.equal(given, before), "inputs are left as they were"


@EACH
@pytest.mark.parametrize("batch_size", [2, 5, 64])
def test_values_and_gradients_are_those_of_autograd(way: str, name: str, batch_size: int) -> None:
    module = made(name)
    net = network_of(way, module, batch_size)
    for _ in range(3):  # buffers and gradients of one call must not show in the next
        check(net, module, drawn(name, batch_size))


@EACH
def test_in_evaluation_too(way: str, name: str) -> None:
    module = made(name).eval()
    net = network_of(way, module, 8)
    with torch.no_grad():  # as updates are made
        inputs = drawn(name, 8)
        expected = module(*inputs)
        torch.testing.assert_close(net.forward(*inputs).reshape(expected.shape), expected)
    check(net, module, inputs)


@EACH
def test_gradients_are_of_the_flattened_module(way: str, name: str) -> None:
    module = made(name)
    flat = flatten(module)
    check(network_of(way, module, 8), module, drawn(name, 8))
    gradients = [parameter.grad.reshape(-1) for parameter in module.parameters()]
    assert torch.equal(flat.grad, torch.cat(gradients))
    assert flat.grad.any()


@EACH
def test_without_parameters_their_gradients_are_untouched(way: str, name: str) -> None:
    module = made(name)
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    net = network_of(way, module, 8)
    inputs = drawn(name, 8)
    values = net.forward(*inputs)
    assert net.backward(torch.ones_like(values), parameters=False, inputs=True).any()
    assert all((parameter.grad == 7.0).all() for parameter in module.parameters())
    bare = made(name)
    net = network_of(way, bare, 8)
    net.backward(torch.ones_like(net.forward(*inputs)), parameters=False, inputs=True)
    assert all(parameter.grad is None for parameter in bare.parameters())


@EACH
def test_gradients_replace_those_of_before(way: str, name: str) -> None:
    module, inputs = made(name), drawn(name, 8)
    net = network_of(way, module, 8)
    found = []
    for _ in range(2):
        net.backward(torch.ones_like(net.forward(*inputs)))
        found.append([parameter.grad.clone() for parameter in module.parameters()])
    torch.testing.assert_close(*found)


@EACH
def test_the_inputs_gradient_is_of_the_last_input_and_only_on_demand(way: str, name: str) -> None:
    module, inputs = made(name), drawn(name, 8)
    net = network_of(way, module, 8)
    values = net.forward(*inputs)
    assert net.backward(torch.ones_like(values)) is None
    last = net.backward(torch.ones_like(net.forward(*inputs)), inputs=True)
    assert last.shape == inputs[-1].shape


@EACH
def test_new_parameters_are_seen(way: str, name: str) -> None:
    module, other = made(name), made(name)
    flat = flatten(module)
    net = network_of(way, module, 8)
    net.forward(*drawn(name, 8))
    module.load_state_dict(other.state_dict())
    check(net, module, drawn(name, 8))
    flat.data.mul_(0.5)
    check(net, module, drawn(name, 8))


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_chain_may_be_of_any_depth(depth: int) -> None:
    module = Critic(INPUTS, ACTIONS, (16,) * depth, "layer")
    check(Chain(module.layers, 8), module, drawn("critic", 8))


def test_several_chains_of_one_module_do_not_disturb_each_other() -> None:
    module = made("critic")
    small, large = Chain(module.layers, 4), Chain(module.layers, 6)
    inputs = drawn("critic", 4)
    values = small.forward(*inputs)
    before = values.clone()
    check(large, module, drawn("critic", 6))
    assert torch.equal(values, before)
    check(small, module, inputs)


@pytest.mark.parametrize("name", MODULES)
def test_plain_networks_are_chains_and_those_with_batch_norm_graphs(name: str) -> None:
    assert type(network(made(name), 8)) is (Chain if name in PLAIN else Graph)


@pytest.mark.parametrize("layer", [nn.GELU, nn.Dropout])
def test_a_stack_with_a_layer_that_a_chain_does_not_know_is_a_graph(layer: type[nn.Module]) -> None:
    module = made("actor")
    module.body.insert(1, layer())
    assert type(network(module, 8)) is Graph
    assert type(network(nn.Bilinear(2, 2, 1), 8)) is Graph


@pytest.mark.parametrize("name", MODULES)
def test_flattened_parameters_keep_their_values_and_become_views(name: str) -> None:
    module = made(name)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    inputs = drawn(name, 8)
    expected = module.eval()(*inputs)
    flat = flatten(module)
    assert flat.shape == (sum(each.numel() for each in module.parameters()),)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert torch.equal(module(*inputs), expected)
    flat.data.add_(1.0)
    flat.grad.fill_(3.0)
    for key, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.data, before[key] + 1.0)
        assert (parameter.grad == 3.0).all()
    first = next(module.parameters())
    first.data.zero_()
    first.grad.zero_()
    assert (flat[: first.numel()] == 0.0).all()
    assert (flat.grad[: first.numel()] == 0.0).all()


def test_what_is_loaded_into_a_flattened_module_is_in_the_vector() -> None:
    module, other = made("critic"), made("critic")
    flat = flatten(module)
    module.load_state_dict(other.state_dict())
    assert torch.equal(flat, torch.cat([each.reshape(-1) for each in other.parameters()]))


def test_an_optimiser_of_the_vector_moves_the_module_as_one_of_its_parameters_would() -> None:
    module = mlp(INPUTS, HIDDEN, 1)
    twin = copy.deepcopy(module)
    flat = flatten(module)
    optimizers = (
        torch.optim.Adam([flat], 0.01, fused=True),
        torch.optim.Adam(twin.parameters(), 0.01),
    )
    net = Chain(module, 8)
    for _ in range(5):
        inputs = torch.randn(8, INPUTS)
        net.backward(2.0 * net.forward(inputs))
        optimizers[1].zero_grad()
        twin(inputs).square().sum().backward()
        for each in optimizers:
            each.step()
    for one, other in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one.data, other.data, rtol=1e-4, atol=1e-5)
