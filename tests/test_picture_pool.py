from collections.abc import Iterator

import numpy as np
import pytest

from envs import TASKS
from envs.fleet import WorkerError
from envs.picture_pool import PicturePool

from .conftest import MakeEnv


@pytest.fixture(scope="module")
def pool() -> Iterator[PicturePool]:
    pool = PicturePool(TASKS["fetch_push"], workers=2)
    yield pool
    pool.close()
    pool.close()


def test_several_processes_draw_what_one_does(pool: PicturePool, make_env: MakeEnv) -> None:
    env, generator = make_env("fetch_push", num_envs=5), np.random.default_rng(0)
    env.reset(seed=0)
    episode = []
    for _ in range(3):
        env.step(generator.uniform(-1.0, 1.0, (5, 4)))
        episode.append(env.poses)
    poses = np.stack(episode)
    for chosen, camera, size in (
        (poses[0], None, 64),
        (poses, "external_camera_0", 80),
        (poses[0, :1], None, 16),
    ):
        expected = env.pictures(chosen, camera, size)
        np.testing.assert_array_equal(pool.draw(chosen, camera, size), expected)
    assert pool.draw(poses[:0]).shape == (0, 5, 64, 64, 3)


def test_what_is_wrong_is_told_as_by_one(pool: PicturePool) -> None:
    for wrong, camera, message in (
        (np.zeros((2, 3)), None, "poses must be of shape"),
        (np.zeros(()), None, "poses must be of shape"),
        (np.zeros((2, 22)), "nose", "unknown camera 'nose': choose one of"),
    ):
        with pytest.raises(ValueError, match=message):
            pool.draw(wrong, camera)


def test_an_env_whose_pictures_processes_draw(make_env: MakeEnv) -> None:
    plain, shared = (
        make_env("fetch_push", num_envs=3),
        make_env("fetch_push", num_envs=3, picture_workers=1),
    )
    plain.reset(seed=0), shared.reset(seed=0)
    np.testing.assert_array_equal(shared.pictures(), plain.pictures())
    shared.close()


def test_the_death_of_a_process_is_told() -> None:
    pool = PicturePool(TASKS["fetch_reach"], workers=1)
    nothing = np.zeros((0, 15))
    assert pool.draw(nothing[:, None].repeat(2, axis=1)).shape == (0, 2, 64, 64, 3)
    pool.draw(np.zeros((1, 15)), size=16)
    (process,) = pool._processes._processes.values()
    process.kill()
    process.join()
    with pytest.raises(WorkerError, match="a process that draws pictures died"):
        pool.draw(np.zeros((1, 15)), size=16)
    pool.close()


def test_a_number_of_processes_below_none_is_refused(make_env: MakeEnv) -> None:
    with pytest.raises(ValueError, match="picture_workers must be at least 0"):
        make_env("fetch_push", picture_workers=-1)
