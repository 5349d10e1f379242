"""Encoders of pictures: what they are given, what they learn, and how they are kept."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from her_robotics.encoders import ENCODERS, Frames, PictureEncoder
from her_robotics.encoders.files import CARD, WEIGHTS, load_encoder, save_encoder
from her_robotics.encoders.fitting import fit, fit_probe, least_squares, nearest_error, probe
from her_robotics.errors import UserError

SIZE, GOAL = 32, 3
KINDS = pytest.mark.parametrize("kind", ENCODERS)


def squares(count: int, length: int = 5) -> Frames:
    """Episodes of a bright square that stays where it is; its place is the goal."""
    generator = np.random.default_rng(0)
    places = generator.integers(2, SIZE - 6, (count, 2))
    pictures = generator.integers(0, 40, (count * length, SIZE, SIZE, 3), np.uint8)
    episode = np.repeat(np.arange(count), length)
    for picture, (row, column) in zip(pictures, places[episode], strict=True):
        picture[row : row + 5, column : column + 5] = 255
    goals = np.zeros((len(episode), GOAL), np.float32)
    goals[:, :2] = places[episode] / SIZE
    return Frames(pictures, goals, episode)


def built(kind: str) -> PictureEncoder:
    return ENCODERS[kind](SIZE, GOAL)


@KINDS
def test_a_picture_has_one_embedding_whatever_it_is_embedded_with(kind: str) -> None:
    encoder, pictures = built(kind), squares(60).pictures
    embeddings = encoder.embed(pictures)
    assert embeddings.shape == (300, encoder.embedding)
    np.testing.assert_allclose(encoder.embed(pictures[7:8])[0], embeddings[7], atol=1e-5)
    assert encoder.read(embeddings).shape == (300, GOAL)


@KINDS
def test_learning_lowers_the_loss_and_pictures_can_be_looked_at(kind: str) -> None:
    frames, encoder = squares(60), built(kind)
    encoder.prepare(frames)
    batch = frames.draw(np.random.default_rng(1), 64)
    before = encoder.loss(batch).item()
    fit(encoder, frames, updates=40, batch_size=32, learning_rate=3e-3)
    assert encoder.loss(batch).item() < 0.8 * before
    shown = encoder.show(frames.pictures[:3], frames)
    assert shown.dtype == np.uint8
    assert shown.shape[0] == 3


def test_keypoints_learn_where_a_square_is_in_pictures_they_never_saw() -> None:
    seen, held_out = squares(200, 2).split(0.2)
    encoder = built("keypoint")
    fit(encoder, seen, updates=150, batch_size=32, learning_rate=5e-3)
    fit_probe(encoder, seen)
    spread = float(np.linalg.norm(held_out.goals - held_out.goals.mean(axis=0), axis=1).mean())
    result = probe(encoder, held_out)
    assert result.pictures == len(held_out.goals)
    assert result.mean < 0.3 * spread


def test_least_squares_finds_a_linear_map_and_gives_constants_no_weight() -> None:
    generator = np.random.default_rng(0)
    inputs = generator.normal(2.0, [1.0, 0.01, 100.0, 0.0], (200, 4))
    weight, bias = generator.normal(size=(3, 4)), generator.normal(size=3)
    weight[:, 3] = 0.0
    found = least_squares(inputs, inputs @ weight.T + bias)
    np.testing.assert_allclose(found[0], weight, atol=1e-8)
    np.testing.assert_allclose(found[1], bias, atol=1e-8)


class Linear(PictureEncoder):
    """Embeds a picture as three of its pixels, so that what a probe should read is known."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures[:, 0, :3, 0].float()

    loss = show = None  # ty: ignore[invalid-assignment]


def test_a_probe_is_exact_on_what_is_linear_and_off_by_what_is_not() -> None:
    frames = squares(40)
    goals = frames.pictures[:, 0, :3, 0].astype(np.float32) / 100.0 + 1.0
    encoder = Linear(SIZE, GOAL, 3)
    fit_probe(encoder, frames._replace(goals=goals))
    assert probe(encoder, frames._replace(goals=goals)).most < 1e-4
    moved = goals + np.float32([0.3, 0.0, 0.4])
    assert probe(encoder, frames._replace(goals=moved)).mean == pytest.approx(0.5, abs=1e-4)


def test_the_nearest_embedding_is_that_of_the_frame_most_alike() -> None:
    frames = squares(40)
    goals = frames.pictures[:, 0, :3, 0].astype(np.float32)
    seen, encoder = frames._replace(goals=goals), Linear(SIZE, GOAL, 3)
    assert nearest_error(encoder, seen, seen) == 0.0
    moved = seen._replace(goals=goals + np.float32([3.0, 0.0, 4.0]))
    assert nearest_error(encoder, moved, seen) == pytest.approx(5.0)


def test_episodes_are_split_whole_and_later_frames_are_of_the_same_one() -> None:
    frames = squares(10)
    seen, held_out = frames.split(0.3)
    assert (len(seen.goals), len(held_out.goals)) == (35, 15)
    labelled = frames._replace(pictures=np.arange(50).astype(np.uint8).reshape(-1, 1, 1, 1))
    batch = labelled.draw(np.random.default_rng(0), 500)
    now, later = batch.pictures.flatten().int(), batch.later.flatten().int()
    assert torch.equal(now // 5, later // 5)
    assert torch.all((later > now) | (now % 5 == 4))


@KINDS
def test_an_encoder_comes_back_from_disk_as_it_was(kind: str, tmp_path: Path) -> None:
    encoder, pictures = built(kind), squares(3).pictures
    save_encoder(tmp_path, encoder, {"task": "fetch_reach", "camera": "her:air"})
    saved = load_encoder(tmp_path)
    assert (saved.task, saved.camera) == ("fetch_reach", "her:air")
    np.testing.assert_array_equal(saved.encoder.embed(pictures), encoder.embed(pictures))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("kind", "psychic", "keypoint, tracked, vae, contrastive"),
        ("size", 33, "multiple of 16"),
        ("embedding", 10**12, "1 to 1024"),
        ("goal", "three", "at least 1"),
        ("task", 3, "must be a word"),
        ("format", 9, "not an encoder card of format 1"),
        ("sha256", "0", "checksum"),
    ],
)
def test_a_card_that_is_wrong_is_refused_in_a_line(
    name: str, value: object, said: str, tmp_path: Path
) -> None:
    save_encoder(tmp_path, built("vae"), {"task": "fetch_reach", "camera": "her:air"})
    card = json.loads((tmp_path / CARD).read_text())
    (tmp_path / CARD).write_text(json.dumps({**card, name: value}))
    with pytest.raises(UserError, match=said) as error:
        load_encoder(tmp_path)
    assert len(str(error.value).splitlines()) == 1


def test_cut_or_missing_weights_are_refused(tmp_path: Path) -> None:
    save_encoder(tmp_path, built("vae"), {"task": "fetch_reach", "camera": "her:air"})
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:-8])
    with pytest.raises(UserError, match="checksum"):
        load_encoder(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(UserError, match=r"holds no encoder\.safetensors"):
        load_encoder(tmp_path)
