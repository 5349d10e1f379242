"""Forward and backward through the networks of an update.

On a CPU, half the time of updating networks as small as ours goes into building graphs and into
fetching fresh memory for every result. ``Chain`` writes the chain rule out for plain stacks of layers:
its results stay in buffers, and no graph is built. ``Graph`` does the same for any module by autograd.
"""

from typing import Any, Protocol

import torch
from torch import nn

PLAIN = (nn.Linear, nn.LayerNorm, nn.ReLU, nn.Tanh)
"""Layers that ``Chain`` knows."""
ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
"""Whether torch has oneDNN's products, in the same float32 as its own. On AMD's processors they are up
to twice as fast as MKL's, which does not use the widest instructions there."""
WIDE = 16
"""Least width on both sides of a layer from which oneDNN pays for its overhead."""


class Network(Protocol):
    """A function with parameters, evaluated at a batch and then differentiated there."""

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Values at a batch; the next call may overwrite them."""
        ...

    def backward(
        self, gradient: torch.Tensor, parameters: bool = True, inputs: bool = False
    ) -> torch.Tensor | None:
        """Pull the loss's gradient back from the values of the last ``forward``.

        Args:
            gradient: of the loss, with respect to the values.
            parameters: whether to write the parameters' gradients into ``parameter.grad``.
            inputs: whether the gradient with respect to the last input is wanted; it is returned.
        """
        ...


def network(module: nn.Module, batch_size: int) -> Network:
    """``module`` as a ``Chain`` if its ``layers`` allow it, else as a ``Graph``."""
    layers = getattr(module, "layers", None)
    plain = isinstance(layers, nn.Sequential) and all(isinstance(each, PLAIN) for each in layers)
    return Chain(layers, batch_size) if plain else Graph(module)


def flatten(module: nn.Module) -> nn.Parameter:
    """Lay a module's parameters into one vector, ``(p,)``, of which they become views, gradients too.

    An optimiser or an average then has one tensor to touch in place of many.
    """
    parameters = list(module.parameters())
    flat = nn.Parameter(torch.cat([each.detach().reshape(-1) for each in parameters]))
    flat.grad = torch.zeros_like(flat)
    sizes = [each.numel() for each in parameters]
    views = zip(flat.detach().split(sizes), flat.grad.split(sizes), strict=True)
    for parameter, (value, gradient) in zip(parameters, views, strict=True):
        parameter.data = value.view(parameter.shape)
        parameter.grad = gradient.view(parameter.shape)
    return flat


def product(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """a bᵀ + bias, ``(n, k), (m, k), (m,) -> (n, m)``, by oneDNN; only where ``ONEDNN``."""
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")


class Graph:
    """Any module, differentiated by autograd."""

    def __init__(self, module: nn.Module):
        self._module = module
        self._inputs: list[torch.Tensor] = []
        self._values = torch.zeros(0)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            self._inputs = [each.detach().requires_grad_() for each in inputs]
            self._values = self._module(*self._inputs)
        return self._values.detach()

    def backward(
        self, gradient: torch.Tensor, parameters: bool = True, inputs: bool = False
    ) -> torch.Tensor | None:
        wanted = list(self._module.parameters()) if parameters else []
        leaves = [*wanted, self._inputs[-1]]
        *gradients, last = torch.autograd.grad(self._values, leaves, gradient)
        for parameter, each in zip(wanted, gradients, strict=True):
            _gradient(parameter).copy_(each)
        return last if inputs else None


class Chain:
    """A stack of Linear, LayerNorm, ReLU and Tanh layers, differentiated by the chain rule.

    Args:
        layers: the layers; several inputs are concatenated before the first.
        batch_size: rows of every input.
    """

    def __init__(self, layers: nn.Sequential, batch_size: int):
        parts: list[Any] = list(layers)
        self._layers = [_STEPS[type(part)](part, batch_size) for part in parts]
        self._input = parts[0].weight.new_zeros(batch_size, parts[0].in_features)
        self._last_input = slice(0, None)

    @torch.no_grad()
    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        values = inputs[0]
        if len(inputs) > 1:
            values = torch.cat(inputs, dim=-1, out=self._input)
        self._last_input = slice(values.shape[-1] - inputs[-1].shape[-1], None)
        for layer in self._layers:
            values = layer.forward(values)
        return values

    @torch.no_grad()
    def backward(
        self, gradient: torch.Tensor, parameters: bool = True, inputs: bool = False
    ) -> torch.Tensor | None:
        for layer in reversed(self._layers[1:]):
            gradient = layer.backward(gradient, parameters, True)
        gradient = self._layers[0].backward(gradient, parameters, inputs)
        return gradient[:, self._last_input] if inputs else None


class _Linear:
    """y = x Wᵀ + b."""

    def __init__(self, layer: nn.Linear, batch_size: int):
        self._weight, self._bias = layer.weight, layer.bias
        self._output = layer.weight.new_zeros(batch_size, layer.out_features)
        self._pulled = layer.weight.new_zeros(batch_size, layer.in_features)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        self._input = values
        return torch.addmm(self._bias, values, self._weight.t(), out=self._output)

    def backward(self, gradient: torch.Tensor, parameters: bool, inputs: bool) -> torch.Tensor:
        if parameters:
            torch.mm(gradient.t(), self._input, out=_gradient(self._weight))
            torch.sum(gradient, dim=0, out=_gradient(self._bias))
        return torch.mm(gradient, self._weight, out=self._pulled) if inputs else gradient


class _WideLinear:
    """y = x Wᵀ + b by oneDNN, which fetches memory for its results but is sooner done."""

    def __init__(self, layer: nn.Linear):
        self._weight, self._bias = layer.weight, layer.bias

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        self._input = values
        return product(values, self._weight, self._bias)

    def backward(self, gradient: torch.Tensor, parameters: bool, inputs: bool) -> torch.Tensor:
        if parameters:
            _gradient(self._weight).copy_(product(gradient.t(), self._input.t()))
            torch.sum(gradient, dim=0, out=_gradient(self._bias))
        return product(gradient, self._weight.t()) if inputs else gradient


def _linear(layer: nn.Linear, batch_size: int) -> _Linear | _WideLinear:
    wide = min(layer.in_features, layer.out_features) >= WIDE
    if ONEDNN and wide and layer.weight.device.type == "cpu":
        return _WideLinear(layer)
    return _Linear(layer, batch_size)


class _ReLU:
    """y = max(x, 0), in place: whether x was positive shows in y."""

    def __init__(self, layer: nn.ReLU, batch_size: int):
        self._output = torch.zeros(0)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        self._output = values.relu_()
        return self._output

    def backward(self, gradient: torch.Tensor, parameters: bool, inputs: bool) -> torch.Tensor:
        return torch.ops.aten.threshold_backward(gradient, self._output, 0.0)


class _Tanh:
    """y = tanh x, in place; dy/dx = 1 - y²."""

    def __init__(self, layer: nn.Tanh, batch_size: int):
        self._output = torch.zeros(0)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        self._output = values.tanh_()
        return self._output

    def backward(self, gradient: torch.Tensor, parameters: bool, inputs: bool) -> torch.Tensor:
        return torch.ops.aten.tanh_backward(gradient, self._output)


class _LayerNorm:
    """y = w (x - mean) / deviation + b over each row (Ba et al. 2016)."""

    def __init__(self, layer: nn.LayerNorm, batch_size: int):
        self._layer = layer

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        layer, self._input = self._layer, values
        output, self._mean, self._scale = torch.native_layer_norm(
            values, layer.normalized_shape, layer.weight, layer.bias, layer.eps
        )
        return output

    def backward(self, gradient: torch.Tensor, parameters: bool, inputs: bool) -> torch.Tensor:
        layer = self._layer
        pulled, weight, bias = torch.ops.aten.native_layer_norm_backward(
            gradient,
            self._input,
            layer.normalized_shape,
            self._mean,
            self._scale,
            layer.weight,
            layer.bias,
            [True, parameters, parameters],
        )
        if parameters:
            _gradient(layer.weight).copy_(weight)
            _gradient(layer.bias).copy_(bias)
        return pulled


def _gradient(parameter: torch.Tensor) -> torch.Tensor:
    """Where the parameter's gradient is written."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


_STEPS: dict[type[nn.Module], Any] = {
    nn.Linear: _linear,
    nn.ReLU: _ReLU,
    nn.Tanh: _Tanh,
    nn.LayerNorm: _LayerNorm,
}
