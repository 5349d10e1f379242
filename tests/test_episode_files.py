"""The last two checkpoints of a run, and the episodes that they need."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from her_robotics import checkpoint, episode_files
from her_robotics.checkpoint import CHECKPOINT, EPISODES, PREVIOUS, CheckpointError, Checkpoints
from her_robotics.relabel import STRATEGIES
from her_robotics.replay import Replay
from her_robotics.types import EpisodeShape

from .helpers import random_episodes, sparse_reward
from .runs import disk_full_after, same

SHAPE = EpisodeShape(horizon=3, observation=4, goal=2, action=2)
SIZE = 4 * SHAPE.floats
ROOM = 7
"""Episodes in the ring."""


@pytest.fixture(autouse=True)
def _short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episode_files, "LARGEST", 3 * SIZE)


class Run:
    """A replay that is filled and saved, and what it was like at each of its checkpoints."""

    def __init__(self, folder: Path, checkpoints: Checkpoints | None = None) -> None:
        self.folder, self.checkpoints = folder, checkpoints or Checkpoints(folder)
        self.replay = Replay(SHAPE, ROOM * 3, STRATEGIES["future"], 4.0, sparse_reward, seed=0)
        self.saved: list[dict[str, Any]] = []

    def add(self, count: int) -> None:
        for start in range(0, count, ROOM):
            number = min(ROOM, count - start)
            self.replay.add(random_episodes(SHAPE, number, seed=self.replay.added))

    def state(self) -> dict[str, Any]:
        """A copy: what the replay gives changes with it."""
        replay = {
            name: value.clone() if isinstance(value, torch.Tensor) else value
            for name, value in self.replay.state_dict().items()
        }
        return {"progress": {"steps": self.replay.added}, "guide": {"replay": replay}}

    def save(self) -> int:
        written = self.checkpoints.save(self.state())
        self.saved.append(self.state())
        return written


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def segments(folder: Path) -> list[Path]:
    return sorted((folder / EPISODES).rglob("*.episodes"))


def warned(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was printed."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


@settings(deadline=None, max_examples=40)
@given(
    story=st.lists(st.integers(0, 2 * ROOM + 1), min_size=1, max_size=8),
    resumed=st.booleans(),
    ahead=st.integers(0, 3),
)
def test_of_any_story_the_last_two_checkpoints_can_be_read_and_no_more_is_kept(
    tmp_path_factory: pytest.TempPathFactory, story: list[int], resumed: bool, ahead: int
) -> None:
    run = Run(tmp_path_factory.mktemp("run"))
    for count in story:
        run.add(count)
        for _ in range(ahead):
            run.checkpoints.write_ahead(run.state())
        run.save()
        if resumed:
            run.checkpoints = Checkpoints(run.folder)
            assert same(run.checkpoints.load(), run.saved[-1])
        assert same(Checkpoints(run.folder).load(), run.saved[-1])
        # What the checkpoint before needs is at most a ring's worth, and the ends of two segments.
        needed = sum(path.stat().st_size for path in segments(run.folder))
        assert needed <= (2 * ROOM + 4) * SIZE
    (run.folder / CHECKPOINT).unlink()
    if len(story) > 1:
        assert same(Checkpoints(run.folder).load(), run.saved[-2])


def test_a_checkpoint_costs_what_is_new_in_it(run: Run) -> None:
    run.add(ROOM)
    first = run.save()
    run.add(1)
    assert first - run.save() == (ROOM - 1) * SIZE
    without = run.save()
    assert without == (run.folder / CHECKPOINT).stat().st_size
    assert without - first == -ROOM * SIZE


def test_of_many_new_episodes_a_segment_is_written_at_a_time_and_a_checkpoint_has_no_more_to_write(
    run: Run,
) -> None:
    run.add(ROOM)
    told, sizes = [], []
    for _ in range(3):
        told.append(run.checkpoints.write_ahead(run.state()))
        sizes.append(sum(path.stat().st_size for path in segments(run.folder)))
    assert told == [False, True, True]
    assert sizes == [3 * SIZE, 6 * SIZE, 6 * SIZE]
    assert run.save() == SIZE + (run.folder / CHECKPOINT).stat().st_size
    # What was written ahead is overwritten in the ring before a checkpoint has asked for it.
    for _ in range(3):
        run.add(ROOM)
        run.checkpoints.write_ahead(run.state())
    assert same(Checkpoints(run.folder).load(), run.saved[-1])
    run.save()
    assert same(Checkpoints(run.folder).load(), run.saved[-1])
    assert sum(path.stat().st_size for path in segments(run.folder)) <= (2 * ROOM + 4) * SIZE


@pytest.mark.parametrize("which", ["checkpoint", "segment"])
@pytest.mark.parametrize("how", ["cut", "flip", "gone"])
def test_where_the_newest_is_damaged_the_one_before_serves_and_is_not_lost(
    which: str, how: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        run.add(3)  # a segment each
        run.save()
    path = run.folder / CHECKPOINT if which == "checkpoint" else segments(run.folder)[-1]
    content = path.read_bytes()
    middle = len(content) // 2
    if how == "gone":
        path.unlink()
    else:
        flipped = content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]
        path.write_bytes(content[:middle] if how == "cut" else flipped)
    resumed = Run(run.folder)
    assert same(resumed.checkpoints.load(), run.saved[0])
    line = warned(capsys)
    assert line.startswith("warning: ")
    assert path.name in line
    assert line.endswith(f"{PREVIOUS} serves instead")
    # Going on replaces the damaged one, and keeps the one that served.
    resumed.replay.load_state_dict(run.saved[0]["guide"]["replay"])
    resumed.add(2)
    resumed.save()
    assert same(Checkpoints(run.folder).load(), resumed.saved[0])
    (run.folder / CHECKPOINT).unlink()
    assert same(Checkpoints(run.folder).load(), run.saved[0])


def test_where_both_are_damaged_both_are_named_in_one_line(run: Run) -> None:
    for _ in range(2):
        run.save()
    (run.folder / CHECKPOINT).write_bytes(b"")
    (run.folder / PREVIOUS).write_bytes(b"")
    with pytest.raises(CheckpointError) as caught:
        Checkpoints(run.folder).load()
    (line,) = str(caught.value).splitlines()
    assert CHECKPOINT in line
    assert PREVIOUS in line


def test_killed_at_any_moment_a_checkpoint_leaves_itself_or_the_last_one(
    run: Run, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments: list[Path] = []
    place = tmp_path_factory.mktemp("moments")

    def before(call: Callable[..., Any]) -> Callable[..., Any]:
        def look(*arguments: Any, **options: Any) -> Any:
            moments.append(place / f"{len(moments)}")
            shutil.copytree(run.folder, moments[-1])
            return call(*arguments, **options)

        return look

    run.add(4)
    run.save()
    run.add(ROOM)
    run.save()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", before(os.fsync))
        patch.setattr(os, "replace", before(os.replace))
        patch.setattr(Path, "unlink", before(Path.unlink))
        patch.setattr(checkpoint, "write_sealed", before(checkpoint.write_sealed))
        run.add(5)
        run.save()
    assert len(moments) > 6
    left = [Checkpoints(moment).load() for moment in moments]
    assert all(same(each, run.saved[1]) or same(each, run.saved[2]) for each in left)
    assert same(left[0], run.saved[1])
    assert same(left[-1], run.saved[2])


def test_what_was_torn_off_behind_a_checkpoint_is_no_concern_of_it_nor_of_the_next(
    run: Run,
) -> None:
    run.add(2)
    run.save()
    with segments(run.folder)[-1].open("ab") as file:
        file.write(b"half an epi")
    assert same(Checkpoints(run.folder).load(), run.saved[-1])
    run.add(1)
    run.save()
    assert len(segments(run.folder)) == 1
    assert same(Checkpoints(run.folder).load(), run.saved[-1])


@pytest.mark.parametrize("room", [0, SIZE // 2, SIZE + 9, 3 * SIZE - 1])
def test_a_disk_that_fills_up_under_the_episodes_leaves_the_last_and_is_made_up_for(
    room: int, run: Run
) -> None:
    run.add(1)
    run.save()
    run.add(5)
    with disk_full_after(room), pytest.raises(OSError, match=r"No space left|too large"):
        run.save()
    assert same(Checkpoints(run.folder).load(), run.saved[0])
    run.save()
    assert same(Checkpoints(run.folder).load(), run.saved[1])


@pytest.mark.parametrize("name", [EPISODES, f"{EPISODES}/guide.replay"])
def test_episodes_of_another_run_are_not_taken_for_its_own(
    name: str, run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run.add(2)
    run.save()
    other = tmp_path_factory.mktemp("other") / "run"
    shutil.copytree(run.folder, other)
    shutil.rmtree(other / name)
    (other / name).symlink_to(run.folder / name)
    with pytest.raises(CheckpointError, match="leads elsewhere"):
        Checkpoints(other).load()
    with pytest.raises(OSError, match="leads elsewhere"):
        Run(other).save()
    assert same(Checkpoints(run.folder).load(), run.saved[0])


def named(run: Run) -> tuple[episode_files.EpisodeFiles, dict[str, Any]]:
    files = episode_files.EpisodeFiles(run.folder)
    state = run.replay.state_dict()
    parts = {name: value.numpy() for name, value in state.items() if torch.is_tensor(value)}
    return files, files.write(run.replay.added, parts)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stored": 10**12}, "do not hold the last"),
        ({"stored": -1}, "counted by -1"),
        ({"stored": 8}, "do not hold the last"),
        ({"segments": []}, "do not hold the last 5 of 5"),
        ({"segments": [(1, 0, 5, "x")]}, "cut short"),
        ({"segments": [(1, 0, 3, "x"), (2, 3, 2, "x")]}, "damaged"),
        ({"segments": [(1, 0, 3, "x"), (2, 2, 3, "x")]}, "do not follow one another"),
        ({"segments": [("../1", 0, 5, "x")]}, "counted by '../1'"),
        ({"parts": {"a": ("object", (1,))}}, "of kind object"),
        ({"parts": {"a": ("uint8", (10**12,))}}, "cut short"),
        ({"parts": {}}, "no parts"),
    ],
)
def test_what_names_no_episodes_is_refused_before_room_is_made_for_it(
    change: dict[str, Any], said: str, run: Run
) -> None:
    run.add(5)
    files, names = named(run)
    assert len(files.read(5, names)["action"]) == 5
    with pytest.raises(ValueError, match=said):
        files.read(5, {**names, **change})


def test_episodes_of_any_numbers_come_back(tmp_path: Path) -> None:
    episodes = {
        "pictures": np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3),
        "states": np.arange(5 * 2, dtype=np.float64).reshape(5, 2),
    }
    files = episode_files.EpisodeFiles(tmp_path)
    names = files.write(12, episodes)
    read = episode_files.EpisodeFiles(tmp_path).read(12, names)
    assert [part.dtype for part in read.values()] == [np.uint8, np.float64]
    assert all(np.array_equal(read[name], episodes[name]) for name in episodes)
