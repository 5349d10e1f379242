"""What outlives a process: the checkpoint that training resumes from, and the policy to act with."""

import hashlib
import io
import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError

from .agents import AGENTS, Policy
from .config import AgentConfig, EnvConfig
from .errors import UserError, first_line
from .files import replacing, write_text
from .strict import from_mapping, to_mapping
from .types import EpisodeShape

CHECKPOINT, WEIGHTS, CARD = "checkpoint.pt", "policy.safetensors", "policy.json"
_DIGEST_SIZE = hashlib.sha256().digest_size
FORMAT = 1
"""Version of the policy files."""


class CheckpointError(UserError):
    """A checkpoint or policy file is missing, damaged or not ours."""


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(io.BytesIO(body), weights_only=True)
    except Exception as error:  # the unpickler refuses hostile content in many ways
        raise CheckpointError(f"{path} is not a checkpoint: {first_line(error)}") from error
    if not isinstance(state, dict) or "progress" not in state:
        raise CheckpointError(f"{path} is not a checkpoint of this project")
    return state


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
    tensors = {name: value.contiguous() for name, value in weights.items()}
    content = safetensors.torch.save(tensors)
    card = {
        "format": FORMAT,
        "sha256": hashlib.sha256(content).hexdigest(),
        "shape": asdict(shape),
        "env": to_mapping(env),
        "agent": to_mapping(agent),
        **facts,
    }
    with replacing(folder / WEIGHTS) as aside:
        aside.write_bytes(content)
    write_text(folder / CARD, json.dumps(card, indent=2) + "\n")


def load_policy(folder: Path) -> SavedPolicy:
    """Read a policy from a run folder.

    Raises:
        CheckpointError: if a file is missing, truncated, foreign or does not fit the other.
    """
    card = _read_card(folder / CARD)
    try:
        shape = _read_shape(card["shape"])
        env, agent = from_mapping(EnvConfig, card["env"]), from_mapping(AgentConfig, card["agent"])
        # On the meta device nothing is allocated, however large a card claims the network to be.
        with torch.device("meta"):
            policy = AGENTS[agent.name].policy_type(shape, agent)
    except Exception as error:  # a card may be wrong in as many ways as JSON allows
        reason = first_line(error)
        raise CheckpointError(f"{folder / CARD} does not describe a policy: {reason}") from error
    path = folder / WEIGHTS
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != card.get("sha256"):
            raise CheckpointError(f"{path} is not the file whose checksum stands in {CARD}")
        policy.load_state_dict(safetensors.torch.load(content), assign=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} holds no {WEIGHTS}") from error
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = first_line(error)
        raise CheckpointError(f"{path} is not the policy of {CARD}: {reason}") from error
    return SavedPolicy(policy, shape, env, card)


def _read_shape(given: dict[str, Any]) -> EpisodeShape:
    # Continuous actions have no choices, and cards of before there were any do not name them.
    known = {name: size for name, size in given.items() if (name, size) != ("choices", None)}
    return EpisodeShape(**{name: _size(name, size) for name, size in known.items()})


def _size(name: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise CheckpointError(f"shape.{name} = {value!r} must be a whole number of at least 1")
    return value


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent} holds no {CARD}: is it a run folder?") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {first_line(error)}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a policy card of format {FORMAT}")
    return card
