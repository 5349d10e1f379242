"""The universal actor π(s ‖ g) and critic Q(s, a ‖ g) (Schaul et al. 2015, UVFA)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

Norm = Literal["none", "layer", "batch"]


def _norm(kind: Norm, width: int) -> list[nn.Module]:
    if kind == "layer":
        return [nn.LayerNorm(width)]
    if kind == "batch":
        return [nn.BatchNorm1d(width)]
    return []


def mlp(inputs: int, hidden: Sequence[int], outputs: int, norm: Norm = "none") -> nn.Sequential:
    """Hidden layers of Linear, normalisation and ReLU, then a Linear; ``(b, inputs) -> (b, outputs)``."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), *_norm(norm, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class Actor(nn.Module):
    """Deterministic policy: ``(b, inputs) -> (b, actions)`` in [-1, 1], or any numbers.

    Batch normalisation acts on the input and on every hidden layer (Lillicrap et al. 2015, section 3).

    Args:
        inputs: width of the encoded state and goal.
        actions: width of the action.
        hidden: widths of the hidden layers.
        batch_norm: whether to batch-normalise.
        squash: whether to end in a tanh.
    """

    def __init__(
        self,
        inputs: int,
        actions: int,
        hidden: Sequence[int],
        batch_norm: bool = False,
        squash: bool = True,
    ):
        super().__init__()
        self.input = nn.Sequential(*_norm("batch" if batch_norm else "none", inputs))
        body = mlp(inputs, hidden, actions, "batch" if batch_norm else "none")
        self.body = body.append(nn.Tanh()) if squash else body

    @property
    def layers(self) -> nn.Sequential:
        """The whole network as one stack of layers."""
        return nn.Sequential(*self.input, *self.body)

    def forward(self, state_goal: torch.Tensor) -> torch.Tensor:
        return self.body(self.input(state_goal))


class Critic(nn.Module):
    """Action value: ``(b, inputs), (b, actions) -> (b,)``.

    With batch normalisation the action enters at the second layer and normalisation stops before it
    (Lillicrap et al. 2015, section 3 and supplement 7); otherwise it enters at the first.

    Args:
        inputs: width of the encoded state and goal.
        actions: width of the action.
        hidden: widths of the hidden layers, two or more of them with batch normalisation.
        norm: ``"none"``, ``"layer"`` or ``"batch"``.
    """

    def __init__(self, inputs: int, actions: int, hidden: Sequence[int], norm: Norm = "none"):
        super().__init__()
        self.first = nn.Sequential()
        if norm == "batch":
            linear = nn.Linear(inputs, hidden[0])
            self.first = nn.Sequential(
                nn.BatchNorm1d(inputs), linear, nn.BatchNorm1d(hidden[0]), nn.ReLU()
            )
            inputs, hidden, norm = hidden[0], hidden[1:], "none"
        self.body = mlp(inputs + actions, hidden, 1, norm)

    @property
    def layers(self) -> nn.Sequential | None:
        """The network as one stack of layers on state, goal and action, if it is one."""
        return None if len(self.first) else self.body

    def forward(self, state_goal: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        features = self.first(state_goal)
        return self.body(torch.cat([features, action], dim=-1)).squeeze(-1)


class ChoiceCritic(nn.Module):
    """Values of all discrete actions at once: ``(b, inputs) -> (b, choices)``.

    Args:
        inputs: width of the encoded state and goal.
        choices: how many actions there are.
        hidden: widths of the hidden layers.
        norm: ``"none"`` or ``"layer"``.
    """

    def __init__(self, inputs: int, choices: int, hidden: Sequence[int], norm: Norm = "none"):
        super().__init__()
        self.layers = mlp(inputs, hidden, choices, norm)

    def forward(self, state_goal: torch.Tensor) -> torch.Tensor:
        return self.layers(state_goal)


class Critics(nn.ModuleList):
    """An ensemble of critics of the same shape: ``(b, inputs), (b, actions) -> (critics, b)``."""

    def forward(self, state_goal: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return torch.stack([critic(state_goal, action) for critic in self])
