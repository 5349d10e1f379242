import importlib.util

import mujoco
import numpy as np
import pytest

from envs import TASKS
from envs.scene import CAMERAS, build_spec, fetch_assets, load_scene
from envs.shipped import asset

from .conftest import MakeEnv

EVERY_TASK = pytest.mark.parametrize("task", TASKS)


def model_bytes(model: mujoco.MjModel) -> bytes:
    buffer = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return buffer.tobytes()


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if not task.overlays])
def test_the_overlay_adds_cameras_and_nothing_that_physics_feels(task: str) -> None:
    upstream = mujoco.MjModel.from_xml_path(str(fetch_assets() / TASKS[task].scene))
    ours = build_spec(TASKS[task]).compile()
    assert ours.ncam > upstream.ncam
    for count in ("nq", "nv", "nu", "nbody", "ngeom", "nsite", "neq", "npair", "nexclude"):
        assert getattr(ours, count) == getattr(upstream, count), count
    np.testing.assert_array_equal(ours.body_mass, upstream.body_mass)
    np.testing.assert_array_equal(ours.geom_contype, upstream.geom_contype)
    assert ours.opt.timestep == upstream.opt.timestep


def test_overlays_stand_among_the_assets() -> None:
    assert "<camera" in asset(CAMERAS).read_text(encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"no_such\.xml"):
        asset("no_such.xml")


@EVERY_TASK
def test_a_scene_is_compiled_once_and_never_written_to(task: str, make_env: MakeEnv) -> None:
    scene = load_scene(TASKS[task])
    before = model_bytes(scene.model), scene.qpos.copy(), scene.grip.copy()
    env = make_env(task, num_envs=2, render_mode="rgb_array", width=32, height=32)
    env.reset(seed=0)
    env.step(np.ones((2, 4)))
    env.render()
    assert load_scene(TASKS[task]) is scene
    assert model_bytes(scene.model) == before[0]
    np.testing.assert_array_equal(scene.qpos, before[1])
    np.testing.assert_array_equal(scene.grip, before[2])


@EVERY_TASK
def test_every_episode_starts_with_the_gripper_at_home(task: str, make_env: MakeEnv) -> None:
    shown, _ = make_env(task, num_envs=4).reset(seed=0)
    offset = shown["observation"][:, :3] - load_scene(TASKS[task]).grip
    assert np.abs(offset).max() < 1e-3


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if task.has_object])
def test_the_object_rests_on_the_table_at_the_height_goals_are_given(
    task: str, make_env: MakeEnv
) -> None:
    scene = load_scene(TASKS[task])
    env = make_env(task, num_envs=4)
    heights = env.reset(seed=0)[0]["achieved_goal"][:, 2::3]
    np.testing.assert_allclose(heights, scene.object_height, atol=1e-3)
    for _ in range(5):
        heights = env.step(np.zeros((4, 4)))[0]["achieved_goal"][:, 2::3]
    np.testing.assert_allclose(heights, scene.object_height, atol=1e-3)


def test_without_gymnasium_robotics_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install gymnasium-robotics"):
        fetch_assets()
