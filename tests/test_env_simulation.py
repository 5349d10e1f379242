from pathlib import Path

import mujoco
import numpy as np
import pytest
from gymnasium_robotics.utils.rotations import mat2euler
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from envs import TASKS
from envs.goals import GripperGoal
from envs.readings import euler_angles
from envs.scene import GRIP_SITE, OBJECT
from envs.simulation import Simulations

ANGLE = st.floats(-np.pi, np.pi)


def twin(simulations: Simulations, index: int) -> mujoco.MjData:
    """One simulation's state in plain MuJoCo, with everything derived from it computed."""
    data = mujoco.MjData(simulations.model)
    data.qpos[:], data.qvel[:] = simulations.qpos[index], simulations.qvel[index]
    mujoco.mj_forward(simulations.model, data)
    return data


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(ANGLE, ANGLE | st.just(np.pi / 2), ANGLE), min_size=1, max_size=4))
def test_euler_angles_are_upstreams_gimbal_lock_included(angles: list[tuple]) -> None:
    matrices = Rotation.from_euler("XYZ", np.array(angles)).as_matrix()
    np.testing.assert_allclose(euler_angles(matrices), mat2euler(matrices), atol=1e-12)


@pytest.mark.parametrize("task", ["fetch_push", "fetch_slide", "fetch_reach"])
def test_readings_are_what_plain_mujoco_derives_from_the_same_state(
    task: str, generator: np.random.Generator
) -> None:
    simulations = Simulations(TASKS[task], 3, num_threads=1)
    simulations.reset(np.arange(3))
    for _ in range(8):
        simulations.step(generator.uniform(-1.0, 1.0, (3, 4)))
    for index in range(3):
        data, readings = twin(simulations, index), simulations.readings
        velocity = np.zeros(6)
        site = simulations.model.site(GRIP_SITE).id
        kind = mujoco.mjtObj.mjOBJ_SITE
        mujoco.mj_objectVelocity(simulations.model, data, kind, site, velocity, 0)
        expected = velocity[3:] * simulations.dt
        np.testing.assert_allclose(readings.grip_pos[index], data.site(GRIP_SITE).xpos, atol=1e-12)
        np.testing.assert_allclose(readings.grip_velp[index], expected, atol=1e-12)
        if TASKS[task].has_object:
            where = data.site(OBJECT).xpos
            np.testing.assert_allclose(readings.object_pos[index, 0], where, atol=1e-12)


def test_driving_the_gripper_brings_it_to_its_targets() -> None:
    simulations = Simulations(TASKS["fetch_push"], 4, num_threads=1)
    targets = GripperGoal(simulations).sample([np.random.default_rng(seed) for seed in range(4)])
    simulations.drive_gripper(targets)
    reached = simulations.readings.grip_pos
    assert np.linalg.norm(reached - targets, axis=1).max() < 0.03


def test_fingers_stay_shut_where_blocked_and_open_on_command_where_free() -> None:
    opened = np.array([[0.0, 0.0, 0.0, 1.0]])
    widths = {}
    for task in ("fetch_push", "fetch_pick_and_place"):
        simulations = Simulations(TASKS[task], 1, num_threads=1)
        simulations.reset(np.array([0]))
        for _ in range(5):
            simulations.step(opened)
        widths[task] = simulations.readings.fingers.max()
    assert widths["fetch_push"] == 0.0
    assert widths["fetch_pick_and_place"] > 0.03


def test_a_divergence_is_told_of_the_simulation_it_happened_in_every_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # where MuJoCo writes its log
    simulations = Simulations(TASKS["fetch_push"], 3, num_threads=1)
    simulations.reset(np.arange(3))
    for _ in range(2):
        assert simulations.step(np.zeros((3, 4))).tolist() == [False, False, False]
        simulations.qvel[1] = 1e12
        assert simulations.step(np.zeros((3, 4))).tolist() == [False, True, False]
