"""Truncated natural policy gradient: the natural gradient by a few steps of conjugate gradient."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch.distributions import Distribution, kl_divergence
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from ..gradients import likelihood_ratio
from ..known_mdp import GaussianPolicy
from .method import Iterate, Problem
from .on_policy import Samples, Update, learn

BOUND = 0.05
"""δ: how far an update may move the policy, as a mean Kullback-Leibler divergence."""
DAMPING = 0.1
"""Added to the diagonal of the Fisher matrix, which has directions that do not matter."""
Product = Callable[[torch.Tensor], torch.Tensor]
"""Of a symmetric matrix with a vector, ``(p,) -> (p,)``."""


class NaturalStep(NamedTuple):
    """Where the natural gradient leads.

    Attributes:
        gradient: g of E[log π · A], ``(p,)``.
        step: s along F⁻¹ g with ½ sᵀ F s = δ, ``(p,)``; 0 where the gradient is.
    """

    gradient: torch.Tensor
    step: torch.Tensor


def tnpg(problem: Problem, episodes: int = 20, bound: float = BOUND) -> Iterator[Iterate]:
    """Follow the natural gradient for as far as the quadratic model of the divergence allows.

    Args:
        problem: what is to be learnt.
        episodes: of each update.
        bound: δ.
    """

    def updater(policy: GaussianPolicy) -> Update:
        def update(samples: Samples) -> None:
            move(policy, natural_step(policy, samples, bound).step)

        return update

    return learn(problem, episodes, updater)


def natural_step(policy: GaussianPolicy, samples: Samples, bound: float) -> NaturalStep:
    """The longest step along F⁻¹ g within the bound, by the divergence's quadratic model.

    Kakade (2002); Schulman et al. (2015, "Trust region policy optimization"), appendix C.
    """
    parameters = list(policy.parameters())
    distribution = policy.distribution(samples.state, samples.goal)
    surrogate = likelihood_ratio(distribution, samples.action, samples.advantage).mean()
    gradient = parameters_to_vector(torch.autograd.grad(surrogate, parameters))
    product = fisher_product(policy, samples)
    direction = conjugate_gradient(product, gradient)
    curvature = direction @ product(direction)
    if not curvature > 0.0:
        return NaturalStep(gradient, torch.zeros_like(gradient))
    return NaturalStep(gradient, (2.0 * bound / curvature).sqrt() * direction)


def fisher_product(policy: GaussianPolicy, samples: Samples, damping: float = DAMPING) -> Product:
    """v ↦ F v + damping · v, where F is the Hessian of E[KL(π_θ0 ‖ π_θ)] by θ at θ0.

    Two backward passes for each product (Pearlmutter 1994); F itself is never written down.
    """
    parameters = list(policy.parameters())
    divergence = mean_divergence(frozen(policy, samples), policy, samples)
    slope = parameters_to_vector(torch.autograd.grad(divergence, parameters, create_graph=True))

    def product(vector: torch.Tensor) -> torch.Tensor:
        along = torch.autograd.grad(slope @ vector, parameters, retain_graph=True)
        return parameters_to_vector(along) + damping * vector

    return product


def conjugate_gradient(
    product: Product, target: torch.Tensor, iterations: int = 10, tolerance: float = 1e-10
) -> torch.Tensor:
    """x with A x = b for a positive definite A, as far as ``iterations`` go (Hestenes & Stiefel 1952).

    Args:
        product: of A with a vector.
        target: b ``(p,)``.
        iterations: at most.
        tolerance: squared residual, relative to b's square, that ends it.
    """
    solution, residual = torch.zeros_like(target), target.clone()
    direction, square = residual, residual @ residual
    enough = tolerance * square
    for _ in range(iterations):
        if square <= enough:
            break
        image = product(direction)
        length = square / (direction @ image)
        solution = solution + length * direction
        residual = residual - length * image
        previous, square = square, residual @ residual
        direction = residual + square / previous * direction
    return solution


@torch.no_grad()
def frozen(policy: GaussianPolicy, samples: Samples) -> Distribution:
    """The policy's distributions as they are now, without gradients."""
    return policy.distribution(samples.state, samples.goal)


def mean_divergence(old: Distribution, policy: GaussianPolicy, samples: Samples) -> torch.Tensor:
    """E[KL(π_old ‖ π_θ)] over the samples' states, 0-d."""
    return kl_divergence(old, policy.distribution(samples.state, samples.goal)).mean()


@torch.no_grad()
def move(policy: GaussianPolicy, step: torch.Tensor) -> None:
    """θ ← θ + step ``(p,)``."""
    parameters = list(policy.parameters())
    vector_to_parameters(parameters_to_vector(parameters) + step, parameters)
