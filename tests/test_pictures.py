import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import mujoco
import numpy as np
import pytest
from mujoco.rendering.classic import gl_context

from envs import TASKS
from envs.camera import RenderingError
from envs.pictures import LEFT_OUT, Pictures, shared_pictures
from envs.scene import load_scene

from .conftest import MakeEnv

EVERY_TASK = pytest.mark.parametrize("task", TASKS)
OFFICIAL = ("external_camera_0", "gripper_camera_rgb", "head_camera_rgb", "lidar")
SIZE = 48


def played_poses(make_env: MakeEnv, task: str, **options: object) -> np.ndarray:
    """Poses of two random episodes of five steps, ``(5, 2, p)``."""
    env, generator = make_env(task, num_envs=2, **options), np.random.default_rng(0)
    env.reset(seed=0)
    poses = []
    for _ in range(5):
        env.step(generator.uniform(-1.0, 1.0, (2, 4)))
        poses.append(env.poses)
    return np.stack(poses)


@contextmanager
def drawing_by_mujoco(task: str, size: int) -> Iterator[Callable[[np.ndarray, str], np.ndarray]]:
    """MuJoCo's own renderer after mj_forward: ``(qpos, camera) -> (size, size, 3)``."""
    model = copy.copy(load_scene(TASKS[task]).model)
    model.vis.quality.offsamples = 0
    for name in LEFT_OUT:
        model.geom_rgba[model.geom_bodyid == model.body(name).id, 3] = 0.0
        model.geom_matid[model.geom_bodyid == model.body(name).id] = -1
    model.site_rgba[:, 3] = 0.0
    data = mujoco.MjData(model)
    with mujoco.Renderer(model, size, size) as renderer:

        def draw(qpos: np.ndarray, camera: str) -> np.ndarray:
            data.qpos[:] = qpos
            mujoco.mj_forward(model, data)
            renderer.update_scene(data, camera)
            return renderer.render().copy()

        yield draw


@EVERY_TASK
def test_no_camera_shows_the_goal(task: str, make_env: MakeEnv) -> None:
    env = make_env(task, num_envs=2, render_mode="rgb_array", width=SIZE, height=SIZE)
    env.reset(seed=0)
    cameras = shared_pictures(TASKS[task]).cameras
    assert set(OFFICIAL) < set(cameras)
    before, film = [env.pictures(camera=name, size=SIZE) for name in cameras], env.render()
    env.goals = env.goals - 0.05
    for name, picture in zip(cameras, before, strict=True):
        np.testing.assert_array_equal(env.pictures(camera=name, size=SIZE), picture)
    assert film is not None
    assert (np.stack(film) != np.stack(env.render() or ())).any(), "films do show it"


@EVERY_TASK
def test_no_markers_and_nothing_else_red_is_in_a_picture(task: str, make_env: MakeEnv) -> None:
    env = make_env(task, num_envs=4)
    env.reset(seed=0)
    for camera in shared_pictures(TASKS[task]).cameras:
        red, green, blue = env.pictures(camera=camera).astype(int).transpose(3, 0, 1, 2)
        assert not ((red > 90) & (red > 2 * green) & (red > 2 * blue)).any(), camera


@EVERY_TASK
def test_kinematics_alone_and_parts_left_out_change_no_pixel(task: str, make_env: MakeEnv) -> None:
    poses = played_poses(make_env, task)[::4, 0]
    count = load_scene(TASKS[task]).model.nq
    drawer = shared_pictures(TASKS[task])
    with drawing_by_mujoco(task, 2 * SIZE) as draw:
        for camera in drawer.cameras:
            for picture, pose in zip(drawer.draw(poses, camera, SIZE), poses, strict=True):
                large = draw(pose[:count], camera).astype(float)
                mean = large.reshape(SIZE, 2, SIZE, 2, 3).mean(axis=(1, 3))
                np.testing.assert_array_equal(picture, np.floor(mean + 0.5))


def test_without_oversampling_pictures_are_mujocos_own(make_env: MakeEnv) -> None:
    pose = played_poses(make_env, "fetch_push")[0, 0]
    qpos = pose[: load_scene(TASKS["fetch_push"]).model.nq]
    plain = Pictures(TASKS["fetch_push"], oversampling=1)
    with drawing_by_mujoco("fetch_push", SIZE) as draw:
        np.testing.assert_array_equal(plain.draw(qpos, size=SIZE), draw(qpos, "her:table"))
    plain.close()
    plain.close()


@pytest.mark.parametrize("randomize", [{}, {"size": 0.4}])
def test_recorded_states_look_as_they_did(randomize: dict[str, float], make_env: MakeEnv) -> None:
    env, generator = (
        make_env("fetch_push", num_envs=3, randomize=randomize),
        np.random.default_rng(0),
    )
    env.reset(seed=0)
    poses, live = [], []
    for _ in range(4):
        env.step(generator.uniform(-1.0, 1.0, (3, 4)))
        poses.append(env.poses)
        live.append(env.pictures())
    env.reset(seed=7)
    later = make_env("fetch_push").pictures(np.stack(poses))
    assert later.shape == (4, 3, 64, 64, 3)
    assert later.dtype == np.uint8
    np.testing.assert_array_equal(later, np.stack(live))
    assert (later[0] != later[-1]).any()


def test_joint_positions_alone_show_the_models_own_objects(make_env: MakeEnv) -> None:
    poses = played_poses(make_env, "fetch_push")[0]
    small = played_poses(make_env, "fetch_push", randomize={"size": 0.9})[0]
    draw, count = shared_pictures(TASKS["fetch_push"]).draw, poses.shape[1] - 3
    np.testing.assert_array_equal(draw(poses[:, :count]), draw(poses))
    assert (draw(small[:, :count]) != draw(small)).any()


def test_a_film_in_between_changes_no_picture_and_no_state(make_env: MakeEnv) -> None:
    env = make_env("fetch_push", num_envs=2, render_mode="rgb_array", width=SIZE, height=SIZE)
    env.reset(seed=0)
    state = env.get_state()["simulations"]["physics"]
    pictures, film = env.pictures(), env.render()
    np.testing.assert_array_equal(env.pictures(size=32).shape, (2, 32, 32, 3))
    np.testing.assert_array_equal(env.pictures(), pictures)
    np.testing.assert_array_equal(env.render(), film)
    np.testing.assert_array_equal(env.get_state()["simulations"]["physics"], state)


def test_another_thread_draws_the_same_in_a_context_of_its_own(make_env: MakeEnv) -> None:
    poses, there = played_poses(make_env, "fetch_push"), []
    here = shared_pictures(TASKS["fetch_push"])
    expected = here.draw(poses)

    def draw() -> None:
        theirs = shared_pictures(TASKS["fetch_push"])
        there.append((theirs is here, theirs.draw(poses)))

    thread = threading.Thread(target=draw)
    thread.start()
    thread.join()
    assert not there[0][0]
    np.testing.assert_array_equal(there[0][1], expected)
    np.testing.assert_array_equal(here.draw(poses), expected)


def test_pictures_are_drawn_to_where_they_are_wanted(make_env: MakeEnv) -> None:
    poses = played_poses(make_env, "fetch_reach")
    drawer, room = (
        shared_pictures(TASKS["fetch_reach"]),
        np.zeros((2, *poses.shape[:2], 32, 32, 3), np.uint8),
    )
    assert drawer.draw(poses, size=32, out=room[1]) is not room
    np.testing.assert_array_equal(room[1], drawer.draw(poses, size=32))
    assert not room[0].any()
    for wrong in (room, room[1].astype(float), room[1][..., ::-1]):
        with pytest.raises(ValueError, match=r"contiguous uint8 of shape \(5, 2, 32, 32, 3\)"):
            drawer.draw(poses, size=32, out=wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"camera": "nose"}, "unknown camera 'nose': choose one of .*her:table.*external_camera_0"),
        ({"size": 0}, "size must be at least 1, not 0"),
        ({"poses": np.zeros((2, 3))}, r"poses must be of shape \(\.\.\., 22\) or \(\.\.\., 25\)"),
        ({"poses": np.zeros(())}, "poses must be of shape"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    options: dict[str, object], message: str, make_env: MakeEnv
) -> None:
    env = make_env("fetch_push")
    with pytest.raises(ValueError, match=message):
        env.pictures(**options)  # ty: ignore[invalid-argument-type]


def test_a_machine_that_cannot_draw_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_context(*_: object) -> None:
        raise ImportError("no libEGL")

    monkeypatch.setattr(gl_context, "GLContext", no_context)
    with pytest.raises(RenderingError, match=r"no libEGL.*apt-get install .*libegl1"):
        Pictures(TASKS["fetch_push"])
