"""What methods are made of: natural gradients, trust regions, weights, refits."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence
from torch.func import functional_call
from torch.nn.utils import parameters_to_vector

from her_robotics.cli.making import env_maker
from her_robotics.config import EnvConfig
from her_robotics.known_mdp import GaussianPolicy
from her_robotics.methods.cem import refit
from her_robotics.methods.evolution import Population
from her_robotics.methods.method import Player, Problem
from her_robotics.methods.on_policy import (
    Samples,
    Student,
    discounted,
    fit_baseline,
    standardised,
    value_features,
)
from her_robotics.methods.reps import entropy_weights
from her_robotics.methods.rwr import reward_weights
from her_robotics.methods.tnpg import (
    conjugate_gradient,
    fisher_product,
    frozen,
    mean_divergence,
    move,
    natural_step,
)
from her_robotics.methods.trpo import surrogate, trust_region_update

POINT = env_maker(EnvConfig(task="her_robotics.point_env:PointRobot-v0"))


def made(steady: bool = True, hidden: tuple[int, ...] = (5,)) -> GaussianPolicy:
    torch.manual_seed(0)
    return GaussianPolicy(3, 2, 2, hidden, steady=steady).double()


def samples_of(policy: GaussianPolicy, episodes: int = 6, seed: int = 0) -> Samples:
    """Made-up states, with actions of the policy itself and any advantages."""
    generator = torch.Generator().manual_seed(seed)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    state, goal = draw(episodes, 5, 3), draw(episodes, 5, 2)
    with torch.no_grad():
        action = policy.act(state, goal, draw(episodes, 5, 2))
    features = value_features(draw(episodes, 6, 3), draw(episodes, 6, 2))
    advantage = standardised(draw(episodes, 5) - action.square().sum(-1))
    return Samples(state, goal, action, draw(episodes, 5), advantage, features)


@pytest.mark.parametrize("steady", [True, False])
def test_the_fisher_product_is_the_divergences_hessian_times_a_vector(steady: bool) -> None:
    policy = made(steady)
    samples = samples_of(policy)
    old = frozen(policy, samples)
    named = dict(policy.named_parameters())
    sizes = [each.numel() for each in named.values()]

    def divergence(vector: torch.Tensor) -> torch.Tensor:
        parts = vector.split(sizes)
        given = {
            name: part.view_as(each)
            for (name, each), part in zip(named.items(), parts, strict=True)
        }

        class Call(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.policy = policy

            def forward(self) -> torch.Tensor:
                return mean_divergence(old, self.policy, samples)

        return functional_call(Call(), {f"policy.{name}": part for name, part in given.items()}, ())

    here = parameters_to_vector(policy.parameters()).detach()
    hessian = torch.autograd.functional.hessian(divergence, here)
    vector = torch.randn(len(here), dtype=torch.float64)
    product = fisher_product(policy, samples, damping=0.3)
    torch.testing.assert_close(product(vector), hessian @ vector + 0.3 * vector)
    assert torch.linalg.eigvalsh(hessian).min() > -1e-9


def test_conjugate_gradient_solves_within_as_many_steps_as_there_are_unknowns() -> None:
    root = torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix = root @ root.T + 0.1 * torch.eye(8)
    target = torch.arange(8, dtype=torch.float64)
    found = conjugate_gradient(lambda v: matrix @ v, target, iterations=8, tolerance=0.0)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, target), rtol=1e-6, atol=1e-6)
    assert not conjugate_gradient(lambda v: matrix @ v, torch.zeros(8)).any()


def test_conjugate_gradient_ends_early_where_it_is_done() -> None:
    asked = []

    def product(vector: torch.Tensor) -> torch.Tensor:
        asked.append(vector)
        return 2.0 * vector

    torch.testing.assert_close(conjugate_gradient(product, torch.ones(5)), torch.full((5,), 0.5))
    assert len(asked) == 1


def test_a_natural_step_is_as_long_as_the_bound_allows_and_uphill() -> None:
    policy = made()
    samples, bound = samples_of(policy), 1e-5
    old = frozen(policy, samples)
    gradient, step = natural_step(policy, samples, bound)
    quadratic = 0.5 * step @ fisher_product(policy, samples)(step)
    assert quadratic.item() == pytest.approx(bound, rel=1e-4)
    assert gradient @ step > 0.0
    before = surrogate(old, policy, samples)
    move(policy, step)
    assert mean_divergence(old, policy, samples).item() <= bound
    gained = surrogate(old, policy, samples) - before
    assert gained.item() == pytest.approx((gradient @ step).item(), rel=0.05)


def test_nothing_moves_where_nothing_is_better() -> None:
    policy = made()
    samples = samples_of(policy)._replace(advantage=torch.zeros(6, 5, dtype=torch.float64))
    assert not natural_step(policy, samples, 0.1).step.any()
    before = parameters_to_vector(policy.parameters()).detach().clone()
    assert not trust_region_update(policy, samples, 0.1)
    assert torch.equal(parameters_to_vector(policy.parameters()), before)


@pytest.mark.parametrize("bound", [0.01, 0.3, 3.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_trust_region_keeps_its_bound_and_never_lowers_the_surrogate(
    bound: float, seed: int
) -> None:
    policy = made()
    samples = samples_of(policy, seed=seed)
    old = frozen(policy, samples)
    before = surrogate(old, policy, samples)
    assert trust_region_update(policy, samples, bound)
    assert mean_divergence(old, policy, samples) <= bound
    assert surrogate(old, policy, samples) > before


def test_a_long_natural_step_leaves_the_region_that_a_trust_region_keeps() -> None:
    bound, beyond = 3.0, 0
    for seed in range(4):
        policy = made()
        samples = samples_of(policy, seed=seed)
        old = frozen(policy, samples)
        move(policy, natural_step(policy, samples, bound).step)
        beyond += bool(mean_divergence(old, policy, samples) > bound)
    assert beyond, "the line search has something to do"


def test_the_divergence_is_the_textbooks() -> None:
    old = Independent(Normal(torch.tensor([0.0]), torch.tensor([1.0])), 1)
    new = Independent(Normal(torch.tensor([1.0]), torch.tensor([2.0])), 1)
    expected = math.log(2.0) + (1.0 + 1.0) / 8.0 - 0.5
    assert kl_divergence(old, new).item() == pytest.approx(expected)


def test_reward_weights_by_hand() -> None:
    advantage = torch.tensor([[0.0, math.log(2.0)], [math.log(5.0), 0.0]])
    expected = torch.tensor([[4 / 9, 8 / 9], [20 / 9, 4 / 9]])
    torch.testing.assert_close(reward_weights(advantage, 1.0), expected)
    torch.testing.assert_close(
        reward_weights(2.0 * advantage, 2.0), expected, msg="a matter of units"
    )
    torch.testing.assert_close(reward_weights(advantage, 1e9), torch.ones(2, 2))


def divergence_of(weights: torch.Tensor) -> float:
    """KL of reweighted samples from the samples."""
    share = weights.flatten() / weights.numel()
    return torch.special.xlogy(share, share * weights.numel()).sum().item()


def test_entropy_weights_of_two_outcomes_by_hand() -> None:
    """With one step and a constant feature only η is left: half of the samples are worth 1, half 0."""
    reward = torch.tensor([[1.0], [0.0], [1.0], [0.0]], dtype=torch.float64)
    features = torch.ones(4, 2, 1, dtype=torch.float64)
    share = 0.9  # of the better half
    bound = math.log(2.0) + share * math.log(share) + (1 - share) * math.log(1 - share)
    expected = torch.tensor([[1.8], [0.2], [1.8], [0.2]], dtype=torch.float64)
    torch.testing.assert_close(
        entropy_weights(reward, features, bound), expected, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("bound", [0.1, 0.5, 1.0])
def test_entropy_weights_meet_the_bound_and_lead_where_they_come_from(bound: float) -> None:
    generator = torch.Generator().manual_seed(1)
    reward = torch.randn(30, 5, generator=generator, dtype=torch.float64) * 7.0
    state = torch.randn(30, 6, 2, generator=generator, dtype=torch.float64)
    features = value_features(state[..., :1], state[..., 1:])
    weights = entropy_weights(reward, features, bound)
    assert weights.mean().item() == pytest.approx(1.0)
    assert divergence_of(weights) == pytest.approx(bound, rel=1e-2)
    assert (weights * reward).mean() > reward.mean()
    later = features[:, 1:].clone()
    later[:, -1] = 0.0
    flow = (weights[..., None] * (later - features[:, :-1])).mean((0, 1))
    torch.testing.assert_close(
        flow + features[:, 0].mean(0) / 5, torch.zeros(8).double(), rtol=0, atol=1e-3
    )


@pytest.mark.parametrize("seed", range(5))
def test_entropy_weights_of_skewed_rewards_and_features_of_many_sizes(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(20, 21, 4, generator=generator, dtype=torch.float64)
    state = noise.cumsum(1) * torch.tensor([0.01, 0.3, 1.0, 3.0])
    reward = -noise[:, 1:, 0].mul(1.5).exp().square()
    weights = entropy_weights(reward, value_features(state[..., :2], state[..., 2:]), 1.0)
    assert 0.0 < divergence_of(weights) <= 1.02
    assert (weights * reward).mean() > reward.mean()


@pytest.mark.parametrize("best", [1, 500, 999, 1000])
@pytest.mark.parametrize("reward", [0.0, -1.0])
def test_entropy_weights_of_sparse_rewards(reward: float, best: int) -> None:
    """However few or many are the best, up to all of them, which leaves nothing to choose."""
    rewards = torch.full((1000,), reward - 1.0, dtype=torch.float64)
    rewards[:best] = reward
    generator = torch.Generator().manual_seed(2)
    state = torch.randn(20, 51, 2, generator=generator, dtype=torch.float64)
    features = value_features(state[..., :1], state[..., 1:])
    weights = entropy_weights(rewards.view(20, 50), features, 1.0).flatten()
    assert weights.mean().item() == pytest.approx(1.0)
    assert divergence_of(weights) <= 1.02
    if best == 1000:
        assert (weights == 1.0).all()
    else:
        assert (weights * rewards).mean() > rewards.mean()


def test_a_refit_takes_moments_of_the_best_by_hand() -> None:
    drawn = np.array([[0.0, 5.0], [2.0, 1.0], [4.0, 3.0], [9.0, 9.0], [7.0, 7.0]])
    returns = np.array([-5.0, 2.0, 1.0, -9.0, 0.0])
    mean, sigma = refit(drawn, returns, elite=0.4, extra=0.0)
    assert mean == pytest.approx([3.0, 2.0])
    assert sigma == pytest.approx([1.0, 1.0])
    _, wider = refit(drawn, returns, elite=0.4, extra=math.sqrt(3.0))
    assert wider == pytest.approx([2.0, 2.0])
    only, none = refit(drawn, returns, elite=0.01, extra=0.0)
    assert only == pytest.approx([2.0, 1.0])
    assert not none.any()


def test_rewards_to_come_by_hand() -> None:
    reward = torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 8.0]])
    expected = torch.tensor([[3.0, 4.0, 4.0], [2.0, 4.0, 8.0]])
    torch.testing.assert_close(discounted(reward, 0.5), expected)


def test_a_baseline_finds_what_is_linear_in_its_features() -> None:
    generator = torch.Generator().manual_seed(0)
    features = value_features(
        torch.randn(50, 6, 2, generator=generator), torch.randn(50, 6, 1, generator=generator)
    )
    truth = torch.randn(features.shape[-1], generator=generator, dtype=torch.float64)
    target = features[:, :-1] @ truth
    found = features[:, :-1] @ fit_baseline(features, target)
    torch.testing.assert_close(found, target, rtol=0, atol=1e-2)


def test_advantages_are_standardised_and_of_the_last_state_nothing_is_asked() -> None:
    problem = Problem(POINT, 1000)
    with Player(problem, 10) as player:
        student = Student(problem, player)
        samples = student.collect()
    assert player.steps == 2 * 10 * 20
    assert samples.advantage.mean().abs() < 1e-6
    assert samples.advantage.std(correction=0).item() == pytest.approx(1.0, rel=1e-5)
    assert samples.state.shape[:2] == samples.action.shape[:2] == samples.reward.shape == (10, 20)
    assert samples.features.shape[:2] == (10, 21)


def test_a_policy_whose_deviation_is_steady_has_the_same_everywhere() -> None:
    state, goal = torch.randn(7, 3).double(), torch.randn(7, 2).double()
    assert made(steady=True).distribution(state, goal).stddev.unique().tolist() == [0.5]
    assert len(made(steady=False).distribution(state, goal).stddev.unique()) == 14


def test_candidates_meet_the_same_episodes_and_keep_apart() -> None:
    problem = Problem(POINT, 1000)
    with Player(problem, 8) as player:
        population = Population(problem, player, 4)
        other = -3.0 * population.start
        given = np.stack([population.start, other, population.start, other])
        returns = population.returns(given)
        assert returns[0] == returns[2] != returns[1] == returns[3]
        again = population.returns(given[:, ::-1][:, ::-1])
    assert not np.allclose(returns, again), "the next episodes are others"
