"""What the Fetch vector env refuses, and what its messages say."""

import gymnasium as gym
import numpy as np
import pytest

from envs import TASKS
from envs.fetch import FetchVectorEnv

from .conftest import MakeEnv


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros(3, dtype=bool),
        np.ones(2, dtype=bool),
        np.ones((3, 1), dtype=bool),
        np.ones(3, dtype=int),
        None,
    ],
    ids=["none chosen", "too short", "too many axes", "integers", "missing"],
)
def test_a_bad_reset_mask_is_refused(mask: np.ndarray | None, make_env: MakeEnv) -> None:
    env = make_env("fetch_push", num_envs=3)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"reset_mask must be a boolean array of shape \(3,\)"):
        env.reset(options={"reset_mask": mask})


@pytest.mark.parametrize(
    ("argument", "value", "allowed"),
    [
        ("task", "fetch_fly", list(TASKS)),
        ("goal", "object", ["gripper", "joints"]),
        ("goal", "mind", ["gripper", "joints"]),
        ("reward_type", "golden", ["sparse", "dense"]),
        ("render_mode", "human", ["None", "rgb_array"]),
        ("num_envs", 0, ["at least 1"]),
        ("max_episode_steps", 0, ["at least 1"]),
    ],
)
def test_a_bad_argument_is_answered_with_what_is_allowed(
    argument: str, value: object, allowed: list[str]
) -> None:
    with pytest.raises(ValueError, match=str(value)) as error:
        FetchVectorEnv(**{"task": "fetch_reach", argument: value})
    assert all(choice in str(error.value) for choice in allowed)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("distance_threshold", -1.0), ("distance_threshold", float("nan")), ("num_threads", -1)],
)
def test_a_number_out_of_range_is_refused(argument: str, value: float) -> None:
    with pytest.raises(ValueError, match=argument):
        FetchVectorEnv("fetch_reach", **{argument: value})


def test_a_wrong_number_of_seeds_is_refused(make_env: MakeEnv) -> None:
    with pytest.raises(ValueError, match="2 seeds were given for 3 envs"):
        make_env("fetch_reach", num_envs=3).reset(seed=[1, 2])


def test_stepping_before_reset_is_refused(make_env: MakeEnv) -> None:
    with pytest.raises(gym.error.ResetNeeded, match="reset"):
        make_env("fetch_reach").step(np.zeros((1, 4)))


@pytest.mark.parametrize("shape", [(4,), (2, 3), (3, 4), (2, 4, 1)])
def test_a_wrong_action_shape_is_refused(shape: tuple[int, ...], make_env: MakeEnv) -> None:
    env = make_env("fetch_reach", num_envs=2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"\(2, 4\)") as error:
        env.step(np.zeros(shape))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_action_that_is_not_finite_is_refused_by_env_and_step(
    bad: float, make_env: MakeEnv
) -> None:
    env = make_env("fetch_reach", num_envs=3)
    env.reset(seed=0)
    for _ in range(2):
        env.step(np.zeros((3, 4)))
    actions = np.zeros((3, 4))
    actions[1, 2] = bad
    with pytest.raises(ValueError, match="env 1 at step 2"):
        env.step(actions)
