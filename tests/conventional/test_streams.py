"""Streams: the pixels of the codec's own file, in fewer bytes; and nothing but clean errors."""

import io
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from invcomp.conventional import CODECS, decompress, read_header
from invcomp.conventional.streams import stripped
from invcomp.errors import BitstreamError, ImageError

from .images import drawn

OPTIONS: dict[str, dict[str, Any]] = {"avif": {"speed": 8}, "webp": {}, "jxl": {"effort": 3}}
# what a stream saves of a file: containers of 275, 20 and 0 bytes and what is constant in the
# codec's own headers, less the first byte, and the size where it is no part of what is left
SAVED = {"avif": range(285, 294), "webp": range(23, 25), "jxl": range(1, 2)}


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> str:
    if request.param == "jxl":
        pytest.importorskip("pillow_jxl")
    return str(request.param)


def file_of(image: Image.Image, codec: str, quality: int = 40) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, codec.upper(), quality=quality, **OPTIONS[codec])
    return buffer.getvalue()


def stream_of(codec: str, width: int = 60, height: int = 45) -> bytes:
    image = drawn(width, height)
    return stripped(file_of(image, codec), codec, image.size)


@pytest.mark.parametrize("size", [(64, 64), (37, 200), (301, 16), (1, 1), (5, 1), (1100, 700)])
@pytest.mark.parametrize("quality", [1, 60])
def test_a_stream_decodes_to_what_its_file_does(
    codec: str, size: tuple[int, int], quality: int
) -> None:
    image = drawn(*size)
    file = file_of(image, codec, quality)
    stream = stripped(file, codec, size)
    expected = Image.open(io.BytesIO(file)).convert("RGB")
    assert np.array_equal(np.asarray(decompress(stream)), np.asarray(expected))
    assert read_header(stream) == (codec, size)
    assert len(file) - len(stream) in SAVED[codec]


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_files_of_another_form_are_no_streams(mode: str) -> None:
    image = drawn(60, 45).convert(mode)
    image.putpixel((0, 0), (0, 0, 0, 0)[: len(image.getbands())])
    buffer = io.BytesIO()
    image.save(buffer, "AVIF", speed=8, subsampling="4:0:0")
    with pytest.raises(ImageError, match="another form"):
        stripped(buffer.getvalue(), "avif", image.size)
    with pytest.raises(ImageError, match="another form"):
        stripped(file_of(image.convert("RGB"), "avif"), "avif", (60, 44))
    lossless = io.BytesIO()
    image.save(lossless, "WEBP", lossless=True)
    with pytest.raises(ImageError, match="another form"):
        stripped(lossless.getvalue(), "webp", image.size)


def test_a_cut_or_grown_file_has_one_clean_error(codec: str) -> None:
    stream = stream_of(codec)
    for length in range(len(stream)):
        clean(stream[:length])
    clean(stream + bytes(100))


def test_2000_altered_streams_have_one_clean_error(codec: str) -> None:
    random, stream = np.random.default_rng(1), stream_of(codec)
    refused = 0
    for _ in range(2000):
        altered = bytearray(stream)
        for _ in range(random.integers(1, 6)):
            altered[random.integers(len(stream))] = random.integers(256)
        refused += clean(bytes(altered))
    assert refused > 100


@given(st.binary(max_size=80))
@settings(max_examples=300)
def test_random_bytes(stream: bytes) -> None:
    clean(stream)


def clean(stream: bytes) -> bool:
    """Whether a stream is refused, which must be by one line of text."""
    try:
        image = decompress(stream)
    except (BitstreamError, ImageError) as error:
        said = str(error)
        if isinstance(error, BitstreamError):
            return len(said.splitlines()) == 1
        return "pip install" in said  # a plug-in that is not here
    assert image.mode == "RGB"
    assert max(image.size) <= 4096
    return False


def test_the_claimed_size_is_checked_before_anything_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "open", lambda *a, **o: pytest.fail("decoded"))
    with monkeypatch.context() as patched:
        patched.setattr(Image, "MAX_IMAGE_PIXELS", 60 * 45 - 1)
        for codec in ("avif", "webp"):
            with pytest.raises(BitstreamError, match="60 x 45 pixels are more"):
                decompress(stream_of(codec))
    height, square = (1 << 30) - 1, 1
    huge = b"\x80" + (3 << 1 | height << 3 | square << 33).to_bytes(9, "little")  # JPEG XL
    with pytest.raises(BitstreamError, match="pixels are more"):
        decompress(huge)


def test_a_plug_in_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    with pytest.raises(ImageError, match="pip install pillow-jxl-plugin"):
        decompress(bytes.fromhex("80100800"))


@pytest.mark.parametrize("first", [0x41, 0x81, 0xC0, 0xFF])
def test_first_bytes_that_mean_nothing(first: int) -> None:
    with pytest.raises(BitstreamError, match="no known stream"):
        read_header(bytes([first]) + bytes(20))
    with pytest.raises(BitstreamError, match="no known stream"):
        read_header(b"")
