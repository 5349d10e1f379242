import copy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mujoco
import numpy as np
import pytest

import envs
from envs import TASKS
from envs.camera import Camera, RenderingError
from envs.scene import load_scene

from .conftest import MakeEnv
from .helpers import push_the_object

SIZE = 128
MUJOCO_FIRST = """
import mujoco
from envs.single import FetchEnv
env = FetchEnv("fetch_push", render_mode="rgb_array", width=32, height=32)
env.reset(seed=0)
assert env.render().std() > 0
env.close()
"""


@pytest.fixture
def camera() -> Iterator[Camera]:
    camera = Camera(load_scene(TASKS["fetch_push"]).model, SIZE, SIZE)
    yield camera
    camera.close()


def red_pixels(frame: np.ndarray) -> np.ndarray:
    """Rows and columns of what is red, ``(k, 2)``."""
    red, green, blue = frame.astype(int).transpose(2, 0, 1)
    return np.argwhere((red > 90) & (red > 2 * green) & (red > 2 * blue))


def home_with_target(camera: Camera, offset: tuple[float, float, float]) -> np.ndarray:
    scene = load_scene(TASKS["fetch_push"])
    return camera.render(scene.qpos, (scene.grip + np.array(offset))[None])


@pytest.mark.parametrize("task", ["fetch_push", "fetch_pick_and_place"])
def test_rendering_every_step_leaves_the_trajectory_bit_for_bit_as_it_was(
    task: str, make_env: MakeEnv
) -> None:
    plain = make_env(task, num_envs=2)
    drawn = make_env(task, num_envs=2, render_mode="rgb_array", width=SIZE, height=SIZE)
    one, other = plain.reset(seed=0)[0], drawn.reset(seed=0)[0]
    start = one["achieved_goal"]
    generator = np.random.default_rng(0)
    for _ in range(25):
        drawn.render()
        actions = push_the_object(one["observation"], generator)
        one, other = plain.step(actions)[0], drawn.step(actions)[0]
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    assert np.linalg.norm(one["achieved_goal"] - start, axis=1).max() > 0.01


def test_frames_are_pictures_of_the_size_asked_for_one_of_each_env(make_env: MakeEnv) -> None:
    env = make_env("fetch_push", num_envs=3, render_mode="rgb_array", width=64, height=48)
    env.reset(seed=0)
    frames = env.render()
    assert len(frames) == 3
    assert all(frame.shape == (48, 64, 3) and frame.dtype == np.uint8 for frame in frames)
    assert all(frame.std() > 10 for frame in frames)
    assert (frames[0] != frames[1]).any()


def test_a_picture_larger_than_mujocos_buffer_is_drawn(make_env: MakeEnv) -> None:
    env = make_env("fetch_reach", render_mode="rgb_array", width=700, height=520)
    env.reset(seed=0)
    assert env.render()[0].shape == (520, 700, 3)


def test_the_red_target_is_where_the_goal_is(camera: Camera) -> None:
    low = red_pixels(home_with_target(camera, (0.0, 0.1, 0.05))).mean(axis=0)
    high = red_pixels(home_with_target(camera, (0.0, 0.1, 0.25))).mean(axis=0)
    aside = red_pixels(home_with_target(camera, (0.0, -0.1, 0.05))).mean(axis=0)
    assert high[0] < low[0] - 5
    assert abs(aside[1] - low[1]) > 5


def test_no_target_is_drawn_without_a_goal(camera: Camera) -> None:
    assert len(red_pixels(home_with_target(camera, (0.0, 0.1, 0.05)))) > 10
    hidden = camera.render(load_scene(TASKS["fetch_push"]).qpos, np.zeros((0, 3)))
    assert len(red_pixels(hidden)) == 0
    assert len(red_pixels(home_with_target(camera, (0.0, 0.1, 0.05)))) > 10


def test_the_env_shows_each_episodes_own_goal(make_env: MakeEnv) -> None:
    env = make_env("fetch_reach", num_envs=6, render_mode="rgb_array", width=SIZE, height=SIZE)
    shown, _ = env.reset(seed=0)
    rows = [red_pixels(frame)[:, 0].mean() for frame in env.render()]
    heights = shown["desired_goal"][:, 2]
    assert np.corrcoef(rows, heights)[0, 1] < -0.8


def test_goals_that_are_no_place_are_not_drawn(make_env: MakeEnv) -> None:
    env = make_env("fetch_push", goal="joints", render_mode="rgb_array", width=SIZE, height=SIZE)
    env.reset(seed=0)
    assert len(red_pixels(env.render()[0])) == 0


def test_a_frame_is_not_overwritten_by_the_next(camera: Camera) -> None:
    first = home_with_target(camera, (0.0, 0.1, 0.05))
    kept = copy.deepcopy(first)
    home_with_target(camera, (0.0, -0.1, 0.25))
    np.testing.assert_array_equal(first, kept)


def test_without_a_render_mode_there_is_no_picture(make_env: MakeEnv) -> None:
    env = make_env("fetch_push")
    env.reset(seed=0)
    assert env.render() is None


def test_closing_twice_does_no_harm(make_env: MakeEnv) -> None:
    env = make_env("fetch_push", render_mode="rgb_array", width=32, height=32)
    env.reset(seed=0)
    assert env.render()[0].std() > 0
    env.close()
    env.close()
    assert env.closed


def test_a_machine_that_cannot_draw_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_context(*_: object) -> None:
        raise ImportError("no libEGL")

    monkeypatch.setattr(mujoco, "Renderer", no_context)
    with pytest.raises(RenderingError, match=r"apt-get install .*libegl1") as error:
        Camera(load_scene(TASKS["fetch_push"]).model, SIZE, SIZE)
    assert "no libEGL" in str(error.value)


def test_a_program_that_imported_mujoco_first_can_draw_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    root = Path(envs.__file__).parents[1]
    subprocess.run([sys.executable, "-c", MUJOCO_FIRST], cwd=root, check=True, capture_output=True)
