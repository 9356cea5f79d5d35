"""Fits an image to the generator's frame, and converts tensors to images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import ImageError
from .reading import upright_srgb

CENTRE_CROP = "center-crop"  # the largest centred square
FRAMES = (CENTRE_CROP,)  # ways to fit an image that a bundle can name
LARGEST_SIDE = 65535  # px: a file's original size has two bytes for each side


def fit(image: Any, resolution: int) -> tuple[Tensor, tuple[int, int] | None]:
    """Fits an image to the generator's frame: its largest centred square, resized.

    Args:
        image: a PIL image (EXIF orientation and colour profile are applied, transparency becomes
            white), uint8 [H, W, 3], or a tensor [3, H, W] or [1, 3, H, W] of uint8 or of floats
            in [0, 1]. Arrays and tensors are sRGB.
        resolution: of the generator in pixels.

    Returns:
        [1, 3, R, R] in [-1, 1], and the size (width, height) of the square; None if it is R.

    Raises:
        ImageError: an image of another kind, or one that cannot be read completely.
    """
    square = to_pil(image)
    side = min(square.size)
    left, top = (square.width - side) // 2, (square.height - side) // 2
    square = square.crop((left, top, left + side, top + side))
    if side != resolution:
        square = square.resize((resolution, resolution), Image.Resampling.LANCZOS)
    return to_tensor(square), None if side == resolution else (side, side)


def to_pil(image: Any) -> Image.Image:
    """An upright sRGB PIL image of any image that `fit` takes.

    Raises:
        ImageError: an image of another kind, one that cannot be read completely, or one so large
            that its file could not be decompressed.
    """
    if isinstance(image, Image.Image):
        upright = upright_srgb(image)
    else:
        upright = Image.fromarray(_array_of(image))
    _check_size((min(upright.size),) * 2)
    return upright


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
        _check_size(size)
    values = ((tensor[0].float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    image = Image.fromarray(values.permute(1, 2, 0).cpu().numpy())
    if size and padded:
        image = image.crop(padded_box(size, image.width))
    return image.resize(size, Image.Resampling.LANCZOS) if size else image


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


def _check_size(size: tuple[int, int]) -> None:
    """Refuses sizes that the file format or Pillow does not allow."""
    limit = Image.MAX_IMAGE_PIXELS or LARGEST_SIDE**2
    if max(size) > LARGEST_SIDE or size[0] * size[1] > limit:
        raise ImageError(f"{size[0]} x {size[1]} pixels are more than Pillow's limit allows")
