import math
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from her_robotics.building import build, read_task
from her_robotics.checkpoint import load_checkpoint, save_checkpoint
from her_robotics.errors import UserError
from her_robotics.learner import Progress
from her_robotics.refusals import refuse_misfits
from her_robotics.strict import merge
from her_robotics.types import Task

from .conftest import MakeEnv
from .helpers import GoalPoints, RewardedPoints
from .runs import FLIP, PUSH, REACH, after, reports_of, same, start, tiny

PUSH_TWO = merge(PUSH, {"env": {"task": "fetch_push_two"}})
MOVED = merge(PUSH, {"exploration": {"guide": {"name": "mover"}}, "agent": {"lookahead": 5}})

GAUSSIAN = merge(
    REACH, {"agent": {"name": "svg", "covariance": "full", "lookahead": 5, "td_lambda": 0.5}}
)


def test_a_task_is_read_from_its_env(make_env: MakeEnv) -> None:
    env = make_env("fetch_push", num_envs=3)
    task = read_task(env)
    assert (task.shape.horizon, task.shape.observation) == (50, 25)
    assert (task.shape.goal, task.shape.action) == (3, 4)
    assert task.reward_range == (-1.0, 0.0)
    achieved = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.1]])
    assert task.reward(achieved, np.zeros((2, 3))).tolist() == [0.0, -1.0]
    assert task.reached(achieved, np.zeros((2, 3))).tolist() == [True, False]


def test_two_objects_are_both_to_be_where_they_should_be(make_env: MakeEnv) -> None:
    task = read_task(make_env("fetch_push_two"))
    assert (task.shape.goal, task.shape.parts, task.gripper) == (6, 2, slice(0, 3))
    desired = np.zeros((4, 6))
    achieved = np.kron([[0, 0], [0, 1], [1, 0], [1, 1]], [0.06, 0.0, 0.0])
    assert task.reached(achieved, desired).tolist() == [True, False, False, False]
    assert task.reward(achieved, desired).tolist() == [0.0, -0.5, -0.5, -1.0]
    each = np.full((1, 6), 0.04 / math.sqrt(3))
    assert task.reached(each, desired[:1]).all(), "each of them is near enough by itself"


def test_the_gripper_is_where_the_task_says(make_env: MakeEnv) -> None:
    push, reach = make_env("fetch_push"), make_env("fetch_reach")
    shown = make_env("fetch_push", goal="gripper").reset(seed=[4])[0]
    gripper = read_task(push).gripper
    assert gripper is not None
    np.testing.assert_array_equal(shown["observation"][:, gripper], shown["achieved_goal"])
    assert read_task(reach).gripper is None


def test_any_goal_env_of_fixed_horizon_is_a_task() -> None:
    task = read_task(GoalPoints(2))
    assert isinstance(task, Task)
    assert task.shape.horizon == 15
    achieved = np.array([[[0.0, 0.0], [0.0, 0.1]]])
    assert task.reached(achieved, np.zeros((1, 2, 2))).tolist() == [[True, False]]


def test_what_an_env_does_not_tell_is_taken_for_unknown() -> None:
    task = read_task(GoalPoints(2))
    assert task.reward_range == (-math.inf, math.inf)
    assert task.gripper is None


def test_what_an_env_does_tell_is_taken_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RewardedPoints, "gripper", slice(0, 2), raising=False)
    task = read_task(RewardedPoints(2))
    assert task.reward_range == (0.0, 1.0)
    assert task.gripper == slice(0, 2)


def test_a_reward_without_bounds_is_read_as_such(make_env: MakeEnv) -> None:
    assert read_task(make_env("fetch_push", reward_type="dense")).reward_range == (-math.inf, 0.0)


@pytest.mark.parametrize(
    ("points", "lowest", "highest"),
    [(GoalPoints, -math.inf, math.inf), (RewardedPoints, 0.0, 50.0)],
)
def test_the_agent_is_told_what_returns_there_are(
    points: type[GoalPoints], lowest: float, highest: float
) -> None:
    agent = build(tiny(agent={"gamma": 0.98}), points).agent
    assert (agent.lowest_value, agent.highest_value) == pytest.approx((lowest, highest))


@pytest.mark.parametrize(("num_envs", "simulations"), [(1, 1), (2, 2), (3, 3), (100, 3)])
def test_tests_play_as_many_at_once_as_asked_and_no_more_than_they_need(
    num_envs: int, simulations: int
) -> None:
    learner = build(tiny(eval={"num_envs": num_envs}), GoalPoints)
    assert learner.test_env.num_envs == simulations
    assert learner.evaluate(stream=1).episodes == 3


@pytest.mark.parametrize("name", ["compute_reward", "max_episode_steps", "reached"])
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


def test_discrete_actions_are_one_choice_among_so_many() -> None:
    env = GoalPoints(1)
    env.single_action_space = gym.spaces.Discrete(3)
    shape = read_task(env).shape
    assert (shape.action, shape.choices) == (1, 3)
    assert read_task(GoalPoints(1)).shape.choices is None


def test_an_env_of_other_actions_is_refused() -> None:
    env = GoalPoints(1)
    env.single_action_space = gym.spaces.MultiBinary(3)
    with pytest.raises(UserError, match="Box or Discrete"):
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
    said = rf"exploration\.guide\.name = relay .* {env['task']} .*; choose mover or none"
    with pytest.raises(UserError, match=said):
        start(tiny(env=env, exploration={"guide": {"name": "relay"}}))
    start(tiny(env=env, exploration={"guide": {"name": "mover"}})).close()


def test_td_lambda_without_steps_to_span_is_refused() -> None:
    with pytest.raises(UserError, match=r"td_lambda = 0\.5 needs agent\.lookahead above 1"):
        start(tiny(agent={"td_lambda": 0.5}))


def test_a_time_for_rings_without_rings_is_refused() -> None:
    with pytest.raises(UserError, match=r"rings_after = 100 needs replay\.rings above 1"):
        start(tiny(replay={"rings_after": 100}))
    start(tiny(replay={"rings_after": 100, "rings": 2})).close()


def test_waves_without_a_length_are_refused() -> None:
    with pytest.raises(UserError, match=r"near_waves = True needs agent\.near_scale"):
        start(tiny(agent={"near_waves": True}))
    start(tiny(agent={"near_waves": True, "near_scale": 0.01})).close()


def test_less_hindsight_with_time_without_hindsight_or_without_a_time_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"k_until = 100 is for .* replay\.strategy = none has none"
    ):
        start(tiny(replay={"k_until": 100, "strategy": "none"}))
    with pytest.raises(UserError, match=r"k_end = 0\.5 needs replay\.k_until"):
        start(tiny(replay={"k_end": 0.5}))
    start(tiny(replay={"k_end": 0.5, "k_until": 100})).close()


def test_goals_with_pictures_are_not_scattered(make_env: MakeEnv) -> None:
    task, config = read_task(make_env("fetch_push")), tiny(PUSH, replay={"scatter": 0.1})
    refuse_misfits(config, task)
    with pytest.raises(UserError, match=r"replay\.scatter = 0\.1 moves goals, .* set it to 0"):
        refuse_misfits(replace(config, env=replace(config.env, goal="image")), task)


def test_the_threads_asked_for_are_used() -> None:
    before = torch.get_num_threads()
    try:
        start(tiny(train={"torch_threads": 2})).close()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("base", [REACH, PUSH, PUSH_TWO, MOVED, GAUSSIAN, FLIP])
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
