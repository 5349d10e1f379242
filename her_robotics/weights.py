"""Networks on disk: weights in safetensors, and a JSON card that says what they are and seals them."""

import hashlib
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from .errors import UserError, first_line
from .files import read_bounded, replacing, write_text

LARGEST_CARD = 2**20
"""Bytes of a card that we read, far more than we write."""
LARGEST_HEADER = 2**20
"""Bytes that a file of weights may have beyond its numbers."""


class CheckpointError(UserError):
    """A checkpoint, or a file of weights, is missing, damaged or not ours."""


@dataclass(frozen=True)
class SealedFiles:
    """Two files that belong together in a folder.

    Attributes:
        kind: what they hold, in a word.
        weights: name of the tensors' file.
        card: name of the JSON file.
        format: version of both.
    """

    kind: str
    weights: str
    card: str
    format: int = 1

    def write(self, folder: Path, weights: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Write both, the card with the checksum of the weights.

        Raises:
            OSError: if they cannot be written.
        """
        tensors = {name: value.contiguous() for name, value in weights.items()}
        content = safetensors.torch.save(tensors)
        card = {"format": self.format, "sha256": hashlib.sha256(content).hexdigest(), **facts}
        with replacing(folder / self.weights) as aside:
            aside.write_bytes(content)
        write_text(folder / self.card, json.dumps(card, indent=2) + "\n")

    def read_card(self, folder: Path) -> dict[str, Any]:
        """The card.

        Raises:
            CheckpointError: if there is none, or it is none of ours.
        """
        path = folder / self.card
        try:
            content = read_bounded(path, LARGEST_CARD)
        except FileNotFoundError as error:
            where = "is it a run folder?" if folder.is_dir() else "there is no such folder"
            raise CheckpointError(f"{folder} holds no {self.card}: {where}") from error
        except OSError as error:
            raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
        try:
            card = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} is not valid JSON: {first_line(error)}") from error
        if not isinstance(card, dict) or card.get("format") != self.format:
            raise CheckpointError(f"{path} is not {self._article} card of format {self.format}")
        return card

    @contextmanager
    def describing(self, folder: Path) -> Generator[None]:
        """Around what builds a network from a card: nothing is allocated, however large it claims to be.

        Raises:
            CheckpointError: for whatever is wrong with the card.
        """
        try:
            with torch.device("meta"):
                yield
        except Exception as error:  # a card may be wrong in as many ways as JSON allows
            path, reason = folder / self.card, first_line(error)
            raise CheckpointError(f"{path} does not describe {self._article}: {reason}") from error

    def fill(self, module: nn.Module, folder: Path, card: dict[str, Any]) -> None:
        """Give a network that was built from ``card`` its weights.

        Raises:
            CheckpointError: if there are none, or they are not those of the card.
        """
        path, expected = folder / self.weights, dict(module.state_dict())
        try:
            most = sum(value.nbytes for value in expected.values()) + LARGEST_HEADER
            content = read_bounded(path, most)
            if hashlib.sha256(content).hexdigest() != card.get("sha256"):
                raise CheckpointError(
                    f"{path} is not the file whose checksum stands in {self.card}"
                )
            weights = safetensors.torch.load(content)
            module.load_state_dict(weights, assign=True)
        except FileNotFoundError as error:
            raise CheckpointError(f"{folder} holds no {self.weights}") from error
        except CheckpointError:
            raise
        except Exception as error:  # a header may be wrong in as many ways as JSON allows
            reason = first_line(error)
            raise CheckpointError(
                f"{path} is not the {self.kind} of {self.card}: {reason}"
            ) from error
        for name, value in weights.items():
            if value.dtype != expected[name].dtype or not value.isfinite().all():
                kind = f"{expected[name].dtype}".removeprefix("torch.")
                raise CheckpointError(f"{path}: {name} must hold finite numbers of type {kind}")

    @property
    def _article(self) -> str:
        return f"an {self.kind}" if self.kind[0] in "aeiou" else f"a {self.kind}"
