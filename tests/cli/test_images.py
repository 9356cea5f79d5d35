"""Writing images: every failure names the file in one line."""

from pathlib import Path

import pytest
from PIL import Image

from invcomp.cli.images import write_image
from invcomp.errors import OutputError


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
