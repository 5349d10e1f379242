"""Running mean and deviation of vectors, and the standardisation made from them."""

import torch
from torch import nn

from .distributed import gather, size


def magnified(values: torch.Tensor, near_scale: float) -> torch.Tensor:
    """asinh(x / near_scale), of any shape: linear up to about ``near_scale``, and logarithmic from there on.

    Standardised over metres, a millimetre is lost. On a scale of a centimetre it counts 0.1 where it starts
    from 0, and the whole metre 5. The same idea as symlog (Hafner et al. 2023, "Mastering Diverse Domains
    through World Models"), in units of a length.
    """
    return torch.asinh(values / near_scale)


def waves(values: torch.Tensor, near_scale: float) -> torch.Tensor:
    """sin(x / near_scale), then cos(x / near_scale), ``(..., n) -> (..., 2n)``.

    They magnify everywhere as ``magnified`` does about 0, and are alike every 2π ``near_scale`` in return.
    With such Fourier features networks tell apart inputs that differ by little (Tancik et al. 2020; for
    values, Yang et al. 2022, "Overcoming the Spectral Bias of Neural Value Approximation").
    """
    angles = values / near_scale
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class Normalizer(nn.Module):
    """Standardises vectors by moments of all that it has seen, clipped to ±``clip``.

    Moments are float64 and merge exactly (Chan et al. 1979), so shares of the data gathered apart
    give the moments of the whole. Before any data it is the identity, clipped.

    Args:
        size: width of the vectors.
        clip: bound of the result.
        min_std: floor of the deviation, so that a constant does not blow up.
    """

    def __init__(self, size: int, clip: float = 5.0, min_std: float = 0.01):
        super().__init__()
        self.clip, self.min_std = clip, min_std
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("sum_squares", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    count: torch.Tensor
    mean: torch.Tensor
    sum_squares: torch.Tensor
    """Sum of squared deviations from the mean."""
    shift: torch.Tensor
    scale: torch.Tensor
    """One over the deviation."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Standardise, ``(..., size) -> (..., size)``."""
        return ((values - self.shift) * self.scale).clamp(-self.clip, self.clip)

    @torch.no_grad()
    def update(self, values: torch.Tensor) -> None:
        """Take in ``values`` of any shape ``(..., size)``, and those that other ranks take in just now."""
        values = values.reshape(-1, values.shape[-1]).double()
        mean = values.mean(dim=0)
        sum_squares = ((values - mean) ** 2).sum(dim=0)
        if size() == 1:
            self.merge(len(values), mean, sum_squares)
            return
        # Other ranks may have another device.
        for count, *moments in gather("moments", (len(values), mean.cpu(), sum_squares.cpu())):
            self.merge(count, *(each.to(mean.device) for each in moments))

    @torch.no_grad()
    def merge(self, count: float, mean: torch.Tensor, sum_squares: torch.Tensor) -> None:
        """Take in data known only by its count, mean and sum of squared deviations."""
        if not count:
            return
        total = self.count + count
        delta = mean - self.mean
        self.sum_squares += sum_squares + delta**2 * self.count * count / total
        self.mean += delta * count / total
        self.count.copy_(total)
        deviation = (self.sum_squares / self.count).sqrt().clamp(min=self.min_std)
        self.shift.copy_(self.mean)
        self.scale.copy_(1.0 / deviation)
