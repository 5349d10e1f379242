"""Single pictures: a user's own, read as a goal image; sheets of many, written to be looked at."""

import zlib
from pathlib import Path

import cv2
import numpy as np

from .errors import UserError, first_line
from .files import replacing

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
"""What files of these formats begin with."""
LEAST_TILE, BAR, GAP = 192, 22, 4
"""Pixels of a picture on a sheet, at least; of a line of text beneath it; between pictures."""


class PictureError(UserError):
    """A picture cannot be read or written."""


def read_picture(path: Path, size: int) -> np.ndarray:
    """A PNG or JPEG file as a square picture: its middle, made smaller.

    Grey becomes RGB, 16 bits become 8, what is transparent becomes white, and JPEGs are turned upright.

    Args:
        path: the file.
        size: width and height wanted, in pixels.

    Returns:
        ``(size, size, 3)`` uint8 RGB.

    Raises:
        PictureError: if there is no such file, or it is no picture, not whole, or smaller than wanted.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = "it is a folder" if path.is_dir() else error.strerror
        raise PictureError(f"cannot read the picture {path}: {reason}") from error
    picture = _decode(content, path)
    height, width = picture.shape[:2]
    side = min(height, width)
    if side < size:
        raise PictureError(
            f"the picture {path} is {width} x {height} pixels; at least {size} x {size} are needed"
        )
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)


def contact_sheet(pictures: np.ndarray, captions: list[list[str]]) -> np.ndarray:
    """Pictures in rows, in pixels large enough to see, each with its lines of text beneath it.

    Args:
        pictures: ``(n, size, size, 3)`` uint8.
        captions: n lists of lines.

    Returns:
        ``(height, width, 3)`` uint8.
    """
    columns = int(np.ceil(np.sqrt(len(pictures))))
    lines = max(map(len, captions))
    tiles = [_tile(picture, text, lines) for picture, text in zip(pictures, captions, strict=True)]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows)


def check_name(path: Path) -> None:
    """Refuse a name that no picture can be written to, before there is one.

    Raises:
        PictureError: if it does not end in ``.png``, or there is no folder for it.
    """
    if path.suffix != ".png":
        raise PictureError(f"cannot write the picture {path}: its name must end in .png")
    if not path.parent.is_dir():
        raise PictureError(f"cannot write the picture {path}: there is no folder {path.parent}")


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a ``(height, width, 3)`` uint8 RGB picture as PNG.

    Raises:
        PictureError: if the name ends otherwise or the file cannot be written.
    """
    check_name(path)
    _, encoded = cv2.imencode(".png", picture[..., ::-1])
    try:
        with replacing(path) as aside:
            aside.write_bytes(encoded.tobytes())
    except OSError as error:
        raise PictureError(f"cannot write the picture {path}: {error.strerror}") from error


def _tile(picture: np.ndarray, text: list[str], lines: int) -> np.ndarray:
    times = -(-LEAST_TILE // len(picture))
    large = picture.repeat(times, axis=0).repeat(times, axis=1)
    bar = np.full((BAR * lines, large.shape[1], 3), 255, np.uint8)
    for row, line in enumerate(text):
        place = (4, BAR * (row + 1) - 7)
        cv2.putText(bar, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
    tile = np.concatenate([large, bar])
    white = (255, 255, 255)
    return cv2.copyMakeBorder(tile, GAP, GAP, GAP, GAP, cv2.BORDER_CONSTANT, value=white)


def _decode(content: bytes, path: Path) -> np.ndarray:
    """The ``(height, width, 3)`` uint8 RGB pixels of a whole PNG or JPEG file."""
    if not content.startswith((PNG, JPEG)):
        raise PictureError(f"{path} is no picture in PNG or JPEG format")
    is_png = content.startswith(PNG)
    pixels = None
    # OpenCV notices too, but libpng then prints lines of its own.
    if not is_png or _whole_png(content):
        flags = cv2.IMREAD_UNCHANGED if is_png else cv2.IMREAD_COLOR
        try:
            # From memory: read from a file, a cut JPEG is filled up with grey, and nobody told.
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        except cv2.error as error:
            raise PictureError(f"cannot read the picture {path}: {first_line(error)}") from error
    if pixels is None:
        raise PictureError(f"the picture {path} is damaged, or not all of it is there")
    return _to_rgb(pixels)


def _to_rgb(pixels: np.ndarray) -> np.ndarray:
    """OpenCV's grey, BGR or BGRA pixels of 8 or 16 bits as RGB of 8, on white."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    colours = cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2RGB)
    if pixels.shape[2] == 3:
        return colours
    opacity = pixels[..., 3:].astype(np.float32) / 255.0
    return np.rint(colours * opacity + 255.0 * (1.0 - opacity)).astype(np.uint8)


def _whole_png(content: bytes) -> bool:
    """Whether every chunk up to the last, ``IEND``, is there and has its checksum."""
    at = len(PNG)
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        end = at + 8 + length
        if zlib.crc32(content[at + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            return False
        if content[at + 4 : at + 8] == b"IEND":
            return True
        at = end + 4
    return False
