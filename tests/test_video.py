from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.fetch import FetchVectorEnv
from her_robotics.building import read_task
from her_robotics.types import GoalObs
from her_robotics.video import (
    BAR,
    BORDER,
    FPS,
    PENDING_COLOUR,
    SUCCESS_COLOUR,
    VideoError,
    film,
    write_video,
)

from .conftest import MakeEnv
from .runs import Watched, debug_run, disk_full_after, names_in

SIZE, HORIZON, ENVS = 48, 24, 3
SHORT = {"render_mode": "rgb_array", "width": SIZE, "height": SIZE, "max_episode_steps": 1}
TILE_WIDTH, TILE_HEIGHT = SIZE + 2 * BORDER, SIZE + BAR + 2 * BORDER


class Filmed(NamedTuple):
    """A film and what it is of."""

    frames: np.ndarray
    reached: np.ndarray
    """``(frames, envs)`` bool."""


class Visitor:
    """Goes to the goal, in the second env only to leave it again, in the last one not at all."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, obs: GoalObs) -> np.ndarray:
        offset = obs.desired_goal - obs.achieved_goal
        if self.asked >= HORIZON // 2:
            offset[1] = -1.0
        offset[2] = 0.0
        self.asked += 1
        actions = np.zeros((ENVS, 4), np.float32)
        actions[:, :3] = np.clip(10.0 * offset, -1.0, 1.0)
        return actions


def rest(obs: GoalObs) -> np.ndarray:
    return np.zeros((len(obs.observation), 4), np.float32)


@pytest.fixture(scope="module")
def filmed() -> Iterator[Filmed]:
    distances: list[np.ndarray] = []

    def note(shown: dict[str, np.ndarray]) -> None:
        distances.append(np.linalg.norm(shown["achieved_goal"] - shown["desired_goal"], axis=1))

    options: dict[str, Any] = {"width": SIZE, "height": SIZE, "max_episode_steps": HORIZON}
    env = FetchVectorEnv("fetch_reach", ENVS, render_mode="rgb_array", num_threads=1, **options)
    note(env.reset(seed=[1, 2, 3])[0])
    watched = Watched(env, lambda step, shown: note(shown))
    frames = film(watched, read_task(env), Visitor(), [1, 2, 3], "fetch_reach")
    yield Filmed(frames, np.stack(distances) < env.distance_threshold)
    env.close()


def border(frame: np.ndarray, tile: int) -> np.ndarray:
    """The pixels ``(n, 3)`` of the frame around one of the tiles of a row."""
    picture = frame[:, tile * TILE_WIDTH : (tile + 1) * TILE_WIDTH]
    inside = np.zeros(picture.shape[:2], bool)
    inside[BORDER:-BORDER, BORDER:-BORDER] = True
    return picture[~inside]


def probe(path: Path) -> dict[str, Any]:
    reader = imageio_ffmpeg.read_frames(str(path))
    described = next(reader)
    reader.close()
    return described


def decode(path: Path) -> np.ndarray:
    reader = imageio_ffmpeg.read_frames(str(path))
    width, height = next(reader)["size"]
    return np.stack([np.frombuffer(f, np.uint8).reshape(height, width, 3) for f in reader])


def test_a_film_has_a_frame_for_the_start_and_for_every_step(filmed: Filmed) -> None:
    assert filmed.frames.shape == (HORIZON + 1, TILE_HEIGHT, ENVS * TILE_WIDTH, 3)
    assert filmed.frames.dtype == np.uint8


def test_the_border_is_green_exactly_when_the_goal_is_reached(filmed: Filmed) -> None:
    for frame, reached in zip(filmed.frames, filmed.reached, strict=True):
        for tile in range(ENVS):
            colour = SUCCESS_COLOUR if reached[tile] else PENDING_COLOUR
            assert (border(frame, tile) == colour).all()
    assert filmed.reached.any(axis=0).tolist() == [True, True, False]
    assert filmed.reached[-1].tolist() == [True, False, False], "the second has left it again"


def test_what_counts_as_reached_is_for_the_task_to_say(make_env: MakeEnv) -> None:
    env = make_env("fetch_push_two", num_envs=2, **SHORT)
    task = read_task(env)._replace(reached=lambda achieved, goal: np.arange(len(goal)) == 1)
    frames = film(env, task, rest, [3, 4], "title")
    for frame in frames:
        assert (border(frame, 0) == PENDING_COLOUR).all()
        assert (border(frame, 1) == SUCCESS_COLOUR).all()


def test_the_border_can_be_told_after_encoding(filmed: Filmed, tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", filmed.frames)
    for frame, reached in zip(decode(tmp_path / "film.mp4"), filmed.reached, strict=True):
        for tile in range(ENVS):
            red, green, _ = border(frame, tile).astype(float).mean(axis=0)
            assert (green - red > 60) == reached[tile]


def test_tiles_show_what_the_env_renders_in_rows_of_four(make_env: MakeEnv) -> None:
    env = make_env("fetch_reach", num_envs=5, **SHORT)
    frames = film(env, read_task(env), lambda obs: np.ones((5, 4)), [1, 2, 3, 4, 5], "title")
    assert frames.shape == (2, 2 * TILE_HEIGHT, 4 * TILE_WIDTH, 3)
    for index, picture in enumerate(env.render() or ()):
        top = index // 4 * TILE_HEIGHT + BORDER + BAR
        left = index % 4 * TILE_WIDTH + BORDER
        np.testing.assert_array_equal(frames[1, top : top + SIZE, left : left + SIZE], picture)
    assert (frames[:, TILE_HEIGHT:, TILE_WIDTH:] == 0).all(), "the rest of the last row is black"
    assert len(np.unique(frames[1, :TILE_HEIGHT].reshape(-1, 3), axis=0)) > 50


def test_title_and_step_are_written_above_the_picture(make_env: MakeEnv) -> None:
    env = make_env("fetch_reach", **{**SHORT, "width": 200})
    first, other = (
        film(env, read_task(env), rest, [1], title)[:, BORDER : BORDER + BAR]
        for title in ("I", "WWWWWW")
    )
    assert first[0].std() > 0
    assert (first[0] != other[0]).any()
    assert (first[0] != first[1]).any()


def test_an_env_that_draws_nothing_cannot_be_filmed(make_env: MakeEnv) -> None:
    env = make_env("fetch_reach")
    with pytest.raises(VideoError, match="render_mode"):
        film(env, read_task(env), rest, [1], "title")


def coloured(count: int, height: int, width: int) -> np.ndarray:
    """Frames of one colour each, ever brighter and ever less red."""
    level = np.linspace(0.0, 1.0, count)[:, None]
    colours = np.concatenate([200 - 150 * level, 20 + 200 * level, 40 + 100 * level], axis=1)
    return np.broadcast_to(colours[:, None, None], (count, height, width, 3)).astype(np.uint8)


@settings(deadline=None, max_examples=8)
@given(count=st.integers(1, 40), height=st.integers(16, 131), width=st.integers(16, 131))
def test_a_film_is_decoded_as_it_was_written_whatever_its_size(
    tmp_path_factory: pytest.TempPathFactory, count: int, height: int, width: int
) -> None:
    path, frames = tmp_path_factory.mktemp("film") / "film.mp4", coloured(count, height, width)
    write_video(path, frames)
    shown = decode(path)
    assert shown.shape == (count, height - height % 2, width - width % 2, 3)
    difference = shown.astype(int).mean(axis=(1, 2)) - frames.astype(int).mean(axis=(1, 2))
    assert np.abs(difference).max() < 8
    assert names_in(path.parent) == {"film.mp4"}


def test_the_film_of_a_run_is_one_that_every_browser_plays() -> None:
    path = debug_run().folder / "policy.mp4"
    described = probe(path)
    assert described["codec"] == "h264"
    assert described["pix_fmt"].startswith("yuv420p")
    assert described["fps"] == FPS
    assert described["size"] == (2 * (128 + 2 * BORDER), 128 + BAR + 2 * BORDER)
    assert len(decode(path)) == 51
    whole = path.read_bytes()
    assert whole.index(b"moov") < whole.index(b"mdat"), "it starts before it is all there"


def refused(path: Path, frames: np.ndarray) -> str:
    with pytest.raises(VideoError) as caught:
        write_video(path, frames)
    return str(caught.value)


@pytest.mark.parametrize("name", ["missing/film.mp4", "file/film.mp4", "film.nonsense", "film"])
@pytest.mark.parametrize("count", [3, 60])
def test_a_film_that_cannot_be_written_is_refused_in_one_line(
    tmp_path: Path, name: str, count: int, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    message = refused(tmp_path / name, coloured(count, 128, 128))
    assert str(tmp_path / name) in message
    assert len(message.splitlines()) == 1
    assert names_in(tmp_path) == {"file"}
    assert capfd.readouterr().err == "", "the encoder speaks past us"


def test_a_disk_that_fills_up_leaves_the_old_film_and_no_half_one(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"the old film")
    noise = np.random.default_rng(0).integers(0, 255, (60, 128, 128, 3), dtype=np.uint8)
    with disk_full_after(20_000):
        refused(path, noise)
    assert path.read_bytes() == b"the old film"
    assert names_in(tmp_path) == {"film.mp4"}


def test_without_an_encoder_the_film_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "no-encoder"))
    refused(tmp_path / "film.mp4", coloured(3, 32, 32))
    assert names_in(tmp_path) == set()
