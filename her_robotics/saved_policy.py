"""The policy that training leaves: its weights, and a card that says what it is and where it is from."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .agents import AGENTS, Policy
from .config import AgentConfig, EnvConfig
from .strict import from_mapping, shown, to_mapping
from .types import EpisodeShape
from .weights import CheckpointError, SealedFiles

WEIGHTS, CARD = "policy.safetensors", "policy.json"
FILES = SealedFiles("policy", WEIGHTS, CARD)


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
    without = (("choices", None), ("embedding", 0), ("sight", 0))
    known = {name: size for name, size in given.items() if (name, size) not in without}
    return EpisodeShape(**{name: _size(name, size) for name, size in known.items()})


def _size(name: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise CheckpointError(f"shape.{name} = {shown(value)} must be a whole number of at least 1")
    return value
