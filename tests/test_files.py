import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from her_robotics.files import replacing, write_text

from .runs import disk_full_after, names_in

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@settings(deadline=None, max_examples=40)
@given(first=TEXT, second=TEXT)
def test_a_text_is_read_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, first: str, second: str
) -> None:
    path = tmp_path_factory.mktemp("text") / "file.txt"
    for text in (first, second):
        write_text(path, text)
        assert path.read_bytes().decode("utf-8") == text.replace("\n", os.linesep)
    assert names_in(path.parent) == {"file.txt"}


def test_readers_meet_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with replacing(path) as aside:
        aside.write_text("half")
        assert path.read_text() == "old"
        aside.write_text("new and whole")
    assert path.read_text() == "new and whole"
    assert names_in(tmp_path) == {"file.txt"}


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
@pytest.mark.parametrize("existed", [True, False])
def test_a_failure_half_way_leaves_what_was_there(
    tmp_path: Path, failure: BaseException, existed: bool
) -> None:
    path = tmp_path / "file.txt"
    if existed:
        path.write_text("old")

    def write_half() -> None:
        with replacing(path) as aside:
            aside.write_text("half")
            raise failure

    with pytest.raises(type(failure)):
        write_half()
    assert names_in(tmp_path) == ({"file.txt"} if existed else set())
    assert not existed or path.read_text() == "old"


def test_a_full_disk_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with disk_full_after(10_000), pytest.raises(OSError, match="large"):
        write_text(path, "x" * 100_000)
    assert path.read_text() == "old"
    assert names_in(tmp_path) == {"file.txt"}


def test_a_file_takes_its_place_only_when_the_disk_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def refuse(descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk did not take it")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="did not take it"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert names_in(tmp_path) == {"file.txt"}


def test_writing_into_no_folder_fails_and_makes_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "missing" / "file.txt", "text")
    assert names_in(tmp_path) == set()
