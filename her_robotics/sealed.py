"""Sealed files: a nested state of tensors and plain values behind its SHA-256, read without trust."""

import hashlib
import io
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from .errors import first_line
from .weights import CheckpointError

_DIGEST_SIZE = hashlib.sha256().digest_size


def write_sealed(path: Path, state: Any) -> None:
    """Write a state and have it on the disk; what reads it asks for the checksum at its end.

    Raises:
        OSError: if it cannot be written (torch says RuntimeError to some of these).
    """
    with path.open("wb") as file:
        torch.save(state, file)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    with path.open("ab") as file:
        file.write(digest)
        file.flush()
        os.fsync(file.fileno())


def read_sealed(path: Path) -> Any:
    """Read what ``write_sealed`` wrote; only tensors and plain values are accepted, never code.

    Raises:
        CheckpointError: if it is missing, damaged or holds anything else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path.parent} holds no {path.name} to resume from")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    body, digest = content[:-_DIGEST_SIZE], content[-_DIGEST_SIZE:]
    if hashlib.sha256(body).digest() != digest:
        raise CheckpointError(
            f"{path} is not a whole checkpoint: its checksum is not its content's"
        )
    try:
        _refuse_compressed(body)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(io.BytesIO(body), weights_only=True, map_location="cpu")
        _refuse_claims(state)
    except Exception as error:  # the unpickler refuses hostile content in many ways
        raise CheckpointError(f"{path} is not a checkpoint: {first_line(error)}") from error
    return state


def _refuse_claims(state: Any) -> None:
    """Refuse tensors of more numbers than their file holds: to touch one may take any memory.

    Raises:
        CheckpointError: if there is one.
    """
    seen: set[int] = set()
    left = [state]
    while left:
        value = left.pop()
        if isinstance(value, torch.Tensor) and value.nbytes > value.untyped_storage().nbytes():
            raise CheckpointError(f"a tensor claims {value.numel():,d} numbers that it has not")
        if isinstance(value, (dict, list, tuple)) and id(value) not in seen:
            seen.add(id(value))  # what is referred to often is looked at once
            left += value.values() if isinstance(value, dict) else value


def _refuse_compressed(body: bytes) -> None:
    """Refuse an archive of compressed parts: we write none, and a small one may unpack to any size.

    Raises:
        CheckpointError: if there is one.
        zipfile.BadZipFile: if it is no archive.
    """
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise CheckpointError("its parts are compressed, which ours never are")
