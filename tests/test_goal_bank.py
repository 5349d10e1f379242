from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from envs.goal_bank import cache_folder, goal_bank
from envs.goal_images import GoalImages, GoalPhotographer

TASK, COUNT, SIZE = "fetch_push", 6, 32


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "her_robotics" / "goal_images"


def bank(**options: object) -> GoalImages:
    asked = {"task": TASK, "count": COUNT, "size": SIZE, "num_threads": 1, **options}
    return goal_bank(**asked)  # ty: ignore[invalid-argument-type]


def same(one: GoalImages, other: GoalImages) -> None:
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_bank_is_made_once_and_then_read_from_disk(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = bank()
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".npy"]
    written = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    again = bank()
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == written
    same(first, again)
    same(first, GoalPhotographer(TASK, size=SIZE, num_threads=1).draw(COUNT))
    assert isinstance(again.pictures, np.memmap)
    assert not again.pictures.flags.writeable
    assert capsys.readouterr().err == ""


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a flipped bit": (".npy", flip_a_bit),
    "a cut file": (".npy", lambda path: path.write_bytes(path.read_bytes()[:-500])),
    "another file": (".npy", lambda path: path.write_text("no array")),
    "an empty file": (".npy", lambda path: path.write_bytes(b"")),
    "an array of another kind": (".npy", lambda path: np.save(path, np.zeros(3))),
    "no card": (".json", lambda path: path.unlink()),
    "a card that says nothing": (".json", lambda path: path.write_text("[]")),
    "half a card": (".json", lambda path: path.write_bytes(path.read_bytes()[:20])),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_bank_is_made_anew_and_one_line_says_so(
    damage: str, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = GoalPhotographer(TASK, size=SIZE, num_threads=1).draw(COUNT)
    bank()
    suffix, do = DAMAGES[damage]
    do(next(path for path in cache.iterdir() if path.suffix == suffix))
    capsys.readouterr()
    same(bank(), whole)
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "damaged" in said[0]
    assert str(cache) in said[0]
    same(bank(), whole)
    assert capsys.readouterr().err == ""


def test_what_is_asked_for_differently_is_another_bank(cache: Path) -> None:
    bank()
    others = ({"seed": 1}, {"size": 16}, {"camera": "external_camera_0"}, {"count": 5})
    for number, options in enumerate(
        ({}, *others, {"goal": "gripper"}, {"task": "fetch_slide"}), 1
    ):
        bank(**options)
        assert len(list(cache.glob("*.npy"))) == number
    bank(camera="her:table", goal="object")
    assert len(list(cache.glob("*.npy"))) == 7, "defaults that are named are still defaults"


def test_a_cache_that_cannot_be_written_costs_one_line_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    made = bank(folder=tmp_path / "file" / "folder")
    assert made.pictures.shape == (COUNT, SIZE, SIZE, 3)
    assert "cannot be kept" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "her_robotics" / "goal_images"


@pytest.mark.parametrize("options", [{"count": 0}, {"seed": -1}, {"camera": "nose"}, {"size": 0}])
def test_a_bank_of_what_is_not_allowed_is_refused(options: dict[str, object], cache: Path) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        bank(**options)
    assert not cache.exists()
