"""Fitting images to the frame: every kind of input, and what is refused."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from invcomp.errors import ImageError
from invcomp.preprocessing.frame import fit, from_tensor, to_tensor


def gradient(width: int, height: int) -> Image.Image:
    values = np.zeros((height, width, 3), np.uint8)
    values[..., 0] = np.linspace(0, 255, width)[None]
    values[..., 1] = np.linspace(0, 255, height)[:, None]
    return Image.fromarray(values)


def test_a_image_of_the_frame_comes_back_unchanged() -> None:
    image = gradient(64, 64)
    tensor, size = fit(image, 64)
    assert size is None
    assert np.array_equal(np.array(from_tensor(tensor)), np.array(image))


def test_the_centred_square_is_taken_and_its_size_kept() -> None:
    image = gradient(100, 80)
    tensor, size = fit(image, 64)
    assert (tensor.shape, size) == ((1, 3, 64, 64), (80, 80))
    red = from_tensor(tensor).getpixel((32, 32))[0]
    assert red == pytest.approx(128, abs=4)
    assert from_tensor(tensor, size).size == (80, 80)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 90), st.integers(1, 90))
def test_any_size_is_fitted(width: int, height: int) -> None:
    image, _ = fit(Image.new("RGB", (width, height), "red"), 32)
    assert image.shape == (1, 3, 32, 32)
    torch.testing.assert_close(image[0, :, 0, 0], torch.tensor([1.0, -1.0, -1.0]))


def test_arrays_and_tensors_are_the_same_image() -> None:
    image = gradient(40, 40)
    array = np.array(image)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    expected = fit(image, 40)[0]
    for other in (array, tensor, tensor[None], tensor.float() / 255):
        torch.testing.assert_close(fit(other, 40)[0], expected)


def test_orientation_transparency_and_depth() -> None:
    image = gradient(40, 40)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    buffer = io.BytesIO()
    image.save(buffer, "png", exif=exif)
    turned = fit(Image.open(buffer), 40)[0]
    torch.testing.assert_close(turned, fit(image, 40)[0].flip(2, 3))
    clear = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    assert (fit(clear, 8)[0] == 1).all()  # white
    deep = Image.fromarray(np.full((8, 8), 257 * 100, np.uint16))
    torch.testing.assert_close(fit(deep, 8)[0], torch.full((1, 3, 8, 8), 100 / 127.5 - 1))


@pytest.mark.parametrize(
    "image",
    [
        "a path",
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        torch.zeros(4, 4, 4),
        torch.full((3, 4, 4), 1.5),
        torch.full((3, 4, 4), float("nan")),
    ],
)
def test_what_is_no_image_is_refused(image: object) -> None:
    with pytest.raises(ImageError):
        fit(image, 8)


def test_a_truncated_image_is_refused() -> None:
    buffer = io.BytesIO()
    gradient(200, 200).save(buffer, "png")
    cut = Image.open(io.BytesIO(buffer.getvalue()[:300]))
    with pytest.raises(ImageError, match="cannot be read"):
        fit(cut, 8)


def test_a_size_past_any_reason_is_refused() -> None:
    with pytest.raises(ImageError, match="limit"):
        from_tensor(torch.zeros(1, 3, 8, 8), (65535, 65535))


def test_to_image_has_the_stated_range() -> None:
    image = to_tensor(gradient(256, 256))
    assert (float(image.min()), float(image.max())) == (-1, 1)
