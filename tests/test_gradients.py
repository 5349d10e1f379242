"""Gradients of expectations under Gaussians, against what is known in closed form."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Distribution, Independent, MultivariateNormal, Normal

from her_robotics.gradients import (
    infer_noise,
    leave_one_out,
    likelihood_ratio,
    per_sample_gradients,
    reparametrise,
    straight_through_sigmoid,
)

from .estimates import assert_unbiased

SAMPLES = 200_000
QUADRATIC = torch.tensor([[1.0, 0.4], [0.4, -0.5]], dtype=torch.float64)
LINEAR = torch.tensor([0.3, -1.0], dtype=torch.float64)

Surrogate = Callable[[torch.Tensor], torch.Tensor]


@pytest.fixture
def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def diagonal(parameter: torch.Tensor) -> Distribution:
    """Of mean and log deviation, ``(..., 4)``."""
    mean, log_deviation = parameter.split([2, 2], dim=-1)
    return Independent(Normal(mean, log_deviation.exp()), 1)


def full(parameter: torch.Tensor) -> Distribution:
    """Of mean and Cholesky factor, ``(..., 5)``."""
    mean, (a, b, c) = parameter[..., :2], parameter[..., 2:].unbind(-1)
    rows = [torch.stack([a.exp(), torch.zeros_like(a)], -1), torch.stack([b, c.exp()], -1)]
    return MultivariateNormal(mean, scale_tril=torch.stack(rows, -2))


def covariance(gaussian: Distribution) -> torch.Tensor:
    if isinstance(gaussian, MultivariateNormal):
        return gaussian.covariance_matrix
    return gaussian.variance.diag_embed()


def bowl(x: torch.Tensor) -> torch.Tensor:
    return torch.einsum("...i,ij,...j->...", x, QUADRATIC, x) + x @ LINEAR


GAUSSIANS = {
    "diagonal": (diagonal, torch.tensor([0.5, -1.0, -0.3, 0.2], dtype=torch.float64)),
    "full": (full, torch.tensor([0.5, -1.0, -0.3, 0.6, 0.2], dtype=torch.float64)),
}
EACH_GAUSSIAN = pytest.mark.parametrize(
    ("gaussian", "parameter"), GAUSSIANS.values(), ids=GAUSSIANS
)


def score_surrogate(
    gaussian: Callable, noise: torch.Tensor, objective: Callable = bowl, baseline: bool = False
) -> Surrogate:
    def surrogate(copies: torch.Tensor) -> torch.Tensor:
        distribution = gaussian(copies)
        value = objective(sample := reparametrise(distribution, noise))
        return likelihood_ratio(
            distribution, sample, value, leave_one_out(value) if baseline else 0.0
        )

    return surrogate


def path_surrogate(
    gaussian: Callable, noise: torch.Tensor, objective: Callable = bowl
) -> Surrogate:
    return lambda copies: objective(reparametrise(gaussian(copies), noise))


@EACH_GAUSSIAN
@pytest.mark.parametrize("way", ["likelihood ratio", "with a baseline", "pathwise"])
def test_gaussian_gradients_are_unbiased_in_mean_and_covariance(
    gaussian: Callable, parameter: torch.Tensor, way: str, draw: torch.Generator
) -> None:
    theta = parameter.clone().requires_grad_()
    at = gaussian(theta)
    expectation = bowl(at.mean) + (QUADRATIC * covariance(at)).sum()
    (truth,) = torch.autograd.grad(expectation, theta)
    noise = torch.randn(SAMPLES, 2, generator=draw, dtype=torch.float64)
    surrogate = (
        path_surrogate(gaussian, noise)
        if way == "pathwise"
        else score_surrogate(gaussian, noise, baseline=way == "with a baseline")
    )
    assert_unbiased(per_sample_gradients(surrogate, parameter, SAMPLES), truth)


def unit(parameter: torch.Tensor) -> Distribution:
    return Independent(Normal(parameter, 0.8), 1)


def square(x: torch.Tensor) -> torch.Tensor:
    return x.square().sum(-1)


@pytest.mark.parametrize("mean", [0.5, 1.0, 3.0])
def test_variances_of_the_square_are_the_closed_forms_and_the_pathwise_one_is_smaller(
    mean: float, draw: torch.Generator
) -> None:
    noise = torch.randn(SAMPLES, 1, generator=draw, dtype=torch.float64)
    parameter = torch.tensor([mean], dtype=torch.float64)
    ratio, path = (
        per_sample_gradients(make(unit, noise, square), parameter, SAMPLES).var(0).item()
        for make in (score_surrogate, path_surrogate)
    )
    squared = 0.8**2
    assert ratio == pytest.approx(mean**4 / squared + 14 * mean**2 + 15 * squared, rel=0.05)
    assert path == pytest.approx(4 * squared, rel=0.02)
    assert path < ratio / 5


def test_on_a_fast_wave_the_pathwise_variance_is_the_larger(draw: torch.Generator) -> None:
    noise = torch.randn(SAMPLES, 1, generator=draw, dtype=torch.float64)
    parameter = torch.tensor([1.0], dtype=torch.float64)

    def wave(x: torch.Tensor) -> torch.Tensor:
        return (20.0 * x).sin().sum(-1)

    ratio, path = (
        per_sample_gradients(make(unit, noise, wave), parameter, SAMPLES).var(0).item()
        for make in (score_surrogate, path_surrogate)
    )
    assert path > 10 * ratio


def test_a_baseline_lowers_the_variance(draw: torch.Generator) -> None:
    noise = torch.randn(SAMPLES, 1, generator=draw, dtype=torch.float64)
    parameter = torch.tensor([3.0], dtype=torch.float64)
    without, having = (
        per_sample_gradients(score_surrogate(unit, noise, square, b), parameter, SAMPLES).var(0)
        for b in (False, True)
    )
    assert having < 0.6 * without


def test_a_baseline_is_the_mean_of_the_others() -> None:
    values = torch.randn(3, 5)
    baseline = leave_one_out(values, dim=1)
    for column in range(5):
        others = torch.cat([values[:, :column], values[:, column + 1 :]], dim=1)
        torch.testing.assert_close(baseline[:, column], others.mean(1))
    with pytest.raises(ValueError, match="two or more of them, not 1"):
        leave_one_out(torch.zeros(1, 5))


def test_a_likelihood_ratio_differentiates_neither_values_nor_samples() -> None:
    mean = torch.zeros(7, 3, requires_grad=True)
    shift = torch.ones(3, requires_grad=True)
    sample = mean + shift
    surrogate = likelihood_ratio(Independent(Normal(mean, 1.0), 1), sample, square(sample))
    surrogate.sum().backward()
    assert shift.grad is None
    # F (x - μ) / σ², with x a number.
    torch.testing.assert_close(mean.grad, torch.full((7, 3), 3.0))


@pytest.mark.parametrize("shape", [(7, 1), (1,), (), (7, 3)])
def test_values_that_are_not_one_for_each_sample_are_refused(shape: tuple[int, ...]) -> None:
    distribution = Independent(Normal(torch.zeros(7, 3), 1.0), 1)
    with pytest.raises(ValueError, match="not one for each of the samples"):
        likelihood_ratio(distribution, torch.zeros(7, 3), torch.zeros(shape))


@EACH_GAUSSIAN
def test_a_path_is_that_of_torch_and_can_be_walked_back(
    gaussian: Callable, parameter: torch.Tensor
) -> None:
    distribution = gaussian(parameter.expand(6, 5, len(parameter)))
    torch.manual_seed(3)
    expected = distribution.rsample()
    torch.manual_seed(3)
    noise = torch.randn(6, 5, 2, dtype=torch.float64)
    sample = reparametrise(distribution, noise)
    torch.testing.assert_close(sample, expected)
    torch.testing.assert_close(infer_noise(distribution, sample), noise)


@pytest.mark.parametrize("function", [reparametrise, infer_noise])
def test_what_has_no_path_is_refused(function: Callable) -> None:
    with pytest.raises(TypeError, match="Bernoulli is no Gaussian: choose Normal or Multi"):
        function(Independent(Bernoulli(logits=torch.zeros(3)), 1), torch.zeros(3))
    with pytest.raises(TypeError, match="Normal is not a Bernoulli"):
        straight_through_sigmoid(Normal(0.0, 1.0), torch.zeros(3))


def test_gradients_of_samples_average_to_that_of_the_batch(generator: np.random.Generator) -> None:
    data = torch.from_numpy(generator.normal(size=(9, 3)))
    parameter = torch.from_numpy(generator.normal(size=3)).requires_grad_()

    def surrogate(copies: torch.Tensor) -> torch.Tensor:
        return (copies * data).sum(-1).tanh()

    each = per_sample_gradients(surrogate, parameter, 9)
    (whole,) = torch.autograd.grad(surrogate(parameter.expand(9, 3)).mean(), parameter)
    torch.testing.assert_close(each.mean(0), whole)
    torch.testing.assert_close(each[4] / each[4].norm(), data[4] / data[4].norm())
    with pytest.raises(ValueError, match=r"\(\) is not \(9,\)"):
        per_sample_gradients(lambda copies: surrogate(copies).sum(), parameter, 9)
