from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from her_robotics.checkpoint import load_checkpoint, save_checkpoint
from her_robotics.errors import UserError
from her_robotics.learner import Progress, Task, read_task

from .conftest import MakeEnv
from .helpers import PointVectorEnv
from .runs import PUSH, REACH, after, reports_of, same, start, tiny


class GoalPoints(PointVectorEnv):
    """A goal env with all that learning needs, but for what is taken from it."""

    max_episode_steps = 5
    distance_threshold = 0.05

    def compute_reward(self, achieved: np.ndarray, desired: np.ndarray, info: Any) -> np.ndarray:
        return -(np.linalg.norm(achieved - desired, axis=-1) > 0.05).astype(np.float32)


def test_a_task_is_read_from_its_env(make_env: MakeEnv) -> None:
    env = make_env("fetch_push", num_envs=3)
    task = read_task(env)
    assert (task.shape.horizon, task.shape.observation) == (50, 25)
    assert (task.shape.goal, task.shape.action) == (3, 4)
    assert task.threshold == env.distance_threshold
    achieved = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.1]])
    assert task.reward(achieved, np.zeros((2, 3))).tolist() == [0.0, -1.0]


def test_the_gripper_is_where_the_task_says(make_env: MakeEnv) -> None:
    push, reach = make_env("fetch_push"), make_env("fetch_reach")
    shown = make_env("fetch_push", goal="gripper").reset(seed=[4])[0]
    gripper = read_task(push).gripper
    assert gripper is not None
    np.testing.assert_array_equal(shown["observation"][:, gripper], shown["achieved_goal"])
    assert read_task(reach).gripper is None


def test_any_goal_env_of_fixed_horizon_is_a_task() -> None:
    task = read_task(GoalPoints(2))
    assert task.shape.horizon == 5
    assert isinstance(task, Task)
    assert task.gripper is None


@pytest.mark.parametrize("name", ["compute_reward", "max_episode_steps", "distance_threshold"])
def test_an_env_that_lacks_something_is_refused_by_its_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(GoalPoints, name)
    with pytest.raises(UserError, match=name):
        read_task(GoalPoints(1))


def test_an_env_without_goals_is_refused() -> None:
    env = gym.make_vec("CartPole-v1", num_envs=1)
    with pytest.raises(UserError, match="desired_goal"):
        read_task(env)
    env.close()


def test_an_env_of_discrete_actions_is_refused() -> None:
    env = GoalPoints(1)
    env.single_action_space = gym.spaces.Discrete(3)
    with pytest.raises(UserError, match="Box"):
        read_task(env)


def test_equal_configurations_build_equal_learners_and_seeds_differ() -> None:
    first, again = start(tiny(PUSH)), start(tiny(PUSH))
    assert same(first.state_dict(), again.state_dict())
    other = start(tiny(PUSH, seed=1))
    weights, others = (learner.agent.policy.actor.state_dict() for learner in (first, other))
    assert all((weights[name] != others[name]).any() for name in weights if "weight" in name)


def test_a_replay_smaller_than_a_cycle_is_refused() -> None:
    with pytest.raises(UserError, match=r"replay\.capacity = 99 .* env\.num_envs = 2"):
        start(tiny(replay={"capacity": 99}))
    start(tiny(replay={"capacity": 100})).close()


@pytest.mark.parametrize("env", [{"task": "fetch_reach"}, {"task": "fetch_push", "goal": "joints"}])
def test_a_relay_is_refused_where_nothing_is_to_be_moved(env: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"exploration\.relay\.share = 0\.5"):
        start(tiny(env=env, exploration={"relay": {"share": 0.5}}))


def test_the_threads_asked_for_are_used() -> None:
    before = torch.get_num_threads()
    try:
        start(tiny(train={"torch_threads": 2})).close()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("base", [REACH, PUSH])
def test_a_state_survives_the_disk_and_a_new_learner_to_the_last_bit(
    base: dict[str, Any], tmp_path: Any
) -> None:
    learner = start(tiny(base))
    reports_of(learner, after(3))
    save_checkpoint(tmp_path, learner.state_dict())
    new = start(tiny(base))
    assert not same(new.state_dict(), learner.state_dict())
    torch.rand(3)
    new.load_state_dict(load_checkpoint(tmp_path))
    torch.set_rng_state(learner.state_dict()["torch"])
    assert same(new.state_dict(), learner.state_dict())
    assert new.progress == learner.progress != Progress()


def test_a_state_does_not_follow_later_progress() -> None:
    learner = start(tiny())
    state = learner.state_dict()
    reports_of(learner, after(1))
    assert state["progress"] == vars(Progress())
    assert state["averages"] == {"sums": {}, "counts": {}}


def test_a_state_of_another_configuration_is_refused() -> None:
    state = start(tiny()).state_dict()
    wider = replace(tiny(), agent=replace(tiny().agent, hidden=(17, 16)))
    for config in (wider, tiny(env={"task": "fetch_push"})):
        with pytest.raises(UserError):
            start(config).load_state_dict(state)


def test_closing_closes_both_envs() -> None:
    learner = start(tiny())
    learner.close()
    assert learner.env.closed
    assert learner.test_env.closed
