"""Encoders on disk: their weights, and a card that says what they are."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError
from ..weights import SealedFiles
from . import ENCODERS
from .encoder import PictureEncoder

WEIGHTS, CARD, SHEET = "encoder.safetensors", "encoder.json", "encoder.png"
FILES = SealedFiles("encoder", WEIGHTS, CARD)
OBSERVER_FILES = SealedFiles("encoder", "observer.safetensors", "observer.json")
"""Those in a run's folder that observations are seen through."""


class SavedEncoder(NamedTuple):
    """An encoder read from disk.

    Attributes:
        encoder: ready to embed.
        task: the task whose pictures it learnt from.
        camera: the camera that took them.
        card: all of ``encoder.json``.
    """

    encoder: PictureEncoder
    task: str
    camera: str
    card: dict[str, Any]


def save_encoder(folder: Path, encoder: PictureEncoder, facts: dict[str, Any]) -> None:
    """Write ``encoder.safetensors`` and ``encoder.json``.

    Args:
        folder: where to.
        encoder: what to save.
        facts: for the card, among them its ``task`` and ``camera``.

    Raises:
        OSError: if they cannot be written.
    """
    kind = next(name for name, known in ENCODERS.items() if type(encoder) is known)
    sizes = {"size": encoder.size, "goal": encoder.goal, "embedding": encoder.embedding}
    described = {"kind": kind, "supervised": encoder.supervised, **sizes}
    FILES.write(folder, encoder.state_dict(), {**described, **facts})


def load_encoder(folder: Path, files: SealedFiles = FILES) -> SavedEncoder:
    """Read an encoder from its folder, or from that of a policy that was trained with it.

    Args:
        folder: where it is.
        files: their names.

    Raises:
        CheckpointError: if a file is missing, truncated, foreign or does not fit the other.
    """
    card = files.read_card(folder)
    with files.describing(folder):
        kind, task, camera = (_text(card, name) for name in ("kind", "task", "camera"))
        if kind not in ENCODERS:
            raise UserError(f"unknown encoder {kind!r}: choose one of {', '.join(ENCODERS)}")
        encoder = ENCODERS[kind](card["size"], card["goal"], card["embedding"])
    files.fill(encoder, folder, card)
    return SavedEncoder(encoder.requires_grad_(False).eval(), task, camera, card)


def copy_encoder(source: Path, folder: Path, files: SealedFiles = FILES) -> None:
    """Put an encoder into a run's folder, as ``files``, which then holds all that its policy needs."""
    shutil.copyfile(source / WEIGHTS, folder / files.weights)
    shutil.copyfile(source / CARD, folder / files.card)


def encoder_checksums(folder: Path) -> dict[str, str]:
    """By the name of their card, the SHA-256 of the weights of each encoder in a run's folder.

    It is what the card says: whoever reads the weights holds them to it.

    Raises:
        CheckpointError: if a card is none of ours.
    """
    held = [files for files in (FILES, OBSERVER_FILES) if (folder / files.card).exists()]
    return {files.card: str(files.read_card(folder).get("sha256")) for files in held}


def _text(card: dict[str, Any], name: str) -> str:
    if not isinstance(card[name], str):
        raise UserError(f"{name} = {card[name]!r} must be a word")
    return card[name]
