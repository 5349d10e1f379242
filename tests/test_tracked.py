"""Positions that are followed over an episode, and stay where they were when they are hidden."""

from pathlib import Path

import numpy as np
import pytest
import torch

from her_robotics.encoders import FrameBatch, Frames, Tracked
from her_robotics.encoders.files import load_encoder, save_encoder
from her_robotics.encoders.fitting import fit

SIZE, LENGTH = 32, 6
HIDDEN = slice(2, 4)
"""Frames of an episode in which something comes before the square."""


def squares(count: int, seed: int = 0) -> Frames:
    """Episodes of a bright square that stays where it is, a metre being the picture's width; in some frames a
    grey bar is before it, which shows in which column it is and hides in which row.
    """
    generator = np.random.default_rng(seed)
    places = generator.integers(2, SIZE - 7, (count, 2))
    pictures = generator.integers(0, 40, (count, LENGTH, SIZE, SIZE, 3), np.uint8)
    for episode, (row, column) in zip(pictures, places, strict=True):
        episode[:, row : row + 5, column : column + 5] = 255
        episode[HIDDEN, :, max(0, column - 4) : column + 9] = 128
    goals = np.zeros((count, LENGTH, 3), np.float32)
    goals[..., :2] = places[:, None] / SIZE
    owner = np.repeat(np.arange(count), LENGTH)
    return Frames(pictures.reshape(-1, *pictures.shape[2:]), goals.reshape(-1, 3), owner)


@pytest.fixture(scope="module")
def taught() -> Tracked:
    torch.manual_seed(0)
    encoder = Tracked(SIZE, 3)
    fit(encoder, squares(400), updates=500, batch_size=32, learning_rate=5e-3)
    return encoder


def followed(encoder: Tracked, frames: Frames) -> np.ndarray:
    """What is made of episodes, step by step; ``(n, LENGTH, 3)``."""
    pictures = frames.pictures.reshape(-1, LENGTH, *frames.pictures.shape[1:])
    before = np.full((len(pictures), 3), np.nan)
    steps = []
    for step in range(LENGTH):
        before = encoder.follow(pictures[:, step], before)
        steps.append(before)
    return np.stack(steps, axis=1)


def test_what_is_hidden_stays_where_it_was_seen_and_what_is_seen_does_not(taught: Tracked) -> None:
    frames = squares(64, seed=1)
    alone = taught.embed(frames.pictures).reshape(64, LENGTH, 3)
    along = followed(taught, frames)
    off = [np.linalg.norm(x - frames.goals.reshape(64, LENGTH, 3), axis=-1) for x in (alone, along)]
    assert np.median(off[0][:, :2]) < 0.03
    assert np.median(off[0][:, HIDDEN]) > 3 * np.median(off[0][:, :2])
    assert off[1][:, HIDDEN].mean() < 0.5 * off[0][:, HIDDEN].mean()
    held = (along[:, 1:] == along[:, :-1]).mean(axis=0)
    assert held[[1, 2], 0].min() > 0.9, "rows, from frame 1 to 2 and from 2 to 3"
    assert held[[0, 3, 4], 0].max() < 0.1
    assert held[:, 1].max() < 0.1, "columns"


def test_where_an_episode_begins_a_guess_is_all_there_is(taught: Tracked) -> None:
    pictures = squares(8).pictures
    unknown = np.full((len(pictures), 3), np.nan)
    np.testing.assert_array_equal(taught.follow(pictures, unknown), taught.embed(pictures))


def test_it_is_followed_from_disk_as_before(taught: Tracked, tmp_path: Path) -> None:
    save_encoder(tmp_path, taught, {"task": "fetch_push", "camera": "her:table"})
    loaded, frames = load_encoder(tmp_path).encoder, squares(4)
    assert isinstance(loaded, Tracked)
    np.testing.assert_array_equal(followed(loaded, frames), followed(taught, frames))


def test_positions_do_not_disturb_each_other() -> None:
    torch.manual_seed(0)
    encoder, frames = Tracked(SIZE, 6), squares(4)
    pictures = torch.from_numpy(frames.pictures)
    goals = torch.randn(len(pictures), 6)

    def slopes(labels: torch.Tensor) -> list[torch.Tensor]:
        encoder.zero_grad()
        encoder.loss(FrameBatch(pictures, pictures, labels)).backward()
        first = encoder.positions[0].parameters()
        return [each.grad.clone() for each in first if each.grad is not None]

    changed = torch.cat([goals[:, :3], goals[:, 3:] + 1.0], dim=1)
    for one, other in zip(slopes(goals), slopes(changed), strict=True):
        torch.testing.assert_close(one, other)
    assert any(slope.abs().max() > 0.0 for slope in slopes(goals))
    with pytest.raises(ValueError, match="6 numbers as 6, not 4"):
        Tracked(SIZE, 6, 4)
    assert len(Tracked(SIZE, 4).positions) == 1


def test_only_what_rests_most_of_the_time_is_held(taught: Tracked) -> None:
    frames = squares(40)
    encoder = Tracked(SIZE, 6)
    restless = np.random.default_rng(0).uniform(0.0, 1.0, frames.goals.shape)
    encoder.prepare(frames._replace(goals=np.concatenate([frames.goals, restless], axis=1)))
    assert [bool(one.rests) for one in encoder.positions] == [True, False]
    with torch.no_grad():
        for one in encoder.positions:
            one.head[-1].bias[3:] = 10.0  # in doubt of everything
    before = np.full((len(frames.goals), 6), 0.5)
    seen = encoder.follow(frames.pictures, before)
    np.testing.assert_array_equal(seen[:, :3], before[:, :3])
    np.testing.assert_array_equal(seen[:, 3:], encoder.embed(frames.pictures)[:, 3:])
