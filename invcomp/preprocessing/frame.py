"""Fits an image to the generator's frame, and converts tensors to images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import ImageError, OptionError
from .reading import check_size, upright_srgb

FACE = "ffhq-face"  # a face is found, cut out and aligned (`fitting.py`)
CENTRE_CROP = "center-crop"  # the largest centred square
PAD = "pad"  # all of the image, its edges continued to a square
STRETCH = "stretch"  # all of the image, its sides scaled alone
FRAMES = (FACE, CENTRE_CROP, PAD, STRETCH)  # ways to fit an image


def fit(
    image: Any, resolution: int, frame: str = CENTRE_CROP
) -> tuple[Tensor, tuple[int, int] | None]:
    """Fits an image to the generator's frame without looking at what it shows.

    Args:
        image: a PIL image (EXIF orientation and colour profile are applied, transparency becomes
            white), uint8 [H, W, 3], or a tensor [3, H, W] or [1, 3, H, W] of uint8 or of floats
            in [0, 1]. Arrays and tensors are sRGB.
        resolution: of the generator in pixels.
        frame: "center-crop", the largest centred square; "pad", all of it, centred, with its edges
            continued to a square; or "stretch", all of it.

    Returns:
        [1, 3, R, R] in [-1, 1], and the size (width, height) of the part that was resized; None if
        both are R.

    Raises:
        ImageError: an image of another kind, or one that cannot be read completely.
    """
    part = to_pil(image)
    if frame == CENTRE_CROP:
        side = min(part.size)
        left, top = (part.width - side) // 2, (part.height - side) // 2
        part = part.crop((left, top, left + side, top + side))
    check_size(part.size)
    size, whole = part.size, (resolution, resolution)
    if size == whole:
        return to_tensor(part), None
    if frame == PAD:
        return to_tensor(_padded(part, resolution)), size
    return to_tensor(part.resize(whole, Image.Resampling.LANCZOS)), size


def _padded(image: Image.Image, resolution: int) -> Image.Image:
    """The image reduced to a square that it need not fill, its edges continued."""
    left, top, right, bottom = padded_box(image.size, resolution)
    inside = image.resize((right - left, bottom - top), Image.Resampling.LANCZOS)
    beyond = ((top, resolution - bottom), (left, resolution - right), (0, 0))
    return Image.fromarray(np.pad(np.asarray(inside), beyond, "edge"))


def to_pil(image: Any) -> Image.Image:
    """An upright sRGB PIL image of any image that `fit` takes.

    Raises:
        ImageError: an image of another kind, or one that cannot be read completely.
    """
    if isinstance(image, Image.Image):
        return upright_srgb(image)
    return Image.fromarray(_array_of(image))


def _array_of(image: Any) -> Any:
    """An array, or a tensor [3, H, W] or [1, 3, H, W], as uint8 [H, W, 3]."""
    if isinstance(image, Tensor):
        return _array_of_tensor(image)
    if not isinstance(image, np.ndarray):
        kind = type(image).__name__
        raise ImageError(f"{kind} is no image: PIL image, array or tensor is needed")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ImageError(f"array {image.shape} of {image.dtype}: uint8 [H, W, 3] is needed")
    return image


def _array_of_tensor(tensor: Tensor) -> Any:
    tensor = tensor.detach().cpu()
    if tensor.ndim == 4 and len(tensor) == 1:
        tensor = tensor[0]
    if tensor.ndim != 3 or len(tensor) != 3:
        raise ImageError(f"tensor {tuple(tensor.shape)}: [3, H, W] or [1, 3, H, W] is needed")
    if tensor.is_floating_point():
        if not bool(((tensor >= 0) & (tensor <= 1)).all()):
            raise ImageError("a float tensor must lie in [0, 1]")
        tensor = (tensor * 255).round().to(torch.uint8)
    return tensor.permute(1, 2, 0).contiguous().numpy()


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB PIL image as a tensor [1, 3, H, W] in [-1, 1]."""
    array = np.array(image, dtype=np.float32)
    return torch.from_numpy(array).permute(2, 0, 1)[None] / 127.5 - 1


def from_tensor(
    tensor: Tensor, size: tuple[int, int] | None = None, padded: bool = False
) -> Image.Image:
    """A tensor [1, 3, R, R] in [-1, 1], clamped, as a PIL image, resized to `size` if given.

    Args:
        tensor: the image.
        size: (width, height) in pixels.
        padded: the image was scaled into the square and padded; the padding is cut off first.

    Raises:
        ImageError: the size, which a file may claim, is over Pillow's `Image.MAX_IMAGE_PIXELS`.
    """
    if size:
        check_size(size)
    values = ((tensor[0].float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    image = Image.fromarray(values.permute(1, 2, 0).cpu().numpy())
    if size and padded:
        image = image.crop(padded_box(size, image.width))
    return image.resize(size, Image.Resampling.LANCZOS) if size else image


def check_frame(frame: str) -> None:
    """Checks the name of a way to fit images.

    Raises:
        OptionError: it is not one of `FRAMES`.
    """
    if frame not in FRAMES:
        raise OptionError(f"frame {frame!r} is not one of {', '.join(FRAMES)}")


def padded_box(size: tuple[int, int], resolution: int) -> tuple[int, int, int, int]:
    """Where an image of `size` lies in the generator's square if it is padded.

    It is scaled so that its longer side fills the square, and centred.

    Returns:
        (left, top, right, bottom) in pixels.
    """
    longer = max(size)
    width, height = (max(1, (2 * side * resolution + longer) // (2 * longer)) for side in size)
    left, top = (resolution - width) // 2, (resolution - height) // 2
    return left, top, left + width, top + height
