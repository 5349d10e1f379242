"""Encoders of pictures: from what a camera sees to the few numbers that a goal is to be."""

from .contrastive import Contrastive
from .encoder import PictureEncoder
from .frames import FrameBatch, Frames
from .keypoint import Keypoint
from .tracked import Tracked
from .vae import VAE

__all__ = [
    "ENCODERS",
    "VAE",
    "Contrastive",
    "FrameBatch",
    "Frames",
    "Keypoint",
    "PictureEncoder",
    "Tracked",
]

ENCODERS: dict[str, type[PictureEncoder]] = {
    "keypoint": Keypoint,
    "tracked": Tracked,
    "vae": VAE,
    "contrastive": Contrastive,
}
