"""How behaviour departs from the greedy policy."""

import numpy as np

from .config import ExplorationConfig


class Exploration:
    """Noise on greedy actions, and a share ε of uniformly random ones.

    Noise is Gaussian, or an Ornstein-Uhlenbeck process n ← (1 - θ) n + σ z that starts each episode
    at 0 (Lillicrap et al. 2015, section 3). Discrete actions have none.

    Args:
        config: kinds and strengths.
        seed: of the generator behind it.
        choices: how many discrete actions there are; None for continuous ones.
    """

    def __init__(self, config: ExplorationConfig, seed: int, choices: int | None = None):
        self.config, self._choices = config, choices
        self.generator = np.random.default_rng(seed)
        self._process = np.zeros(0)

    def start(self, shape: tuple[int, int]) -> None:
        """Begin new episodes whose actions have ``shape`` ``(n, a)``."""
        self._process = np.zeros(shape)

    def __call__(self, greedy: np.ndarray) -> np.ndarray:
        """Actions to take instead of the ``greedy`` ones, ``(n, a) -> (n, a)``."""
        noisy = greedy if self._choices else self._noisy(greedy)
        chosen = self.generator.random((len(greedy), 1)) < self.config.epsilon
        actions = np.where(chosen, self.uniform(greedy.shape), noisy)
        return actions.astype(np.float32)

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        """Uniformly random actions, in [-1, 1] or any choice's index."""
        if self._choices:
            return self.generator.integers(self._choices, size=shape).astype(np.float32)
        return self.generator.uniform(-1.0, 1.0, shape).astype(np.float32)

    def _noisy(self, greedy: np.ndarray) -> np.ndarray:
        normal = self.generator.standard_normal(greedy.shape) * self.config.sigma
        if self.config.noise == "ornstein_uhlenbeck":
            self._process = (1.0 - self.config.theta) * self._process + normal
            normal = self._process
        return np.clip(greedy + normal, -1.0, 1.0)
