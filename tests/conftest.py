"""Fixtures shared by the test files."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

# First of what imports MuJoCo: it chooses the OpenGL backend, which MuJoCo reads once, at import.
from envs.fetch import FetchVectorEnv
from her_robotics.devices import no_gpu
from her_robotics.types import EpisodeShape


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none, and say why."""
    reason = no_gpu()
    for item in items:
        if reason and item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason=reason))


MakeEnv = Callable[..., FetchVectorEnv]


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _torch_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def shape() -> EpisodeShape:
    return EpisodeShape(horizon=6, observation=5, goal=3, action=2)


@pytest.fixture
def make_env() -> Iterator[MakeEnv]:
    """Builds Fetch vector envs of one physics thread and closes them after the test."""
    made: list[FetchVectorEnv] = []

    def make(task: str, **kwargs: object) -> FetchVectorEnv:
        made.append(FetchVectorEnv(task, **{"num_threads": 1, **kwargs}))
        return made[-1]

    yield make
    for env in made:
        env.close()
