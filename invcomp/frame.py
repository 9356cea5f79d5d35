"""How a photograph is fitted to the generator's frame, and a picture handed back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .errors import ImageError


def fit(image: Any, resolution: int) -> tuple[Tensor, tuple[int, int] | None]:
    """A photograph in the generator's frame: its largest centred square, resized to the frame.

    Args:
        image: a PIL image (EXIF orientation is applied, transparency becomes white), uint8
            [H, W, 3], or a tensor [3, H, W] or [1, 3, H, W] of uint8 or of floats in [0, 1].
        resolution: of the generator in pixels.

    Returns:
        [1, 3, R, R] in [-1, 1], and the square's own size (width, height) where it is not R.

    Raises:
        ImageError: not a picture of that kind, or one that cannot be read to its end.
    """
    picture = to_pil(image)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    picture = picture.crop((left, top, left + side, top + side))
    if side != resolution:
        picture = picture.resize((resolution, resolution), Image.Resampling.LANCZOS)
    return to_picture(picture), None if side == resolution else (side, side)


def to_pil(image: Any) -> Image.Image:
    """An upright RGB PIL image of anything that `fit` takes.

    Raises:
        ImageError: not a picture of that kind, or one that cannot be read to its end.
    """
    if isinstance(image, Image.Image):
        return _upright_rgb(image)
    if isinstance(image, Tensor):
        image = _array_of(image)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ImageError(f"array {image.shape} of {image.dtype}: uint8 [H, W, 3] is needed")
        return Image.fromarray(image)
    raise ImageError(f"{type(image).__name__} is no picture: PIL image, array or tensor is needed")


def _upright_rgb(image: Image.Image) -> Image.Image:
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):  # convert() would clip it to white
            image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"the picture cannot be read: {error}") from error


def _array_of(tensor: Tensor) -> Any:
    """[3, H, W] or [1, 3, H, W] to uint8 [H, W, 3]."""
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


def to_picture(image: Image.Image) -> Tensor:
    """An RGB PIL image as a tensor [1, 3, H, W] in [-1, 1]."""
    array = np.array(image, dtype=np.float32)
    return torch.from_numpy(array).permute(2, 0, 1)[None] / 127.5 - 1


def from_picture(picture: Tensor, size: tuple[int, int] | None = None) -> Image.Image:
    """A tensor [1, 3, H, W] in [-1, 1], clamped, as a PIL image, resized to `size` if given.

    Raises:
        ImageError: a size past Pillow's limit, `Image.MAX_IMAGE_PIXELS`: a file may claim any.
    """
    if size and Image.MAX_IMAGE_PIXELS and size[0] * size[1] > Image.MAX_IMAGE_PIXELS:
        raise ImageError(f"{size[0]} x {size[1]} pixels are more than Pillow's limit allows")
    values = ((picture[0].float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    image = Image.fromarray(values.permute(1, 2, 0).cpu().numpy())
    return image.resize(size, Image.Resampling.LANCZOS) if size else image
