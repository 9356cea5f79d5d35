"""The best stream within some bytes."""

import numpy as np
import pytest
from PIL import Image

from invcomp.conventional import CODECS, compress, decompress, read_header
from invcomp.conventional.search import _sides
from invcomp.conventional.similarity import Comparison
from invcomp.errors import GoalError, OptionError

from .images import drawn


@pytest.mark.parametrize("codec", CODECS)
def test_more_bytes_make_a_better_image(codec: str) -> None:
    if codec == "jxl":
        pytest.importorskip("pillow_jxl")
    image = drawn(300, 200)
    comparison, found = Comparison(image), []
    for limit in (180, 400, 1200):
        stream = compress(image, codec, limit)
        assert 0.8 * limit < len(stream) <= limit
        found.append(comparison.similarity(decompress(stream)))
    assert found == sorted(found)
    assert found[0] > 0.7
    assert found[-1] > 0.97


def test_the_size_fits_the_bytes() -> None:
    image = drawn(600, 300)
    widths = [read_header(compress(image, "webp", limit)).size[0] for limit in (120, 2000)]
    assert 16 <= widths[0] < widths[1] <= 600


@pytest.mark.parametrize("around", [0, 19])
def test_too_few_bytes_say_how_many_it_takes(around: int) -> None:
    image = drawn(90, 60)
    with pytest.raises(GoalError, match=r"20 bytes: WebP needs at least \d+ here") as caught:
        compress(image, "webp", 20, around)
    least = int(str(caught.value).split()[-2])
    assert len(compress(image, "webp", least, around)) <= least - around
    with pytest.raises(GoalError, match=f"at least {least} here"):
        compress(image, "webp", least - 1, around)


def test_odd_images() -> None:
    for size in ((1, 1), (3000, 2), (17, 16)):
        stream = compress(drawn(*size), "webp", 300)
        assert max(read_header(stream).size) <= 2048
    assert read_header(compress(drawn(1, 1), "avif", 300)).size == (1, 1)
    grey = Image.new("L", (40, 40), 99)
    assert np.abs(np.asarray(decompress(compress(grey, "avif", 300)), int) - 99).max() < 4


def test_sides() -> None:
    assert _sides(5) == [5]
    assert _sides(64) == [16, 24, 32, 48, 64]
    assert _sides(2048)[-2:] == [1536, 2048]
    assert _sides(9000)[-1] == 2048


def test_another_codec() -> None:
    with pytest.raises(OptionError, match="no codec gif: avif, webp, jxl"):
        compress(drawn(9, 9), "gif", 1000)
