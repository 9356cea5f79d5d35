"""Reading images and writing images: every failure names the file in one line."""

import struct
from pathlib import Path

import pytest
from PIL import Image

from invcomp.cli.images import read_image, readable_suffixes, write_image
from invcomp.errors import ImageError, OutputError


def test_what_can_be_read_by_suffix() -> None:
    assert {".jpg", ".png", ".webp", ".avif"} <= readable_suffixes()
    assert ".pdf" not in readable_suffixes()  # Pillow writes it and does not read it


def test_a_image_comes_upright_in_rgb(tmp_path: Path) -> None:
    image = Image.new("L", (30, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by 90 degrees
    image.save(tmp_path / "a.jpg", exif=exif)
    turned = read_image(tmp_path / "a.jpg")
    assert (turned.mode, turned.size) == ("RGB", (20, 30))


def broken_files(folder: Path) -> dict[str, Path]:
    noise = Image.effect_noise((64, 64), 80).convert("RGB")
    noise.save(folder / "whole.png")
    data = (folder / "whole.png").read_bytes()
    sides = (2**30, 2**30)
    bitmap = struct.pack("<IHHIIiiHH", 54, 0, 0, 54, 40, *sides, 1, 24)
    contents = {
        "text.png": b"no image at all",
        "empty.jpg": b"",
        "cut.png": data[: len(data) // 2],
        "header.png": data[:20],
        "wide.bmp": b"BM" + bitmap + bytes(24),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder.png").mkdir()
    return {path.name: path for path in folder.iterdir() if path.name != "whole.png"}


@pytest.mark.parametrize(
    "name", ["text.png", "empty.jpg", "cut.png", "header.png", "wide.bmp", "folder.png"]
)
def test_a_file_that_is_no_whole_image(tmp_path: Path, name: str) -> None:
    path = broken_files(tmp_path)[name]
    with pytest.raises(ImageError, match=name):
        read_image(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no\.png: cannot be read: No such file"):
        read_image(tmp_path / "no.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff", ".AVIF"])
def test_images_are_written_in_the_format_of_the_suffix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(Image.new("RGB", (40, 30), "red"), path, force=False)
    with Image.open(path) as image:
        assert image.size == (40, 30)
        red, green, blue = image.convert("RGB").getpixel((20, 15))
        assert red > 245 and green < 10 and blue < 10  # noqa: PT018
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.xbm"])
def test_formats_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=name):
        write_image(Image.new("RGB", (40, 30)), tmp_path / name, force=False)
    assert list(tmp_path.iterdir()) == []
