"""Bias and variance of gradient estimators, where the gradient is known in closed form."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from torch.distributions import Independent, Normal, OneHotCategorical

from ..gradients import (
    gumbel_max,
    gumbel_noise,
    gumbel_softmax,
    leave_one_out,
    likelihood_ratio,
    per_sample_gradients,
    reparametrise,
    straight_through_gumbel,
    straight_through_softmax,
)
from ..plots import picture as drawing
from ..statistics import mean_interval
from ..strict import Range
from .demo import Demo, table, within

COUNTS = (2, 4, 8, 16, 32, 64, 128, 256)
"""Samples in one estimate."""
TEMPERATURES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
MEAN, DEVIATION = 1.0, 1.0
"""Of the Gaussian, whose objective is E[x²] and gradient by the mean 2 μ."""
LOGITS = torch.tensor([0.5, 0.0, -1.0], dtype=torch.float64)
LOADINGS, TARGET = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64), 0.45
"""Of the categorical, whose objective is E[(w · x - t)²]."""

Surrogate = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""``(parameters (n, ...), noise (n, ...)) -> (n,)``."""


class Measured(NamedTuple):
    """Figures of one estimator: middle, lower and upper end of the 95% interval."""

    bias: tuple[float, float, float]
    variance: tuple[float, float, float]


@dataclass(frozen=True)
class EstimatorsDemo(Demo):
    """Bias and variance of likelihood-ratio, pathwise, relaxed and straight-through gradients."""

    repeats: Annotated[int, Range(100)] = 2000
    """Gaussian estimates of each size; of categorical ones twenty times as many."""

    def run(self, picture: Path) -> str:
        generator = torch.Generator().manual_seed(self.seed)
        gaussian = {
            name: [_gaussian(name, count, self.repeats, generator) for count in COUNTS]
            for name in GAUSSIAN
        }
        samples = 20 * self.repeats
        categorical = {
            name: [_categorical(name, each, samples, generator) for each in TEMPERATURES]
            for name in RELAXED
        }
        exact = _categorical(RATIO, 1.0, samples, generator)
        with drawing(picture, 3, figsize=(10.5, 3.5)) as axes:
            _draw_gaussian(axes[0], gaussian)
            _draw_categorical(axes[1:], categorical, exact)
        return f"{_gaussian_table(gaussian)}\n\n{_categorical_table(categorical, exact)}"


def _score(mean: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    gaussian = Independent(Normal(mean, DEVIATION), 1)
    sample = reparametrise(gaussian, noise)
    return likelihood_ratio(gaussian, sample, sample.square().sum(-1))


def _score_with_baseline(mean: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    gaussian = Independent(Normal(mean, DEVIATION), 1)
    sample = reparametrise(gaussian, noise)
    value = sample.square().sum(-1)
    return likelihood_ratio(gaussian, sample, value, leave_one_out(value, dim=-1))


def _path(mean: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    return reparametrise(Independent(Normal(mean, DEVIATION), 1), noise).square().sum(-1)


RATIO = "likelihood ratio"
GAUSSIAN: dict[str, Surrogate] = {
    RATIO: _score,
    "likelihood ratio, baseline": _score_with_baseline,
    "pathwise": _path,
}
CLOSED_FORM = {
    RATIO: MEAN**4 / DEVIATION**2 + 14 * MEAN**2 + 15 * DEVIATION**2,
    "pathwise": 4 * DEVIATION**2,
}
"""Variance of one sample's gradient."""


def _gaussian(name: str, count: int, repeats: int, generator: torch.Generator) -> Measured:
    """Many estimates of ∂/∂μ E[x²] from ``count`` samples each."""
    noise = torch.randn(repeats, count, 1, generator=generator, dtype=torch.float64)
    mean = torch.full((1,), MEAN, dtype=torch.float64)

    def estimate(copies: torch.Tensor) -> torch.Tensor:  # (repeats, 1) -> (repeats,)
        means = copies.unsqueeze(1).expand(noise.shape)
        return GAUSSIAN[name](means, noise).mean(-1)

    gradient = per_sample_gradients(estimate, mean, repeats).squeeze(-1).numpy()
    truth = 2 * MEAN
    return Measured(mean_interval(gradient / truth - 1.0), _variance(gradient[:, None]))


def _objective(sample: torch.Tensor) -> torch.Tensor:
    return (sample @ LOADINGS - TARGET).square()


def _categorical_score(logits: torch.Tensor, noise: torch.Tensor, _: float) -> torch.Tensor:
    categorical = OneHotCategorical(logits=logits)
    sample = gumbel_max(categorical, noise)
    return likelihood_ratio(categorical, sample, _objective(sample))


def _through(sampler: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda logits, noise, temperature: _objective(
        sampler(OneHotCategorical(logits=logits), noise, temperature)
    )


RELAXED: dict[str, Callable[..., torch.Tensor]] = {
    "Gumbel-softmax": _through(gumbel_softmax),
    "straight-through Gumbel": _through(straight_through_gumbel),
    "straight-through softmax": _through(straight_through_softmax),
}


def _categorical(
    name: str, temperature: float, samples: int, generator: torch.Generator
) -> Measured:
    """Gradients of E[(w · x - t)²] by the logits, one from each sample.

    The bias is along the true gradient, and relative to it; the variance is the sum over the logits.
    """
    noise = gumbel_noise((samples, len(LOGITS)), generator, torch.float64)
    surrogate = _categorical_score if name == RATIO else RELAXED[name]
    gradient = per_sample_gradients(
        lambda logits: surrogate(logits, noise, temperature), LOGITS, samples
    )
    probability, value = LOGITS.softmax(-1), _objective(torch.eye(3, dtype=torch.float64))
    truth = probability * (value - probability @ value)
    along = gradient @ truth / truth.square().sum()
    return Measured(mean_interval(along.numpy() - 1.0), _variance(gradient.numpy()))


def _variance(gradient: np.ndarray) -> tuple[float, float, float]:
    """Summed over the components of ``(n, p)``."""
    deviation = gradient - gradient.mean(axis=0)
    return mean_interval((deviation**2).sum(axis=1))


def _draw_gaussian(axis: Any, measured: dict[str, list[Measured]]) -> None:
    for colour, (name, figures) in enumerate(measured.items()):
        _draw(axis, COUNTS, [each.variance for each in figures], name, f"C{colour}")
        if name in CLOSED_FORM:
            exact = CLOSED_FORM[name] / np.array(COUNTS)
            axis.plot(COUNTS, exact, color=f"C{colour}", ls=":", label="its closed form")
    axis.set(xscale="log", yscale="log", xlabel="samples", ylabel="variance of the estimate")
    axis.set_title("∂/∂μ E[x²], x ~ N(1, 1)", fontsize=10)
    axis.legend(fontsize=7)


def _draw_categorical(axes: Any, measured: dict[str, list[Measured]], exact: Measured) -> None:
    for colour, (name, figures) in enumerate(measured.items(), start=3):
        _draw(axes[0], TEMPERATURES, [each.bias for each in figures], name, f"C{colour}")
        _draw(axes[1], TEMPERATURES, [each.variance for each in figures], name, f"C{colour}")
    for axis, figure in zip(axes, exact, strict=True):
        axis.axhline(figure[0], color="C0", label=RATIO)
        axis.axhspan(figure[1], figure[2], color="C0", alpha=0.2, lw=0)
        axis.set(xscale="log", xlabel="temperature τ")
        axis.set_title("∂/∂ log p E[(w · x - t)²], one-hot x", fontsize=10)
    axes[0].set(ylabel="relative bias")
    axes[1].set(ylabel="variance of one sample", yscale="log")
    axes[1].legend(fontsize=7, loc="lower left")


def _draw(
    axis: Any, x: tuple[float, ...], y: list[tuple[float, float, float]], name: str, colour: str
) -> None:
    middle, low, high = np.array(y).T
    axis.plot(x, middle, color=colour, marker=".", label=name)
    axis.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
    axis.grid(alpha=0.3)


def _gaussian_table(measured: dict[str, list[Measured]]) -> str:
    shown = (COUNTS.index(8), COUNTS.index(128))
    rows = [
        (name, *(within(*figures[i].variance) for i in shown), within(*figures[shown[1]].bias, 2))
        for name, figures in measured.items()
    ]
    sizes = [f"variance, n = {COUNTS[i]}" for i in shown]
    return table(
        ("∂/∂μ E[x²], x ~ N(1, 1)", *sizes, f"relative bias, n = {COUNTS[shown[1]]}"), rows
    )


def _categorical_table(measured: dict[str, list[Measured]], exact: Measured) -> str:
    rows = [(RATIO, "", within(*exact.bias, 2), within(*exact.variance))]
    for name, figures in measured.items():
        for temperature in (0.1, 1.0, 5.0):
            figure = figures[TEMPERATURES.index(temperature)]
            rows.append(
                (name, f"{temperature:g}", within(*figure.bias, 2), within(*figure.variance))
            )
    return table(("∂/∂ log p E[(w·x - t)²], one-hot x", "τ", "relative bias", "variance"), rows)
