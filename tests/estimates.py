"""Whether estimates of a gradient are right on average.

Unbiased means: each component of the mean is within 4.5 standard errors of the truth, which a right
estimator misses once in 100,000 times, and the standard error is small enough for that to say something.
"""

import torch

BOUND = 4.5


def errors(gradients: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How far the mean is from the truth, in standard errors, and these; ``(p,)`` each."""
    standard = gradients.std(0) / len(gradients) ** 0.5
    return (gradients.mean(0) - truth).abs() / standard.clamp(min=1e-12), standard


def assert_unbiased(gradients: torch.Tensor, truth: torch.Tensor) -> None:
    apart, standard = errors(gradients, truth)
    assert (standard < 0.05 * truth.norm()).all(), "too few samples to tell"
    assert (apart < BOUND).all()


def assert_biased(gradients: torch.Tensor, truth: torch.Tensor) -> None:
    """Far beyond chance, and by a tenth of the gradient or more."""
    apart, _ = errors(gradients, truth)
    assert apart.max() > 10 * BOUND
    assert (gradients.mean(0) - truth).norm() > 0.1 * truth.norm()
