"""Random images of a generator, and grids of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import OptionError
from .base import Generator, check_class, draw_classes, normal, reduce_images, sample_of

CHUNK_PIXELS = 1 << 22  # generated per batch
MEAN_SAMPLES = 10_000
LARGEST_GRID = 1 << 27  # pixels


@torch.no_grad()
def samples(
    generator: Generator,
    count: int,
    seed: int = 0,
    truncation: float = 1.0,
    size: int | None = None,
    class_index: int | None = None,
) -> Iterator[Tensor]:
    """Images from seeded z, in batches [n, 3, R, R] in about [-1, 1].

    Args:
        generator: to sample from.
        count: total number.
        seed: for z and classes.
        truncation: factor on each latent's distance to the mean (of its class) (the truncation
            trick, arXiv:1812.04948, appendix B).
        size: to which images are reduced, in pixels.
        class_index: of all images; None: random, if there are classes.

    Raises:
        OptionError: there is no such class, the images are smaller than `size`, or all of them
            together have too many pixels.
    """
    _check_sizes(generator.resolution, count, size)
    device = next(generator.parameters()).device
    chunk = max(1, min(CHUNK_PIXELS // generator.resolution**2, count))
    classes = _classes(generator, count, seed, class_index)
    classes = None if classes is None else classes.to(device)
    latents = sample_of(generator, normal(count, generator.z_size, seed).to(device), classes)
    if truncation != 1:
        latents = _means(generator, classes).lerp(latents, truncation)
    for part in latents.split(chunk):
        images = generator(generator.spread(part))
        yield reduce_images(images, size) if size else images


def _check_sizes(resolution: int, count: int, size: int | None) -> None:
    if size is not None and size > resolution:
        raise OptionError(f"samples of {size} px: the generator's images have {resolution}")
    if count * (size or resolution) ** 2 > LARGEST_GRID:
        raise OptionError(f"{count} samples of {size or resolution} px are too many for a grid")


def _classes(generator: Generator, count: int, seed: int, class_index: int | None) -> Tensor | None:
    if class_index is None:
        return draw_classes(generator, count, torch.Generator().manual_seed(seed))
    check_class(class_index, generator.classes)
    return torch.full((count,), class_index)


def _means(generator: Generator, classes: Tensor | None) -> Tensor:
    """Mean latents: [d], or [N, d] for classes [N]."""
    z = normal(MEAN_SAMPLES, generator.z_size, seed=0).to(next(generator.parameters()).device)
    if classes is None:
        return generator.sample(z).mean(0)
    present, places = classes.unique(return_inverse=True)
    means = [generator.sample(z, one.expand(len(z))).mean(0) for one in present]
    return torch.stack(means)[places]


def to_uint8(images: Tensor) -> Tensor:
    """[-1, 1] to 0..255, rounded and clamped."""
    return (images.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


def grid(batches: Sequence[Tensor], columns: int | None = None) -> Image.Image:
    """Batches of images [n, 3, R, R] in [-1, 1] as one image, `columns` per row."""
    pixels = to_uint8(torch.cat(list(batches))).permute(0, 2, 3, 1).cpu().numpy()
    count, height, width, _ = pixels.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    sheet = np.full((-(-count // columns) * height, columns * width, 3), 255, np.uint8)
    for index, image in enumerate(pixels):
        top, left = index // columns * height, index % columns * width
        sheet[top : top + height, left : left + width] = image
    return Image.fromarray(sheet)
