"""The lighter model: the stock model's trajectories, and the geometry that its omissions rest on."""

from itertools import chain

import mujoco
import numpy as np
import pytest

from benchmarks.light_parity import GRASP, TOLERANCE, Tally, kinds_of, play
from envs import TASKS
from envs.fetch import FetchVectorEnv
from envs.light import BEHIND_TABLE, CANNOT_MEET, ROBOT, TOUCHES_FLOOR, lighten
from envs.scene import GRIP_BODY, GRIPPER_QUATERNION, build_spec, load_scene

EPISODES = 21
OVERSHOOT = 0.3
"""Radians by which joints are taken beyond their limits; driven hard they went 0.17."""
TORSO = (-0.01, 0.05)
"""Metres: the torso creeps up from 0 towards the lower end of its range, 0.0386, by 7 mm an episode."""
PAIRS = sorted((one, other) for one, others in CANNOT_MEET.items() for other in others)


@pytest.mark.parametrize("task", TASKS)
def test_contact_rich_episodes_are_those_of_the_stock_model(task: str) -> None:
    stock = FetchVectorEnv(task, EPISODES, model="stock", num_threads=1)
    light = FetchVectorEnv(task, EPISODES, model="light", num_threads=1)
    tally, kinds = Tally(), kinds_of(task, EPISODES)
    play(stock, light, 0, tally, kinds)
    stock.close()
    light.close()
    assert max(tally.deviation.values()) <= TOLERANCE
    assert tally.contacts_differ == 0
    happened = {name: np.mean(values) for name, values in tally.flags.items()}
    assert happened["touched"] > 0.5, "without contact this shows too little"
    if TASKS[task].has_object:
        assert happened["moved"] > 0.3
    if GRASP in kinds:
        assert happened["lifted"] > 0.0


@pytest.mark.parametrize("task", TASKS)
def test_home_state_and_joints_are_those_of_the_stock_model(task: str) -> None:
    stock, light = load_scene(TASKS[task]), load_scene(TASKS[task], "light")
    assert light.model.nbody < stock.model.nbody
    np.testing.assert_array_equal(light.qpos, stock.qpos)
    np.testing.assert_array_equal(light.qvel, stock.qvel)
    np.testing.assert_array_equal(light.grip, stock.grip)
    names = [
        [model.joint(i).name for i in range(model.njnt)] for model in (stock.model, light.model)
    ]
    assert names[0] == names[1]


def test_unknown_models_are_refused() -> None:
    with pytest.raises(ValueError, match="stock, light"):
        FetchVectorEnv("fetch_reach", model="lighter")  # type: ignore[arg-type]


def test_a_scene_that_uses_collision_bits_of_its_own_is_refused() -> None:
    spec = build_spec(TASKS["fetch_push"])
    spec.worldbody.add_geom(name="ghost", size=[0.1, 0.1, 0.1], contype=2)
    with pytest.raises(ValueError, match="'ghost' has contype 2"):
        lighten(spec)


def test_whatever_else_is_in_the_scene_is_felt_as_in_the_stock_model() -> None:
    ends, touched = [], []
    for light in (False, True):
        spec = build_spec(TASKS["fetch_push"])
        box = {"type": mujoco.mjtGeom.mjGEOM_BOX, "size": [0.02, 0.2, 0.02]}
        spec.worldbody.add_geom(name="wall", pos=[1.4, 0.75, 0.42], **box)
        # It falls on the robot's base, which feels only what moves.
        falling = spec.worldbody.add_body(name="falling", pos=[0.6, 0.75, 0.9])
        falling.add_freejoint()
        falling.add_geom(name="falling", **box)
        if light:
            lighten(spec)
        model = spec.compile()
        data, pairs = mujoco.MjData(model), set()
        data.qpos[: model.nq - 7] = load_scene(TASKS["fetch_push"]).qpos
        mujoco.mj_forward(model, data)
        for _ in range(600):
            data.mocap_pos[0] = data.body(GRIP_BODY).xpos + np.array([0.04, 0.0, -0.02])
            data.mocap_quat[0] = GRIPPER_QUATERNION
            mujoco.mj_step(model, data)
            pairs |= {
                frozenset((_body(model, c.geom1), _body(model, c.geom2))) for c in data.contact
            }
        ends.append(data.qpos.copy())
        touched.append(pairs)
    np.testing.assert_array_equal(ends[0], ends[1])
    assert touched[0] == touched[1]
    assert any("falling" in pair and any(ROBOT in name for name in pair) for pair in touched[1])
    assert any("world" in pair and any("finger" in name for name in pair) for pair in touched[1])


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_bodies_that_are_not_tested_against_each_other_keep_apart(
    one: str, other: str, generator: np.random.Generator
) -> None:
    robot = Robot("fetch_reach")
    geoms = [robot.geom(name) for name in (one, other)]
    between = sorted(set(robot.joints(one)) ^ set(robot.joints(other)))
    low, high = robot.range(between)
    least, where = np.inf, (low + high) / 2
    for trial in range(600):
        # First anywhere, then nearer and nearer to where they came closest.
        width = (high - low) * 0.1 ** (trial / 200)
        free = generator.uniform(low, high)
        near = np.clip(where + generator.normal(size=len(low)) * 0.1 * width, low, high)
        angles = free if trial < 300 else near
        robot.pose(between, angles)
        distance = mujoco.mj_geomDistance(robot.model, robot.data, *geoms, 2.0, None)
        if distance < least:
            least, where = distance, angles
    assert least > robot.model.geom_margin[geoms].sum()


@pytest.mark.parametrize("task", TASKS)
def test_no_body_left_out_at_the_table_or_the_floor_reaches_it(
    task: str, generator: np.random.Generator
) -> None:
    robot = Robot(task)
    table = robot.model.body("table0").id
    geom = robot.model.body_geomadr[table]
    edge = robot.model.body_pos[table, 0] - robot.model.geom_size[geom, 0]
    aloft = set(robot.bodies) - set(TOUCHES_FLOOR)
    moving = sorted(set(chain.from_iterable(robot.joints(name) for name in aloft)))
    low, high = robot.range(moving)
    for _ in range(2000):
        robot.pose(moving, generator.uniform(low, high))
        assert max(robot.box(name)[1, 0] for name in BEHIND_TABLE) < edge - 0.01
        assert min(robot.box(name)[0, 2] for name in aloft) > 0.01


class Robot:
    """The robot of a task's stock model in any posture.

    Args:
        task: name of the task, which says where the robot stands.
    """

    def __init__(self, task: str):
        scene = load_scene(TASKS[task])
        self.model, self.data = scene.model, mujoco.MjData(scene.model)
        self.data.qpos[:] = scene.qpos
        self.bodies = [
            self.model.body(body).name.removeprefix(ROBOT)
            for body in self.model.geom_bodyid[self.model.geom_contype != 0]
            if self.model.body(body).name.startswith(ROBOT)
        ]

    def geom(self, name: str) -> int:
        """The one geom of a body."""
        body = self.model.body(ROBOT + name)
        assert body.geomnum[0] == 1
        return int(body.geomadr[0])

    def joints(self, name: str) -> list[int]:
        """Joints between the robot's base and a body."""
        body, found = self.model.body(ROBOT + name).id, []
        while self.model.body(body).name != f"{ROBOT}base_link":
            start = self.model.body_jntadr[body]
            found += range(start, start + self.model.body_jntnum[body])
            body = self.model.body_parentid[body]
        return [int(joint) for joint in found]

    def range(self, joints: list[int]) -> np.ndarray:
        """``(2, k)`` least and greatest values that joints are taken to."""
        limits = []
        for joint in joints:
            low, high = self.model.jnt_range[joint]
            if self.model.joint(joint).name.endswith("torso_lift_joint"):
                limits.append(TORSO)
            elif self.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE:
                limits.append((low - 0.01, high + 0.01))
            elif self.model.jnt_limited[joint]:
                limits.append((low - OVERSHOOT, high + OVERSHOOT))
            else:
                limits.append((-np.pi, np.pi))
        return np.array(limits).T

    def pose(self, joints: list[int], values: np.ndarray) -> None:
        """Put joints at values and compute where everything is then."""
        self.data.qpos[self.model.jnt_qposadr[joints]] = values
        mujoco.mj_kinematics(self.model, self.data)

    def box(self, name: str) -> np.ndarray:
        """``(2, 3)`` corners of a world-aligned box around a body."""
        geom = self.geom(name)
        matrix = self.data.geom_xmat[geom].reshape(3, 3)
        centre = self.data.geom_xpos[geom] + matrix @ self.model.geom_aabb[geom, :3]
        half = np.abs(matrix) @ self.model.geom_aabb[geom, 3:]
        return np.stack([centre - half, centre + half])


def _body(model: mujoco.MjModel, geom: int) -> str:
    return model.body(model.geom_bodyid[geom]).name
