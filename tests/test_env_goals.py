import mujoco
import numpy as np
import pytest

from envs import TASKS
from envs.fetch import FetchVectorEnv
from envs.goals import (
    GOAL_SPACES,
    MAX_LIFT,
    MIN_OBJECT_DISTANCE,
    MIN_START_DISTANCE,
    draw_object_starts,
)
from envs.scene import GRIP_SITE, load_scene, object_names
from envs.simulation import Simulations
from envs.tasks import THRESHOLDS

from .conftest import MakeEnv

OBJECT_TASKS = [name for name, task in TASKS.items() if task.has_object]
EVERY_PAIR = pytest.mark.parametrize(
    ("task", "goal"), [(name, goal) for name, task in TASKS.items() for goal in task.goal_names]
)
EVERY_TASK = pytest.mark.parametrize("task", TASKS)


def drawn_goals(env: FetchVectorEnv, seed: int = 0) -> np.ndarray:
    return env.reset(seed=seed)[0]["desired_goal"]


def plain_positions(env: FetchVectorEnv, site: str) -> np.ndarray:
    """Where plain MuJoCo puts a site at the joint positions of each simulation, ``(n, 3)``."""
    simulations = env._simulations
    data = mujoco.MjData(simulations.model)
    positions = []
    for qpos in simulations.qpos:
        data.qpos[:] = qpos
        mujoco.mj_forward(simulations.model, data)
        positions.append(data.site(site).xpos.copy())
    return np.array(positions)


@EVERY_PAIR
def test_every_goal_space_plays_and_judges(task: str, goal: str, make_env: MakeEnv) -> None:
    env = make_env(task, goal=goal, num_envs=2)
    shown, _ = env.reset(seed=0)
    assert shown in env.observation_space
    space = GOAL_SPACES[goal](Simulations(TASKS[task], 1, num_threads=1))
    assert shown["desired_goal"].shape == (2, space.dim)
    shown, reward, _, _, info = env.step(np.ones((2, 4)))
    offset = shown["achieved_goal"] - shown["desired_goal"]
    if goal == "object":
        distance = np.linalg.norm(offset.reshape(2, -1, 3), axis=2).max(axis=1)
    else:
        distance = np.linalg.norm(offset, axis=1)
    np.testing.assert_array_equal(info["is_success"], distance < THRESHOLDS[goal])
    np.testing.assert_array_equal(reward == 0.0, distance <= THRESHOLDS[goal])


@EVERY_PAIR
def test_the_achieved_goal_is_read_from_the_simulation(
    task: str, goal: str, make_env: MakeEnv, generator: np.random.Generator
) -> None:
    env = make_env(task, goal=goal, num_envs=3)
    env.reset(seed=0)
    for _ in range(5):
        shown = env.step(generator.uniform(-1.0, 1.0, (3, 4)))[0]
    achieved, simulations = shown["achieved_goal"], env._simulations
    if goal == "joints":
        at = simulations.at
        np.testing.assert_array_equal(achieved[:, :7], simulations.qpos[:, at.arm_qpos])
        velocity = simulations.qvel[:, at.arm_dofs] * simulations.dt
        np.testing.assert_array_equal(achieved[:, 7:], velocity)
        return
    sites = [GRIP_SITE] if goal == "gripper" else object_names(TASKS[task])
    expected = np.concatenate([plain_positions(env, site) for site in sites], axis=1)
    # With free fingers upstream reads poses one substep of 2 ms behind the state.
    tolerance = 1e-12 if TASKS[task].block_gripper else 5e-3
    np.testing.assert_allclose(achieved, expected, atol=tolerance)


@EVERY_PAIR
def test_a_goal_drawn_is_decided_by_its_seed(task: str, goal: str, make_env: MakeEnv) -> None:
    env = make_env(task, goal=goal, num_envs=2)
    first = drawn_goals(env, seed=5)
    np.testing.assert_array_equal(drawn_goals(env, seed=5), first)
    np.testing.assert_array_equal(drawn_goals(make_env(task, goal=goal, num_envs=2), seed=5), first)
    assert (drawn_goals(env, seed=8) != first).any(axis=1).all()


@pytest.mark.parametrize("task", OBJECT_TASKS)
def test_objects_start_in_their_range_but_not_beneath_the_gripper_nor_in_each_other(
    task: str,
) -> None:
    known, scene = TASKS[task], load_scene(TASKS[task])
    reach = np.array(known.object_range)
    generator = np.random.default_rng(0)
    starts = np.stack([draw_object_starts(known, scene, generator) for _ in range(500)])
    from_gripper = starts - scene.grip[:2]
    assert np.linalg.norm(from_gripper, axis=2).min() >= MIN_START_DISTANCE == 0.1
    offset = from_gripper - known.object_offset
    assert (np.abs(offset) <= reach + 1e-12).all()
    assert (offset.max(axis=0) > 0.9 * reach).all()
    assert (offset.min(axis=0) < -0.9 * reach).all()
    if known.objects == 2:
        apart = np.linalg.norm(starts[:, 0] - starts[:, 1], axis=1)
        assert apart.min() >= MIN_OBJECT_DISTANCE


@pytest.mark.parametrize("task", OBJECT_TASKS)
def test_the_object_shown_at_reset_is_away_from_the_gripper(task: str, make_env: MakeEnv) -> None:
    shown, _ = make_env(task, num_envs=100).reset(seed=0)
    apart = np.linalg.norm(shown["observation"][:, 6:8], axis=1)
    assert apart.min() > MIN_START_DISTANCE - 1e-3


@EVERY_TASK
def test_the_tasks_own_goals_fill_their_range(task: str, make_env: MakeEnv) -> None:
    known, scene = TASKS[task], load_scene(TASKS[task])
    goals = drawn_goals(make_env(task, num_envs=300))
    offset = goals.reshape(300, -1, 3) - scene.grip - known.target_offset
    reach = np.array([0.15, 0.15, 0.15])
    if known.has_object:
        offset, reach = offset[..., :2], np.array(known.target_range)
    assert (np.abs(offset) <= reach + 1e-12).all()
    assert (offset.max(axis=0) > 0.9 * reach).all()
    assert (offset.min(axis=0) < -0.9 * reach).all()


def test_the_goals_of_two_objects_are_not_in_each_other(make_env: MakeEnv) -> None:
    goals = drawn_goals(make_env("fetch_push_two", num_envs=300)).reshape(300, 2, 3)
    assert np.linalg.norm(goals[:, 0] - goals[:, 1], axis=1).min() >= MIN_OBJECT_DISTANCE


def test_only_pick_and_place_lifts_goals_and_half_of_them(make_env: MakeEnv) -> None:
    for task in OBJECT_TASKS:
        height = drawn_goals(make_env(task, num_envs=300))[:, 2]
        lift = height - load_scene(TASKS[task]).object_height
        assert lift.min() >= 0.0
        if task != "fetch_pick_and_place":
            assert lift.max() == 0.0
            continue
        assert 0.4 < (lift > 0.0).mean() < 0.6
        assert 0.9 * MAX_LIFT < lift.max() <= MAX_LIFT == 0.45


@pytest.mark.parametrize("task", OBJECT_TASKS)
def test_gripper_goals_are_not_inside_the_table(task: str, make_env: MakeEnv) -> None:
    goals = drawn_goals(make_env(task, goal="gripper", num_envs=300))
    assert (goals[:, 2] >= load_scene(TASKS[task]).grip[2]).all()


@EVERY_TASK
def test_a_joints_goal_is_a_posture_at_rest_within_the_joints_limits(
    task: str, make_env: MakeEnv
) -> None:
    env = make_env(task, goal="joints", num_envs=16)
    goals = drawn_goals(env)
    assert goals.shape == (16, 14)
    assert (goals[:, 7:] == 0.0).all()
    assert len(np.unique(goals[:, 0])) == 16
    model, at = env._simulations.model, env._simulations.at
    for column, address in enumerate(at.arm_qpos):
        joint = int(np.flatnonzero(model.jnt_qposadr == address)[0])
        if model.jnt_limited[joint]:
            low, high = model.jnt_range[joint]
            assert ((goals[:, column] >= low) & (goals[:, column] <= high)).all()


@EVERY_TASK
def test_a_joints_goal_is_reached_by_moving_the_gripper_to_where_it_holds_it(
    task: str, make_env: MakeEnv
) -> None:
    env = make_env(task, goal="joints", num_envs=8)
    shown, _ = env.reset(seed=0)
    simulations, data = env._simulations, mujoco.MjData(env._simulations.model)
    tips = np.zeros((8, 3))
    for index, angles in enumerate(shown["desired_goal"][:, :7]):
        data.qpos[:] = simulations.scene.qpos
        data.qpos[simulations.at.arm_qpos] = angles
        mujoco.mj_forward(simulations.model, data)
        tips[index] = data.site(GRIP_SITE).xpos
    for _ in range(50):
        actions = np.zeros((8, 4))
        actions[:, :3] = np.clip(10.0 * (tips - shown["observation"][:, :3]), -1.0, 1.0)
        shown, _, _, _, info = env.step(actions)
    assert info["is_success"].all()


@EVERY_TASK
def test_a_gripper_goal_is_reached_by_going_there(task: str, make_env: MakeEnv) -> None:
    env = make_env(task, goal="gripper", num_envs=8)
    shown, _ = env.reset(seed=0)
    for _ in range(30):
        actions = np.zeros((8, 4))
        offset = shown["desired_goal"] - shown["observation"][:, :3]
        actions[:, :3] = np.clip(10.0 * offset, -1.0, 1.0)
        shown, _, _, _, info = env.step(actions)
    assert info["is_success"].all()


@EVERY_PAIR
def test_the_env_says_where_an_object_tasks_observation_holds_the_gripper(
    task: str, goal: str, make_env: MakeEnv
) -> None:
    env = make_env(task, goal=goal, num_envs=2)
    shown, _ = env.reset(seed=0)
    if goal != "object":
        assert env.gripper is None
        return
    position = shown["observation"][:, env.gripper]
    twin, _ = make_env(task, goal="gripper", num_envs=2).reset(seed=0)
    np.testing.assert_array_equal(position, twin["achieved_goal"])
