"""What outlives a process: the checkpoint that training resumes from, and the policy to act with."""

import json
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError

from .agents import Policy
from .config import AgentConfig, EnvConfig
from .errors import UserError
from .files import replacing, write_text
from .replay import EpisodeShape
from .strict import ConfigError, from_mapping, to_mapping

CHECKPOINT, WEIGHTS, CARD = "checkpoint.pt", "policy.safetensors", "policy.json"
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
    """Write ``checkpoint.pt``; until it is whole on disk the previous one stays.

    Raises:
        OSError: if it cannot be written.
    """
    with replacing(folder / CHECKPOINT) as aside, aside.open("wb") as file:
        torch.save(state, file)


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read ``checkpoint.pt``; only tensors and plain values are accepted, never code.

    Raises:
        CheckpointError: if it is missing, damaged or holds anything else.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no {CHECKPOINT} to resume from")
    try:
        state = torch.load(path, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a whole checkpoint: {_first_line(error)}") from error
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
    """Write ``policy.safetensors`` and ``policy.json``: all that is needed to act, and where it is from."""
    with replacing(folder / WEIGHTS) as aside:
        tensors = {name: value.contiguous() for name, value in weights.items()}
        safetensors.torch.save_file(tensors, aside)
    card = {
        "format": FORMAT,
        "shape": asdict(shape),
        "env": to_mapping(env),
        "agent": to_mapping(agent),
        **facts,
    }
    write_text(folder / CARD, json.dumps(card, indent=2) + "\n")


def load_policy(folder: Path) -> SavedPolicy:
    """Read a policy from a run folder.

    Raises:
        CheckpointError: if a file is missing, truncated, foreign or does not fit the other.
    """
    card = _read_card(folder / CARD)
    try:
        shape = EpisodeShape(**{name: int(size) for name, size in card["shape"].items()})
        env = from_mapping(EnvConfig, card["env"])
        policy = Policy(shape, from_mapping(AgentConfig, card["agent"]))
    except (KeyError, AttributeError, TypeError, ValueError, RuntimeError, ConfigError) as error:
        raise CheckpointError(f"{folder / CARD} does not describe a policy: {error}") from error
    path = folder / WEIGHTS
    try:
        weights = safetensors.torch.load_file(path)
        policy.load_state_dict(weights)
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} holds no {WEIGHTS}") from error
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = _first_line(error)
        raise CheckpointError(f"{path} is not the policy of {CARD}: {reason}") from error
    return SavedPolicy(policy, shape, env, card)


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent} holds no {CARD}: is it a run folder?") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {_first_line(error)}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a policy card of format {FORMAT}")
    return card


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
