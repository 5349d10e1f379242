"""Our own tasks: pushing two blocks, and pushing one around a wall."""

import mujoco
import numpy as np
import pytest
from gymnasium_robotics.utils.rotations import mat2euler

from envs import HORIZON, TASKS
from envs.camera import WATCH_CAMERA
from envs.fetch import ObsDict
from envs.scene import FINGERS, GRIP_SITE, PREFIX, TABLE_BODY, load_scene, object_names
from envs.simulation import Simulations

from .conftest import MakeEnv

TWO, AROUND = "fetch_push_two", "fetch_push_around"
BOTH = pytest.mark.parametrize("task", [TWO, AROUND])
HALF = 0.025
"""Metres from a block's centre to its sides."""
HIGH, LOW = 0.5, 0.425
"""Heights in metres at which the gripper travels and pushes."""
WALL = load_scene(TASKS[AROUND]).model.geom(f"{PREFIX}wall")
WALL_AT, WALL_HALF = load_scene(TASKS[AROUND]).model.body(f"{PREFIX}wall").pos, WALL.size


def push(grip: np.ndarray, block: np.ndarray, target: np.ndarray, hard: bool = False) -> np.ndarray:
    """Actions ``(n, 4)`` that take grippers behind their blocks and push these to ``target`` (n, 2).

    All positions are ``(n, 3)`` metres; ``hard`` pushes with all there is instead of with care.
    """
    way = target - block[:, :2]
    far = np.linalg.norm(way, axis=1, keepdims=True)
    ahead = way / np.maximum(far, 1e-9)
    offset = grip[:, :2] - block[:, :2]
    behind = -(offset * ahead).sum(axis=1)
    aside = np.abs(offset[:, 0] * ahead[:, 1] - offset[:, 1] * ahead[:, 0])
    placed, low = (behind > 0.03) & (aside < 0.02), grip[:, 2] < 0.45
    aim = np.column_stack([block[:, :2] - 0.06 * ahead, np.full(len(grip), HIGH)])
    near = np.linalg.norm(aim[:, :2] - grip[:, :2], axis=1) < 0.025
    aim[(placed | near) & ~low, 2] = LOW
    aim[low & ~placed, :2] = grip[low & ~placed, :2]
    aim[low & placed, :2] = (block[:, :2] + (np.minimum(far, 0.05) - 0.04) * ahead)[low & placed]
    aim[low & placed, 2] = LOW
    moves = np.clip(10.0 * (aim - grip), -1.0, 1.0)
    if hard:
        moves[low & placed, :2] = (ahead / np.abs(ahead).max(axis=1, keepdims=True))[low & placed]
    return np.column_stack([moves, np.zeros(len(grip))])


def plain_observation(simulations: Simulations, index: int) -> np.ndarray:
    """Upstream's 25 numbers and a second object's 15, read from plain MuJoCo."""
    model, data = simulations.model, mujoco.MjData(simulations.model)
    data.qpos[:], data.qvel[:] = simulations.qpos[index], simulations.qvel[index]
    mujoco.mj_forward(model, data)

    def velocity(site: str) -> tuple[np.ndarray, np.ndarray]:
        spatial, kind = np.zeros(6), mujoco.mjtObj.mjOBJ_SITE
        mujoco.mj_objectVelocity(model, data, kind, model.site(site).id, spatial, 0)
        return spatial[3:] * simulations.dt, spatial[:3] * simulations.dt

    grip, (grip_velocity, _) = data.site(GRIP_SITE).xpos, velocity(GRIP_SITE)
    parts = []
    for name in object_names(simulations.task):
        linear, angular = velocity(name)
        place, turn = data.site(name).xpos, mat2euler(data.site(name).xmat.reshape(3, 3))
        parts.append([place, place - grip, turn, linear - grip_velocity, angular])
    place, relative, turn, linear, angular = parts[0]
    fingers = [data.joint(name).qpos for name in FINGERS]
    rates = [data.joint(name).qvel * simulations.dt for name in FINGERS]
    first = [grip, place, relative, *fingers, turn, linear, angular, grip_velocity, *rates]
    return np.concatenate([*first, *(part for rest in parts[1:] for part in rest)])


@BOTH
def test_observations_are_plain_mujocos_in_upstreams_order(task: str, make_env: MakeEnv) -> None:
    env = make_env(task, num_envs=3)
    shown, _ = env.reset(seed=0)
    blocks = TASKS[task].objects
    for step in range(25):
        place = shown["achieved_goal"].reshape(3, blocks, 3)[:, step // 13 % blocks]
        shown, *_ = env.step(push(shown["observation"][:, :3], place, place[:, :2] + [0.1, 0.02]))
    assert shown["observation"].shape == (3, 10 + 15 * blocks)
    assert np.abs(shown["observation"][:, 11:20]).max() > 1e-3
    for index in range(3):
        expected = plain_observation(env._simulations, index)
        np.testing.assert_allclose(shown["observation"][index], expected, atol=1e-9)


def test_the_first_25_numbers_of_two_blocks_are_those_of_one(make_env: MakeEnv) -> None:
    two, one = make_env(TWO, num_envs=8), make_env("fetch_push", num_envs=8)
    shown, alone = two.reset(seed=0)[0], one.reset(seed=0)[0]
    for _ in range(10):
        np.testing.assert_allclose(shown["observation"][:, :25], alone["observation"], atol=1e-6)
        actions = np.tile([0.0, 0.0, 1.0, 0.0], (8, 1))
        shown, alone = two.step(actions)[0], one.step(actions)[0]


@pytest.mark.parametrize("dense", [False, True])
def test_two_blocks_have_arrived_when_both_have(dense: bool, make_env: MakeEnv) -> None:
    env = make_env(TWO, num_envs=4, reward_type="dense" if dense else "sparse")
    there = env.reset(seed=0)[0]["achieved_goal"]
    away = np.zeros((4, 2, 3))
    away[1, 0, 0] = away[2, 1, 1] = 0.06
    away[3, :, 0] = 0.045
    env.goals = there + away.reshape(4, 6)
    _, reward, _, _, info = env.step(np.zeros((4, 4)))
    assert info["is_success"].tolist() == [True, False, False, True]
    expected = [0.0, -0.03, -0.03, -0.045] if dense else [0.0, -0.5, -0.5, 0.0]
    np.testing.assert_allclose(reward, expected, atol=1e-3)


def pixel(model: mujoco.MjModel, point: np.ndarray, size: int) -> tuple[int, int]:
    """Row and column at which the watching camera sees a point."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    camera = data.cam(WATCH_CAMERA)
    x, y, z = (point - camera.xpos) @ camera.xmat.reshape(3, 3)
    focal = 0.5 * size / np.tan(np.radians(model.cam(WATCH_CAMERA).fovy[0]) / 2.0)
    return round(size / 2 + focal * y / z), round(size / 2 - focal * x / z)


def test_the_goals_of_both_blocks_are_drawn(make_env: MakeEnv) -> None:
    drawing = {"render_mode": "rgb_array", "width": 200, "height": 200}
    env, hidden = make_env(TWO, **drawing), make_env(TWO, show_goal=False, **drawing)
    env.reset(seed=0), hidden.reset(seed=0)
    model, grip = env._simulations.model, env._simulations.scene.grip
    for side in (1.0, -1.0):
        goals = grip + np.array([[0.1, 0.15 * side, 0.1], [0.1, -0.15 * side, 0.2]])
        env.goals = goals.reshape(1, 6)
        frame, without = env.render()[0].astype(int), hidden.render()[0]
        (red, orange), changed = [pixel(model, goal, 200) for goal in goals], frame != without
        assert changed[red].any()
        assert changed[orange].any()
        assert frame[red][0] > 2 * frame[red][1]
        assert frame[orange][0] > frame[orange][1] > 2 * frame[orange][2]


@BOTH
def test_nothing_touches_a_block_or_the_wall_at_the_start(task: str, make_env: MakeEnv) -> None:
    env = make_env(task, num_envs=30)
    env.reset(seed=0)
    model, data = env._simulations.model, mujoco.MjData(env._simulations.model)
    ours = ("object0", f"{PREFIX}object1", f"{PREFIX}wall")
    for qpos in env._simulations.qpos:
        data.qpos[:] = qpos
        mujoco.mj_forward(model, data)
        for geoms in data.contact.geom:
            touching = {model.body(model.geom_bodyid[geom]).name for geom in geoms}
            assert TABLE_BODY in touching or touching.isdisjoint(ours)


@BOTH
def test_starts_and_goals_lie_on_the_table(task: str, make_env: MakeEnv) -> None:
    shown, _ = make_env(task, num_envs=300).reset(seed=0)
    scene = load_scene(TASKS[task])
    table, centre = scene.model.body(TABLE_BODY), scene.model.body(TABLE_BODY).pos
    room = scene.model.geom_size[table.geomadr[0], :2] - HALF
    for name in ("achieved_goal", "desired_goal"):
        places = shown[name].reshape(300, -1, 3)
        assert (np.abs(places[..., :2] - centre[:2]) <= room).all()
        np.testing.assert_allclose(places[..., 2], scene.object_height, atol=1e-3)


def test_blocks_start_before_the_wall_and_are_wanted_behind_it(make_env: MakeEnv) -> None:
    shown, _ = make_env(AROUND, num_envs=300).reset(seed=0)
    start, goal = shown["achieved_goal"][:, 0], shown["desired_goal"][:, 0]
    assert start.max() + HALF < WALL_AT[0] - WALL_HALF[0]
    assert goal.min() - HALF > WALL_AT[0] + WALL_HALF[0]


def pushed(sideways: np.ndarray, hard: bool) -> np.ndarray:
    """Blocks pushed straight ahead, so far from the wall's middle; where they go, ``(steps, n, 3)``."""
    count = len(sideways)
    simulations = Simulations(TASKS[AROUND], count, num_threads=1)
    lane = WALL_AT[1] + sideways
    starts = np.column_stack([np.full(count, WALL_AT[0] - 0.12), lane])
    simulations.reset(np.arange(count), starts[:, None])
    path = []
    for _ in range(HORIZON):
        path.append(simulations.readings.object_pos[:, 0])
        ahead = np.column_stack([np.full(count, WALL_AT[0] + 0.1), lane])
        simulations.step(push(simulations.readings.grip_pos, path[-1], ahead, hard))
    return np.array(path)


@pytest.mark.parametrize("hard", [False, True])
def test_the_wall_stops_what_is_pushed_at_it(hard: bool) -> None:
    path = pushed(np.linspace(-0.03, 0.03, 13), hard)
    before = WALL_AT[0] - WALL_HALF[0] - HALF
    assert path[-1, :, 0].min() > before - 0.02
    assert path[..., 0].max() < before + 0.005


def test_beside_the_wall_blocks_pass() -> None:
    path = pushed(np.array([-0.14, -0.12, 0.12, 0.14]), hard=False)
    assert path[-1, :, 0].min() > WALL_AT[0] + WALL_HALF[0] + HALF


def around(shown: ObsDict, leg: np.ndarray, lane: np.ndarray) -> np.ndarray:
    """Where to push each block next: to its lane, along it past the wall, to its goal."""
    block, goal = shown["achieved_goal"][:, :2], shown["desired_goal"][:, :2]
    for _ in range(2):
        stops = np.stack([[block[:, 0], lane], [goal[:, 0], lane], goal.T]).transpose(2, 0, 1)
        stop = stops[np.arange(len(leg)), leg]
        apart = np.where(leg == 0, np.abs(block[:, 1] - lane), np.linalg.norm(stop - block, axis=1))
        leg += (apart < 0.02) & (leg < 2)
    return stops[np.arange(len(leg)), leg]


def test_going_around_the_wall_reaches_goals_within_an_episode(make_env: MakeEnv) -> None:
    env = make_env(AROUND, num_envs=24)
    shown, _ = env.reset(seed=0)
    start, goal = shown["achieved_goal"][:, 1], shown["desired_goal"][:, 1]
    end = WALL_AT[1] + np.where(start + goal > 2.0 * WALL_AT[1], 0.11, -0.11)
    hidden = np.abs(goal - WALL_AT[1]) < WALL_HALF[1]
    lane, leg = np.where(np.abs(goal - WALL_AT[1]) > 0.11, goal, end), np.zeros(24, dtype=int)
    for _ in range(HORIZON):
        aim = around(shown, leg, lane)
        shown, _, _, _, info = env.step(
            push(shown["observation"][:, :3], shown["achieved_goal"], aim)
        )
    assert info["is_success"].mean() > 0.5
    assert info["is_success"][hidden].sum() >= 2
