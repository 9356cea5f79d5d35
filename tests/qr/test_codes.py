"""QR codes hold files byte for byte, and are read from photos of them."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from invcomp.errors import ImageError, OptionError

for module in ("segno", "zxingcpp"):
    pytest.importorskip(module, reason="needs the extra qr")

from invcomp.qr import LEVELS, Code, capacity, make_code, read_code  # noqa: E402
from invcomp.qr.base45 import from_base45, to_base45  # noqa: E402


def a_file(size: int, seed: int = 0) -> bytes:
    return b"\xc9V" + np.random.default_rng(seed).bytes(size - 2)


def drawn(code: Code, scale: int = 4) -> Image.Image:
    return Image.open(io.BytesIO(code.file(".png", scale))).convert("RGB")


@given(st.binary(max_size=40))
def test_base45_round_trip(data: bytes) -> None:
    assert from_base45(to_base45(data)) == data


def test_base45_is_that_of_the_rfc() -> None:
    assert to_base45(b"Hello!!") == "%69 VD92EX0"
    assert from_base45("QED8WEX0") == b"ietf!"
    for wrong in ("a", "GGW1", ":::", "ab"):
        with pytest.raises(ValueError, match=r"base45|substring"):
            from_base45(wrong)


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("size", [12, 110, 250, 500])
def test_what_is_written_is_read(size: int, as_text: bool) -> None:
    data = a_file(size)
    code = make_code(data, as_text=as_text)
    assert code.data == data
    assert drawn(code).width == 4 * (code.modules + 8)
    assert read_code(drawn(code)) == data


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("version", [1, 9, 10, 26, 27, 40])
def test_a_capacity_is_exact(version: int, level: str, as_text: bool) -> None:
    most = capacity(version, level, as_text)
    assert make_code(a_file(most), level, version, as_text).version == version
    with pytest.raises(OptionError, match=f"1 to {most}"):
        make_code(a_file(most + 1), level, version, as_text)


def test_a_photo_of_a_code() -> None:
    data = a_file(250)
    image = drawn(make_code(data), 5).rotate(17, expand=True, fillcolor="white")
    photo = Image.new("RGB", (900, 700), (140, 120, 100))
    photo.paste(image, (60, 40))
    buffer = io.BytesIO()
    photo.filter(ImageFilter.GaussianBlur(1)).save(buffer, "JPEG", quality=60)
    assert read_code(Image.open(buffer)) == data


def test_what_is_no_code_or_no_file_is_refused() -> None:
    with pytest.raises(ImageError, match="no QR code"):
        read_code(Image.new("RGB", (200, 200), "white"))
    with pytest.raises(ImageError, match=r"holds no \.ivc file"):
        read_code(drawn(make_code(b"HELLO")))


def test_impossible_codes_are_refused() -> None:
    for arguments in ((b"", "M"), (a_file(99), "X"), (a_file(99), "M", 41), (a_file(99), "M", 1)):
        with pytest.raises(OptionError):
            make_code(*arguments)  # type: ignore[arg-type]
    code = make_code(a_file(20))
    with pytest.raises(OptionError, match=r"not '\.bmp'"):
        code.file(".bmp")
    for suffix, begin in ((".svg", b"<?xml"), (".pdf", b"%PDF"), (".png", b"\x89PNG")):
        assert code.file(suffix).startswith(begin)
