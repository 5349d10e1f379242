import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from her_robotics.pictures import (
    PictureError,
    check_name,
    contact_sheet,
    read_picture,
    write_picture,
)

RED, GREEN, BLUE = (220, 30, 40), (20, 200, 60), (40, 60, 210)


def stripes(height: int, width: int) -> np.ndarray:
    """Three upright stripes: red, green and blue, ``(height, width, 3)``."""
    picture = np.empty((height, width, 3), np.uint8)
    for index, colour in enumerate((RED, GREEN, BLUE)):
        picture[:, index * width // 3 : (index + 1) * width // 3] = colour
    return picture


def save(path: Path, picture: np.ndarray, *options: int) -> Path:
    """Write RGB or RGBA as OpenCV wants it; anything else as it is."""
    channels = picture.shape[2] if picture.ndim == 3 else 1
    codes = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    given = cv2.cvtColor(picture, codes[channels]) if channels in codes else picture
    assert cv2.imwrite(str(path), given, list(options))
    return path


@pytest.mark.parametrize("name", ["own.png", "own.jpg", "own.jpeg", "named.wrongly"])
@pytest.mark.parametrize("shape", [(90, 90), (90, 300), (300, 90)])
def test_the_middle_is_kept_and_made_smaller(
    name: str, shape: tuple[int, int], tmp_path: Path
) -> None:
    kind = name if "." in name and not name.endswith("wrongly") else "own.png"
    path = save(tmp_path / kind, stripes(*shape)).rename(tmp_path / name)
    picture = read_picture(path, 30)
    assert picture.shape == (30, 30, 3)
    assert picture.dtype == np.uint8
    colours = {(90, 90): (RED, GREEN, BLUE), (90, 300): (GREEN,) * 3, (300, 90): (RED, GREEN, BLUE)}
    for column, colour in zip((4, 15, 26), colours[shape], strict=True):
        np.testing.assert_allclose(picture[15, column], colour, atol=6)


def test_a_picture_written_is_the_one_read(tmp_path: Path) -> None:
    written = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    write_picture(tmp_path / "one.png", written)
    np.testing.assert_array_equal(read_picture(tmp_path / "one.png", 24), written)


def test_grey_is_grey_in_every_colour(tmp_path: Path) -> None:
    grey = np.full((40, 40), 77, np.uint8)
    for name in ("grey.png", "grey.jpg"):
        np.testing.assert_allclose(read_picture(save(tmp_path / name, grey), 20), 77, atol=1)
    deep = save(tmp_path / "deep.png", np.full((40, 40), 77 << 8, np.uint16))
    np.testing.assert_array_equal(read_picture(deep, 20), np.full((20, 20, 3), 77))


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    picture = np.dstack([stripes(40, 60), np.full((40, 60), 255, np.uint8)])
    picture[:20, :, 3], picture[20:30, :, 3] = 0, 128
    read = read_picture(save(tmp_path / "alpha.png", picture), 40)
    np.testing.assert_array_equal(read[:19], 255)
    np.testing.assert_allclose(read[25, 20], (np.array(GREEN) + 255) / 2, atol=2)
    np.testing.assert_array_equal(read[35, 20], GREEN)


def test_a_jpeg_is_turned_upright(tmp_path: Path) -> None:
    content = save(tmp_path / "flat.jpg", stripes(60, 60)).read_bytes()
    # An APP1 segment that says: the camera was turned by a quarter.
    entry = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"
    exif = b"Exif\0\0MM\0*\x00\x00\x00\x08\x00\x01" + entry + b"\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    turned = tmp_path / "turned.jpg"
    turned.write_bytes(content[:2] + segment + content[2:])
    read = read_picture(turned, 30)
    np.testing.assert_allclose(read[3, 15], RED, atol=8)
    np.testing.assert_allclose(read[27, 15], BLUE, atol=8)


@pytest.mark.parametrize("progressive", [0, 1])
def test_a_whole_jpeg_is_read_whatever_follows_it(progressive: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    options = (cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_RST_INTERVAL, 2)
    path = save(tmp_path / "noise.jpg", noise, *options)
    expected = read_picture(path, 64)
    path.write_bytes(path.read_bytes() + b"a phone's own notes")
    np.testing.assert_array_equal(read_picture(path, 64), expected)


@pytest.mark.parametrize("name", ["cut.png", "cut.jpg"])
def test_a_picture_cut_anywhere_is_refused_in_silence(name: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = save(tmp_path / name, noise)
    content = path.read_bytes()
    ends = [*range(12, len(content) - 1, len(content) // 40), len(content) - 1]
    for end in ends:
        path.write_bytes(content[:end])
        with pytest.raises(PictureError, match=f"{name} is damaged, or not all of it is there"):
            read_picture(path, 8)


def test_a_flipped_bit_in_a_png_is_found(tmp_path: Path) -> None:
    path = save(tmp_path / "flip.png", stripes(64, 64))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(PictureError, match="damaged"):
        read_picture(path, 8)


def test_what_is_no_picture_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    save(tmp_path / "small.png", stripes(20, 60))
    for name, expected in {
        "missing.png": "No such file",
        ".": "it is a folder",
        "text.png": "no picture in PNG or JPEG format",
        "empty.png": "no picture in PNG or JPEG format",
        "small.png": "is 60 x 20 pixels; at least 32 x 32 are needed",
    }.items():
        with pytest.raises(PictureError, match=expected) as error:
            read_picture(tmp_path / name, 32)
        assert str(tmp_path / name) in str(error.value)
        assert "\n" not in str(error.value)


def test_a_picture_that_cannot_be_written_is_known_before_it_is_made(tmp_path: Path) -> None:
    for name, expected in {
        "sheet.gif": "must end in .png",
        "no/sheet.png": "there is no folder",
    }.items():
        with pytest.raises(PictureError, match=expected):
            check_name(tmp_path / name)
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(PictureError, match="cannot write the picture"):
        write_picture(tmp_path / "taken.png", stripes(8, 9))


def test_a_sheet_shows_every_picture_and_its_text() -> None:
    pictures = np.stack(
        [np.full((16, 16, 3), shade, np.uint8) for shade in (10, 60, 110, 160, 210)]
    )
    sheet = contact_sheet(pictures, [["one", "two"]] * 5)
    for shade in (10, 60, 110, 160, 210):
        assert (sheet == shade).all(axis=2).sum() >= 192 * 192
    assert sheet.dtype == np.uint8
    bare = contact_sheet(pictures, [["", ""]] * 5)
    assert bare.shape == sheet.shape
    assert (bare != sheet).any()


def test_nothing_is_printed_by_decoders(tmp_path: Path) -> None:
    content = save(tmp_path / "bad.png", stripes(64, 64)).read_bytes()
    (tmp_path / "bad.png").write_bytes(content[:-20])
    program = (
        "from pathlib import Path; from her_robotics.pictures import *\n"
        "try: read_picture(Path('bad.png'), 8)\nexcept PictureError: print('told')"
    )
    root = Path(__file__).resolve().parents[1]
    outcome = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (outcome.stdout, outcome.stderr) == ("told\n", "")
