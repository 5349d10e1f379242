"""What outlives a process: the checkpoint that training resumes from, and the policy to act with."""

import hashlib
import io
import warnings
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .agents import AGENTS, Policy
from .config import AgentConfig, EnvConfig
from .errors import first_line
from .files import replacing
from .strict import from_mapping, shown, to_mapping
from .types import EpisodeShape
from .weights import CheckpointError, SealedFiles

CHECKPOINT, WEIGHTS, CARD = "checkpoint.pt", "policy.safetensors", "policy.json"
FILES = SealedFiles("policy", WEIGHTS, CARD)
_DIGEST_SIZE = hashlib.sha256().digest_size


class SavedPolicy(NamedTuple):
    """A policy read from disk.

    Attributes:
        policy: ready to act.
        shape: sizes of its episodes.
        env: the task it was trained on.
        card: all of ``policy.json``.
    """

    policy: Policy
    shape: EpisodeShape
    env: EnvConfig
    card: dict[str, Any]


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write ``checkpoint.pt``, sealed by its SHA-256; until it is whole the previous one stays.

    Raises:
        OSError: if it cannot be written.
    """
    with replacing(folder / CHECKPOINT) as aside:
        with aside.open("wb") as file:
            torch.save(state, file)
        with aside.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        with aside.open("ab") as file:
            file.write(digest)


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read ``checkpoint.pt``; only tensors and plain values are accepted, never code.

    Raises:
        CheckpointError: if it is missing, damaged or holds anything else.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no {CHECKPOINT} to resume from")
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
            state = torch.load(io.BytesIO(body), weights_only=True)
        _refuse_claims(state)
    except Exception as error:  # the unpickler refuses hostile content in many ways
        raise CheckpointError(f"{path} is not a checkpoint: {first_line(error)}") from error
    if not isinstance(state, dict) or "progress" not in state:
        raise CheckpointError(f"{path} is not a checkpoint of this project")
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


def save_policy(
    folder: Path,
    weights: dict[str, torch.Tensor],
    shape: EpisodeShape,
    env: EnvConfig,
    agent: AgentConfig,
    facts: dict[str, Any],
) -> None:
    """Write ``policy.safetensors`` and ``policy.json``: all that is needed to act, and its origin.

    Raises:
        OSError: if they cannot be written.
    """
    described = {"shape": asdict(shape), "env": to_mapping(env), "agent": to_mapping(agent)}
    FILES.write(folder, weights, {**described, **facts})


def load_policy(folder: Path) -> SavedPolicy:
    """Read a policy from a run folder.

    Raises:
        CheckpointError: if a file is missing, truncated, foreign or does not fit the other.
    """
    card = FILES.read_card(folder)
    with FILES.describing(folder):
        shape = _read_shape(card["shape"])
        env, agent = from_mapping(EnvConfig, card["env"]), from_mapping(AgentConfig, card["agent"])
        policy = AGENTS[agent.name].policy_type(shape, agent)
    FILES.fill(policy, folder, card)
    return SavedPolicy(policy, shape, env, card)


def _read_shape(given: dict[str, Any]) -> EpisodeShape:
    # What a shape does without, and what cards of before there was such a thing do not name.
    without = (("choices", None), ("embedding", 0))
    known = {name: size for name, size in given.items() if (name, size) not in without}
    return EpisodeShape(**{name: _size(name, size) for name, size in known.items()})


def _size(name: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise CheckpointError(f"shape.{name} = {shown(value)} must be a whole number of at least 1")
    return value
