"""A run on a disk that fills up, or turns read-only, under it: real ones, of memory."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from her_robotics.checkpoint import CHECKPOINT, load_checkpoint
from her_robotics.cli import training
from her_robotics.cli.making import env_maker
from her_robotics.files import append
from her_robotics.run_folder import METRICS, TIMINGS, read_config

from .runs import command, disk_full_after, rows, watched

PLAIN = ("--video.enabled", "false", "--wandb", "disabled", "--train.checkpoint-seconds", "0")
Mount = Callable[[str], Path]


def mount(*arguments: str) -> bool:
    run = subprocess.run(["mount", *arguments], capture_output=True)
    return run.returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a file system of a size; skips where that is not allowed."""
    place = tmp_path / "disk"

    def make(size: str) -> Path:
        place.mkdir()
        try:
            mounted = mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place))
        except FileNotFoundError:
            mounted = False
        if not mounted:
            pytest.skip("file systems cannot be mounted here")
        return place

    yield make
    if place.is_mount():
        subprocess.run(["umount", "-l", str(place)], check=True)


def assert_whole(folder: Path) -> None:
    """Whether everything in a run folder can be read, and nothing else lies about."""
    assert not list(folder.rglob("*partial*"))
    for name in (METRICS, TIMINGS):
        if (folder / name).exists():
            rows(folder / name)
    if (folder / CHECKPOINT).exists():
        load_checkpoint(folder)
    if folder.exists():
        read_config(folder)


@pytest.mark.parametrize("size", ["4k", "8k", "12k", "48k", "80k"])
def test_a_disk_that_is_full_ends_the_run_in_one_line_and_leaves_nothing_half_written(
    size: str, disk: Mount
) -> None:
    folder = disk(size) / "run"
    outcome = command("train", "debug", "--out", folder, *PLAIN)
    assert outcome.code in (1, 2)
    errors = [line for line in outcome.err.splitlines() if line.startswith("her-robotics: error: ")]
    assert len(errors) == 1
    assert errors[0] == outcome.err.splitlines()[-1]
    assert "No space left" in errors[0]
    assert "Traceback" not in outcome.err
    assert_whole(folder)


def test_a_disk_that_turns_read_only_ends_the_run_which_can_be_resumed(
    disk: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = disk("10m")
    folder, real = place / "run", env_maker

    def protect(taken: int, shown: dict[str, np.ndarray]) -> None:
        if taken == 70:
            assert mount("-o", "remount,ro", str(place))

    with monkeypatch.context() as patch:
        patch.setattr(training, "env_maker", lambda env: watched(real(env), protect, 2))
        outcome = command("train", "debug", "--out", folder, *PLAIN)
    error = outcome.err.splitlines()[-1]
    assert outcome.code == 2
    assert error.startswith(f"her-robotics: error: {folder / METRICS} cannot be written: Read-only")
    assert error.endswith(f"her-robotics train --resume {folder}")
    assert_whole(folder)
    assert load_checkpoint(folder)["progress"]["steps"] == 100
    assert command("train", "--resume", folder).code != 0
    assert mount("-o", "remount,rw", str(place))
    assert command("train", "--resume", folder).code == 0
    assert [row["step"] for row in rows(folder / METRICS)] == [100, 200, 300]


@pytest.mark.parametrize("room", [0, 1, 7, 11, 12])
def test_a_line_is_added_whole_or_not_at_all(tmp_path: Path, room: int) -> None:
    path = tmp_path / "lines"
    append(path, "first\n")
    with disk_full_after(6 + room):
        if room < 12:
            with pytest.raises(OSError, match=r"No space left|too large"):
                append(path, "the second\n" + " ")
        else:
            append(path, "the second\n" + " ")
    assert path.read_text() == "first\n" + ("the second\n " if room == 12 else "")
