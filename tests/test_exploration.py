import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from her_robotics.config import ExplorationConfig
from her_robotics.exploration import Exploration

NOISES = ["gaussian", "ornstein_uhlenbeck"]
EVERY_NOISE = pytest.mark.parametrize("noise", NOISES)
ENVS, ACTIONS = 4000, 4


def explore(seed: int = 0, envs: int = ENVS, **changes: object) -> Exploration:
    exploration = Exploration(ExplorationConfig(**changes), seed)
    exploration.start((envs, ACTIONS))
    return exploration


def greedy(value: float, envs: int = ENVS) -> np.ndarray:
    return np.full((envs, ACTIONS), value, np.float32)


@EVERY_NOISE
def test_with_epsilon_one_actions_are_uniform_whatever_the_policy_says(noise: str) -> None:
    actions = explore(noise=noise, epsilon=1.0, sigma=0.5)(greedy(1.0))
    assert stats.kstest(actions.ravel(), stats.uniform(-1.0, 2.0).cdf).pvalue > 1e-4


@EVERY_NOISE
def test_without_noise_the_greedy_action_is_taken(noise: str) -> None:
    exploration = explore(noise=noise, epsilon=0.0, sigma=0.0)
    policy = np.random.default_rng(1).uniform(-1.0, 1.0, (ENVS, ACTIONS)).astype(np.float32)
    for _ in range(3):
        np.testing.assert_array_equal(exploration(policy), policy)


def test_a_share_epsilon_of_whole_actions_is_replaced() -> None:
    actions = explore(epsilon=0.3, sigma=0.0)(greedy(0.5))
    replaced = actions != 0.5
    assert (replaced.all(axis=1) == replaced.any(axis=1)).all()
    assert stats.binomtest(int(replaced[:, 0].sum()), ENVS, 0.3).pvalue > 1e-4


def test_gaussian_noise_has_the_deviation_asked_for_and_no_memory() -> None:
    exploration = explore(epsilon=0.0, sigma=0.1)
    first, second = (exploration(greedy(0.0)).ravel() for _ in range(2))
    assert stats.kstest(first, stats.norm(0.0, 0.1).cdf).pvalue > 1e-4
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_ornstein_uhlenbeck_noise_remembers_one_minus_theta_of_itself() -> None:
    exploration = explore(noise="ornstein_uhlenbeck", epsilon=0.0, sigma=0.02, theta=0.15)
    steps = np.stack([exploration(greedy(0.0)).ravel() for _ in range(30)])
    one, other = steps[-2], steps[-1]
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(0.85, abs=0.03)
    assert other.std() == pytest.approx(0.02 / np.sqrt(1.0 - 0.85**2), rel=0.05)


def test_ornstein_uhlenbeck_noise_starts_each_episode_at_zero() -> None:
    settings_of_noise = {"noise": "ornstein_uhlenbeck", "epsilon": 0.0, "sigma": 0.05}
    used, fresh = explore(**settings_of_noise), explore(**settings_of_noise)
    for _ in range(10):
        used(greedy(0.0))
    fresh.generator.bit_generator.state = used.generator.bit_generator.state
    used.start((ENVS, ACTIONS))
    actions = used(greedy(0.0))
    np.testing.assert_array_equal(actions, fresh(greedy(0.0)))
    assert actions.std() == pytest.approx(0.05, rel=0.05)


@settings(deadline=None, max_examples=50)
@given(
    noise=st.sampled_from(NOISES),
    sigma=st.floats(0.0, 100.0),
    epsilon=st.floats(0.0, 1.0),
    theta=st.floats(0.0, 1.0),
    value=st.floats(-1.0, 1.0, width=32),
    seed=st.integers(0, 2**32),
)
def test_actions_are_float32_within_bounds(
    noise: str, sigma: float, epsilon: float, theta: float, value: float, seed: int
) -> None:
    exploration = explore(seed, 5, noise=noise, sigma=sigma, epsilon=epsilon, theta=theta)
    for _ in range(3):
        actions = exploration(greedy(value, 5))
        assert actions.dtype == np.float32
        assert actions.shape == (5, ACTIONS)
        assert np.abs(actions).max() <= 1.0


@EVERY_NOISE
def test_the_seed_decides_the_actions(noise: str) -> None:
    def run(seed: int) -> np.ndarray:
        exploration = explore(seed, 5, noise=noise)
        return np.stack([exploration(greedy(0.1, 5)) for _ in range(10)])

    np.testing.assert_array_equal(run(3), run(3))
    assert (run(3) != run(4)).any()


def test_the_greedy_actions_are_not_written_to() -> None:
    policy = greedy(0.2)
    explore(epsilon=0.5, sigma=1.0)(policy)
    assert (policy == np.float32(0.2)).all()


def test_choices_are_greedy_but_for_a_share_that_is_drawn_among_all() -> None:
    exploration = Exploration(ExplorationConfig(epsilon=0.3), 0, choices=5)
    exploration.start((ENVS, 1))
    policy = np.full((ENVS, 1), 3.0, np.float32)
    actions = exploration(policy)
    assert actions.dtype == np.float32
    assert actions.shape == (ENVS, 1)
    counts = np.bincount(actions[:, 0].astype(int), minlength=5)
    expected = np.array([0.06, 0.06, 0.06, 0.76, 0.06]) * ENVS
    assert stats.chisquare(counts, expected).pvalue > 1e-4
    drawn = exploration.uniform((ENVS, 1)).astype(int)
    assert stats.chisquare(np.bincount(drawn[:, 0], minlength=5)).pvalue > 1e-4
    assert (policy == 3.0).all()
