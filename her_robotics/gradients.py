"""Gradients of expectations, ∇θ E[F(x)] with x ~ p(·; θ), and samples through which they flow.

- Likelihood ratio, or score function: E[F(x) ∇θ log p(x; θ)]. It asks nothing of F, which may be
  discontinuous or unknown, and works for discrete x (Williams 1992).
- Pathwise: x = x(θ, z) with z from a fixed distribution, E[dF/dx · dx/dθ]. F must be differentiable.
- For discrete x, which has no path, relaxations (Jang et al. 2016; Maddison et al. 2016) and
  straight-through samples (Bengio et al. 2013) have a pathwise gradient, which is biased.

Distributions are those of ``torch.distributions``: ``Independent(Normal(μ, σ), 1)``,
``MultivariateNormal(μ, scale_tril=L)``, ``OneHotCategorical(logits=log p)``, ``Bernoulli(logits=…)``.
Noise is given rather than drawn: an estimate is then a function that can be repeated and differentiated,
of noise that may also be inferred from recorded actions (Heess et al. 2015).
"""

from collections.abc import Callable
from typing import cast

import torch
from torch.distributions import (
    Bernoulli,
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
)
from torch.nn import functional


def likelihood_ratio(
    distribution: Distribution,
    sample: torch.Tensor,
    value: torch.Tensor,
    baseline: torch.Tensor | float = 0.0,
) -> torch.Tensor:
    """A surrogate for each sample, (F(x) - b) log p(x; θ), whose gradient estimates ∇θ E[F(x)].

    Neither F nor x is differentiated, so values may come from anywhere, such as returns of episodes
    with ``(T, b)`` actions (Schulman et al. 2015, "Gradient estimation using stochastic computation
    graphs", equation 1).

    Args:
        distribution: p(·; θ), whose parameters need gradients.
        sample: x, ``(n, ..., event)``.
        value: F(x), ``(n, ...)``.
        baseline: b, which may depend on anything but this sample's own x; it lowers the variance and
            leaves the expectation as it is.

    Raises:
        ValueError: if there is not one value for each sample.
    """
    log_prob = distribution.log_prob(sample.detach())
    if value.shape != log_prob.shape:
        raise ValueError(
            f"values of shape {tuple(value.shape)} are not one for each of the samples, "
            f"which are {tuple(log_prob.shape)}"
        )
    return (value - baseline).detach() * log_prob


def leave_one_out(value: torch.Tensor, dim: int = 0) -> torch.Tensor:
    """A baseline for each sample: the mean value of all others along ``dim``.

    Raises:
        ValueError: if there are no others.
    """
    count = value.shape[dim]
    if count < 2:
        raise ValueError(f"a baseline from other samples needs two or more of them, not {count}")
    return (value.sum(dim, keepdim=True) - value) / (count - 1)


def reparametrise(gaussian: Distribution, noise: torch.Tensor) -> torch.Tensor:
    """x(θ, z): μ + σ ⊙ z of independent components, or μ + L z with Σ = L Lᵀ; ``(..., d)``.

    Args:
        gaussian: ``Normal``, ``Independent`` of it, or ``MultivariateNormal``.
        noise: z, standard normal, ``(..., d)``.

    Raises:
        TypeError: for another distribution.
    """
    base = _base(gaussian)
    if isinstance(base, Normal):
        return base.loc + base.scale * noise
    if isinstance(base, MultivariateNormal):
        return base.loc + torch.einsum("...ij,...j->...i", base.scale_tril, noise)
    raise _no_gaussian(gaussian)


def infer_noise(gaussian: Distribution, sample: torch.Tensor) -> torch.Tensor:
    """z such that x(θ, z) is ``sample``: the inverse of ``reparametrise``; ``(..., d)``.

    Raises:
        TypeError: if the distribution is not a Gaussian.
    """
    base = _base(gaussian)
    if isinstance(base, Normal):
        return (sample - base.loc) / base.scale
    if isinstance(base, MultivariateNormal):
        offset = (sample - base.loc).unsqueeze(-1)
        return torch.linalg.solve_triangular(base.scale_tril, offset, upper=False).squeeze(-1)
    raise _no_gaussian(gaussian)


def gumbel_noise(
    shape: tuple[int, ...],
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """ε = -log(-log u), u ~ U[0, 1], drawn by -log u ~ Exp(1), which is never zero; ``shape``."""
    return -torch.empty(shape, dtype=dtype).exponential_(generator=generator).log()


def gumbel_max(categorical: OneHotCategorical, noise: torch.Tensor) -> torch.Tensor:
    """An exact sample, argmax_k (log p_k + ε_k), as a one-hot vector without gradient; ``(..., K)``.

    Args:
        categorical: p over K categories.
        noise: ε of ``gumbel_noise``, ``(..., K)``.
    """
    perturbed = categorical.logits + noise
    return functional.one_hot(perturbed.argmax(-1), perturbed.shape[-1]).to(perturbed.dtype)


def gumbel_softmax(
    categorical: OneHotCategorical, noise: torch.Tensor, temperature: float
) -> torch.Tensor:
    """The relaxed sample y_k ∝ exp((log p_k + ε_k) / τ), ``(..., K)``.

    It is a sample of ``torch.distributions.RelaxedOneHotCategorical`` and tends to ``gumbel_max`` of
    the same noise as τ → 0. Gradients of E[F(y)] are exact; as gradients of E[F(x)] they are biased.

    Raises:
        ValueError: unless the temperature τ is above 0.
    """
    return _softmax(categorical.logits + noise, temperature)


def straight_through(hard: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
    """``hard`` forward, to the last bit; ``soft`` backward (Bengio et al. 2013)."""
    return hard.detach() + (soft - soft.detach())


def straight_through_gumbel(
    categorical: OneHotCategorical, noise: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Forward the exact sample, backward the relaxed one of the same noise (Jang et al. 2016, 2.2).

    Raises:
        ValueError: unless the temperature is above 0.
    """
    soft = gumbel_softmax(categorical, noise, temperature)
    return straight_through(gumbel_max(categorical, noise), soft)


def straight_through_softmax(
    categorical: OneHotCategorical, noise: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Forward the exact sample, backward y_k ∝ exp(log p_k / τ), without noise; ``(..., K)``.

    With τ = 1 the backward pass is that of the expectation of x, so for a linear F the gradient is
    exact; otherwise it is biased.

    Raises:
        ValueError: unless the temperature is above 0.
    """
    return straight_through(
        gumbel_max(categorical, noise), _softmax(categorical.logits, temperature)
    )


def straight_through_sigmoid(bernoulli: Distribution, uniform: torch.Tensor) -> torch.Tensor:
    """Binary neurons: forward 1[u < σ(logit)], backward the sigmoid (Bengio et al. 2013).

    Exact in expectation if F is linear in each neuron given the others; biased otherwise.

    Args:
        bernoulli: ``Bernoulli``, or ``Independent`` of it.
        uniform: u in [0, 1), ``(..., d)``.

    Raises:
        TypeError: for another distribution.
    """
    base = _base(bernoulli)
    if not isinstance(base, Bernoulli):
        raise TypeError(f"{type(base).__name__} is not a Bernoulli distribution")
    soft = cast(torch.Tensor, base.probs)
    return straight_through((uniform < soft).to(soft.dtype), soft)


def per_sample_gradients(
    surrogate: Callable[[torch.Tensor], torch.Tensor], parameter: torch.Tensor, samples: int
) -> torch.Tensor:
    """The gradient of each sample's surrogate, ``(n, *parameter.shape)``, in one backward pass.

    Args:
        surrogate: of n copies of the parameter, ``(n, *shape) -> (n,)``, row by row.
        parameter: θ.
        samples: n.

    Raises:
        ValueError: if the surrogate does not give one number for each sample.
    """
    copies = parameter.detach().expand(samples, *parameter.shape).clone().requires_grad_()
    losses = surrogate(copies)
    if losses.shape != (samples,):
        raise ValueError(f"a surrogate of shape {tuple(losses.shape)} is not {(samples,)}")
    return torch.autograd.grad(losses.sum(), copies)[0]


def _base(distribution: Distribution) -> Distribution:
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    return distribution


def _softmax(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    if not temperature > 0.0:
        raise ValueError(f"temperature {temperature} must be above 0")
    return functional.softmax(logits / temperature, dim=-1)


def _no_gaussian(distribution: Distribution) -> TypeError:
    name = type(_base(distribution)).__name__
    return TypeError(f"{name} is no Gaussian: choose Normal or MultivariateNormal")
