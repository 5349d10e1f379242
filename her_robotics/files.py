"""Files that are whole or not there: written aside, then renamed."""

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A name to write to; on success it takes the place of ``path``, on failure it is removed.

    A reader, a full disk or a power cut meets the old file or the new one, never half of one.

    Raises:
        OSError: if it cannot be written.
    """
    if not path.name or path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", str(path))
    aside = path.with_name(f".{path.name}.partial")
    try:
        yield aside
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def read_bounded(path: Path, most: int) -> bytes:
    """A file's content, if it is a file and not larger than anything we would write there.

    Raises:
        FileNotFoundError: if there is none.
        OSError: if it is larger than ``most`` bytes, no regular file (which might never end), or
            cannot be read.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"is larger than the {most:,d} bytes it may have", str(path))
    return content


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def append(path: Path, text: str) -> None:
    """Add to a text file, and have it on the disk; where that fails the file stays as it was.

    Raises:
        OSError: if it cannot be written.
    """
    append_bytes(path, text.encode("utf-8"))


def append_bytes(path: Path, content: bytes, end: int | None = None) -> None:
    """Add to a file, and have it on the disk; where that fails the file stays as it was.

    Args:
        path: the file, made if there is none.
        content: what to add.
        end: bytes of the file to add it behind: what lies there, left by a write that was cut short,
            goes. None adds behind them all.

    Raises:
        OSError: if it cannot be written, or the file is shorter than ``end``.
    """
    with path.open("ab", buffering=0) as file:
        if end is not None:
            if file.tell() < end:
                raise OSError(errno.EIO, "has lost its end", str(path))
            file.truncate(end)
        before = file.seek(0, os.SEEK_END)
        try:
            # A disk that fills up takes a part and does not say so.
            if file.write(content) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise
