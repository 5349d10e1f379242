"""Gradients of expectations of discrete samples: which are biased, which are not, and by how much."""

from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    OneHotCategorical,
    RelaxedOneHotCategorical,
)

from her_robotics.gradients import (
    gumbel_max,
    gumbel_noise,
    gumbel_softmax,
    likelihood_ratio,
    per_sample_gradients,
    straight_through,
    straight_through_gumbel,
    straight_through_sigmoid,
    straight_through_softmax,
)

from .estimates import assert_biased, assert_unbiased

SAMPLES = 200_000
LOGITS = torch.tensor([0.7, -0.2, 0.1, -1.5], dtype=torch.float64)
PROBABILITIES = LOGITS.softmax(-1)
WEIGHTS = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
CORNERS = torch.eye(4, dtype=torch.float64)


@pytest.fixture
def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_gumbel_noise_is_gumbel(draw: torch.Generator) -> None:
    noise = gumbel_noise((50_000,), draw, torch.float64)
    assert noise.isfinite().all()
    assert stats.kstest(noise.numpy(), stats.gumbel_r.cdf).pvalue > 1e-3


def test_gumbel_max_samples_follow_the_categorical(draw: torch.Generator) -> None:
    categorical = OneHotCategorical(logits=LOGITS)
    samples = gumbel_max(categorical, gumbel_noise((SAMPLES, 4), draw, torch.float64))
    assert ((samples == 0.0) | (samples == 1.0)).all()
    assert (samples.sum(-1) == 1.0).all()
    counts = samples.sum(0).numpy()
    assert stats.chisquare(counts, PROBABILITIES.numpy() * SAMPLES).pvalue > 1e-3
    wrong = torch.tensor([0.69, -0.2, 0.1, -1.4], dtype=torch.float64).softmax(-1).numpy()
    assert stats.chisquare(counts, wrong * SAMPLES).pvalue < 1e-3, "the test can tell"


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_relaxed_samples_are_distributed_as_those_of_torch(
    temperature: float, draw: torch.Generator
) -> None:
    noise = gumbel_noise((20_000, 4), draw, torch.float64)
    ours = gumbel_softmax(OneHotCategorical(logits=LOGITS), noise, temperature)
    torchs = RelaxedOneHotCategorical(torch.tensor(temperature), logits=LOGITS).sample((20_000,))
    torch.testing.assert_close(ours.sum(-1), torch.ones_like(ours[:, 0]))
    for category in range(4):
        assert stats.ks_2samp(ours[:, category], torchs[:, category]).pvalue > 1e-3


def test_relaxed_samples_tend_to_the_exact_ones_of_the_same_noise(draw: torch.Generator) -> None:
    categorical = OneHotCategorical(logits=LOGITS)
    noise = gumbel_noise((1000, 4), draw, torch.float64)
    exact = gumbel_max(categorical, noise)
    apart = [
        (gumbel_softmax(categorical, noise, temperature) - exact).abs().mean().item()
        for temperature in (5.0, 1.0, 0.1, 0.001)
    ]
    assert apart == sorted(apart, reverse=True)
    assert apart[-1] < 1e-3


def test_the_gradient_of_a_relaxed_sample_is_exact(draw: torch.Generator) -> None:
    noise = gumbel_noise((5, 4), draw, torch.float64)
    assert torch.autograd.gradcheck(
        lambda logits: gumbel_softmax(OneHotCategorical(logits=logits), noise, 0.5),
        (LOGITS.clone().requires_grad_(),),
    )


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize(
    "sampler", [gumbel_softmax, straight_through_gumbel, straight_through_softmax]
)
def test_a_temperature_that_is_none_is_refused(sampler: Callable, temperature: float) -> None:
    with pytest.raises(ValueError, match=f"temperature {temperature} must be above 0"):
        sampler(OneHotCategorical(logits=LOGITS), torch.zeros(4), temperature)


def linear(x: torch.Tensor) -> torch.Tensor:
    return x @ WEIGHTS


def curved(x: torch.Tensor) -> torch.Tensor:
    return (x @ WEIGHTS).square()


def categorical_truth(objective: Callable) -> torch.Tensor:
    """∂/∂ log p of Σ p_k F(e_k): p_k (F(e_k) - E[F])."""
    values = objective(CORNERS)
    return PROBABILITIES * (values - PROBABILITIES @ values)


def categorical_gradients(
    objective: Callable, sampler: Callable, draw: torch.Generator
) -> torch.Tensor:
    noise = gumbel_noise((SAMPLES, 4), draw, torch.float64)
    return per_sample_gradients(
        lambda logits: objective(sampler(OneHotCategorical(logits=logits), noise)), LOGITS, SAMPLES
    )


@pytest.mark.parametrize("objective", [linear, curved])
def test_the_likelihood_ratio_of_a_categorical_is_unbiased(
    objective: Callable, draw: torch.Generator
) -> None:
    noise = gumbel_noise((SAMPLES, 4), draw, torch.float64)

    def surrogate(logits: torch.Tensor) -> torch.Tensor:
        categorical = OneHotCategorical(logits=logits)
        sample = gumbel_max(categorical, noise)
        return likelihood_ratio(categorical, sample, objective(sample))

    gradients = per_sample_gradients(surrogate, LOGITS, SAMPLES)
    assert_unbiased(gradients, categorical_truth(objective))


def test_a_likelihood_ratio_takes_indices_as_well(draw: torch.Generator) -> None:
    index = torch.randint(4, (50,), generator=draw)
    value = torch.randn(50, dtype=torch.float64, generator=draw)
    torch.testing.assert_close(
        likelihood_ratio(Categorical(logits=LOGITS), index, value),
        likelihood_ratio(OneHotCategorical(logits=LOGITS), CORNERS[index], value),
    )


@pytest.mark.parametrize("sampler", [straight_through_softmax, straight_through_gumbel])
def test_straight_through_samples_are_exact_to_the_last_bit(
    sampler: Callable, draw: torch.Generator
) -> None:
    categorical = OneHotCategorical(logits=LOGITS.float())
    noise = gumbel_noise((5000, 4), draw)
    assert torch.equal(sampler(categorical, noise, 0.7), gumbel_max(categorical, noise))


def test_straight_through_goes_backward_through_the_soft_value() -> None:
    hard = torch.tensor([1.0, 0.0], requires_grad=True)
    soft = torch.tensor([0.3, 0.6], requires_grad=True)
    (straight_through(hard, soft) * torch.tensor([5.0, 7.0])).sum().backward()
    assert hard.grad is None
    assert soft.grad is not None
    assert soft.grad.tolist() == [5.0, 7.0]


def test_straight_through_the_softmax_is_exact_for_a_linear_objective(
    draw: torch.Generator,
) -> None:
    gradients = categorical_gradients(linear, straight_through_softmax, draw)
    torch.testing.assert_close(gradients, categorical_truth(linear).expand_as(gradients))


def test_straight_through_the_softmax_is_biased_for_a_curved_one_by_as_much_as_enumeration_says(
    draw: torch.Generator,
) -> None:
    gradients = categorical_gradients(curved, straight_through_softmax, draw)
    truth = categorical_truth(curved)
    assert_biased(gradients, truth)
    slope = PROBABILITIES @ (2.0 * (CORNERS @ WEIGHTS)[:, None] * WEIGHTS)  # E[dF/dx]
    expected = PROBABILITIES * (slope - PROBABILITIES @ slope)
    assert_unbiased(gradients, expected)


@pytest.mark.parametrize("sampler", [gumbel_softmax, straight_through_gumbel])
@pytest.mark.parametrize("objective", [linear, curved])
def test_what_goes_back_through_a_relaxed_sample_is_biased_unless_it_is_cold(
    sampler: Callable, objective: Callable, draw: torch.Generator
) -> None:
    truth = categorical_truth(objective)
    warm, cold = (
        categorical_gradients(objective, lambda p, z, t=t: sampler(p, z, t), draw)
        for t in (1.0, 0.02)
    )
    assert_biased(warm, truth)
    bias = [(each.mean(0) - truth).norm().item() for each in (warm, cold)]
    variance = [each.var(0).sum().item() for each in (warm, cold)]
    assert bias[1] < 0.5 * bias[0]
    assert variance[1] > 5 * variance[0], "which is paid for in variance"


NEURONS = torch.tensor([0.8, -0.4], dtype=torch.float64)


def neuron_gradients(objective: Callable, draw: torch.Generator) -> torch.Tensor:
    uniform = torch.rand(SAMPLES, 2, generator=draw, dtype=torch.float64)
    return per_sample_gradients(
        lambda logits: objective(
            straight_through_sigmoid(Independent(Bernoulli(logits=logits), 1), uniform)
        ),
        NEURONS,
        SAMPLES,
    )


def neuron_truth(objective: Callable) -> torch.Tensor:
    """By enumeration of both neurons."""
    logits = NEURONS.clone().requires_grad_()
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 2)
    on = logits.sigmoid()
    probability = (corners * on + (1.0 - corners) * (1.0 - on)).prod(-1)
    return torch.autograd.grad(probability @ objective(corners), logits)[0]


def mixed(x: torch.Tensor) -> torch.Tensor:
    return 2.0 * x[..., 0] - x[..., 1] + 3.0 * x[..., 0] * x[..., 1]


def away(x: torch.Tensor) -> torch.Tensor:
    return (x - 0.2).square().sum(-1)


def test_binary_neurons_fire_as_often_as_they_should_and_are_hard(draw: torch.Generator) -> None:
    neurons = Bernoulli(logits=NEURONS.float())
    fired = straight_through_sigmoid(neurons, torch.rand(SAMPLES, 2, generator=draw))
    assert ((fired == 0.0) | (fired == 1.0)).all()
    for count, probability in zip(fired.sum(0).tolist(), neurons.probs.tolist(), strict=True):
        assert stats.binomtest(int(count), SAMPLES, probability).pvalue > 1e-3


def test_binary_neurons_are_unbiased_where_the_objective_is_linear_in_each(
    draw: torch.Generator,
) -> None:
    assert_unbiased(neuron_gradients(mixed, draw), neuron_truth(mixed))


def test_binary_neurons_are_biased_where_it_is_not_by_as_much_as_enumeration_says(
    draw: torch.Generator,
) -> None:
    gradients = neuron_gradients(away, draw)
    assert_biased(gradients, neuron_truth(away))
    on = NEURONS.sigmoid()
    assert_unbiased(gradients, 2.0 * (on - 0.2) * on * (1.0 - on))


def test_a_likelihood_ratio_of_neurons_is_unbiased_on_both(draw: torch.Generator) -> None:
    uniform = torch.rand(SAMPLES, 2, generator=draw, dtype=torch.float64)
    for objective in (mixed, away):

        def surrogate(logits: torch.Tensor, objective: Callable = objective) -> torch.Tensor:
            neurons = Independent(Bernoulli(logits=logits), 1)
            fired = straight_through_sigmoid(neurons, uniform)
            return likelihood_ratio(neurons, fired, objective(fired))

        gradients = per_sample_gradients(surrogate, NEURONS, SAMPLES)
        assert_unbiased(gradients, neuron_truth(objective))
