"""The decoder by itself: what the codec decodes, whatever its caller did to torch."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from invcomp.codec import Codec
from invcomp.decoder import Decoder
from invcomp.errors import MissingBundleError
from invcomp.generators.base import normal
from invcomp.inversion.options import SearchOptions
from invcomp.preprocessing.frame import from_tensor

from .tiny import tiny_bundle

SHORT = SearchOptions(iterations=8)
Mode = Callable[[], contextlib.AbstractContextManager[Any]]


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """float64 as torch's default."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        assert torch.get_default_dtype() == torch.float64, "the caller's own was not given back"
        torch.set_default_dtype(torch.float32)


def autocast() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


MODES: list[Mode] = [torch.no_grad, torch.inference_mode, float64, autocast]


@pytest.fixture(scope="module")
def image() -> Image.Image:
    decoder = Decoder(tiny_bundle(), "cpu")
    c = normal(1, 64, seed=3) * decoder.coordinates.deviations
    return from_tensor(decoder.generator(decoder.coordinates.latents(c)).detach())


def test_it_decodes_what_the_codec_decodes(image: Image.Image) -> None:
    codec = Codec(tiny_bundle(), "cpu", compiled=False)
    data = codec.compress(image, search=SHORT)
    decoded = Decoder(codec.bundle, "cpu").decompress(data)
    assert np.array_equal(np.array(decoded), np.array(codec.decompress(data)))


def test_it_refuses_files_of_other_bundles(image: Image.Image) -> None:
    codec = Codec(tiny_bundle(), "cpu", compiled=False)
    data = bytearray(codec.compress(image, search=SHORT))
    other = Decoder(tiny_bundle(), "cpu")
    other.fingerprint = b"else"
    with pytest.raises(MissingBundleError, match="656c7365"):
        other.decompress(bytes(data))


@pytest.mark.parametrize("mode", MODES)
def test_the_callers_modes_change_nothing(image: Image.Image, mode: Mode, tmp_path: Path) -> None:
    """Neither a file nor what it decodes to, and a codec loaded there works afterwards."""
    tiny_bundle().save(tmp_path / "tiny.ivm")
    plain = Codec.load(tmp_path / "tiny.ivm", "cpu", compiled=False)
    data = plain.compress(image, search=SHORT)
    expected = np.array(plain.decompress(data))
    with mode():
        codec = Codec.load(tmp_path / "tiny.ivm", "cpu", compiled=False)
        assert codec.compress(image, search=SHORT) == data
        assert np.array_equal(np.array(codec.decompress(data)), expected)
        assert codec.measure(image, data).lpips == plain.measure(image, data).lpips
    assert codec.compress(image, search=SHORT) == data


@pytest.mark.parametrize("mode", MODES)
def test_the_callers_modes_come_back_between_files(image: Image.Image, mode: Mode) -> None:
    codec = Codec(tiny_bundle(), "cpu", compiled=False)

    def modes() -> tuple[Any, ...]:
        return (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.get_default_dtype(),
            torch.is_autocast_enabled("cpu"),
        )

    with mode():
        before = modes()
        for _ in codec.encode([image] * 2, search=SHORT, batch=1):
            assert modes() == before
