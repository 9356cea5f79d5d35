"""Makes a photo of several people from studio photographs of one person each.

    python scripts/benchmarks/group_photo.py PHOTOS/london_{008,120,129}.jpg -o runs/group.png
    python scripts/benchmarks/group_photo.py PHOTOS/london_{008,120,129}.jpg -o large.jpg -w 8000

The photographs stand side by side at the lower edge of a photo of 4:3, the one in the middle a
little larger. Each is multiplied by a smooth surface that gives its background, plain but darker in
the corners, one common colour, and fades into that colour over a tenth of its side.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.float32]

TOP, SIDES, LOWEST = 0.08, 0.1, 0.7  # what is background: sides of a photograph, down to LOWEST
MOST = 1.25  # that a photograph is multiplied by
FADE = 0.1  # of its side
HEIGHTS = (0.5, 0.55)  # of the photo's height, of those beside the middle and of that in it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", nargs="+", type=Path, help="square, on a plain background")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("-w", "--width", type=int, default=4000, help="of the photo in pixels")
    arguments = parser.parse_args()
    images = [Image.open(path).convert("RGB") for path in arguments.photographs]
    composed(images, arguments.width).save(arguments.output, quality=95, subsampling=0)


def composed(images: list[Image.Image], width: int) -> Image.Image:
    """All images on one background, those in the middle last, so that they stand in front."""
    height = width * 3 // 4
    colour = np.mean([np.asarray(image.resize((64, 64)))[0].mean(0) for image in images], 0)
    canvas = np.full((height, width, 3), colour, np.float32)
    middle = (len(images) - 1) / 2
    for index in sorted(range(len(images)), key=lambda index: -abs(index - middle)):
        side = round(HEIGHTS[abs(index - middle) < 1] * height)
        image = images[index].resize((side, side), Image.Resampling.LANCZOS)
        pixels = np.asarray(image, np.float32)
        pixels = pixels * np.clip(colour / background(image), 1 / MOST, MOST)
        left = round((index + 0.5) / len(images) * width - side / 2)
        first, last = max(-left, 0), min(width - left, side)
        rows, columns = slice(height - side, height), slice(left + first, left + last)
        share = fade(side)[:, first:last, None]
        behind = canvas[rows, columns]
        canvas[rows, columns] = behind + (pixels[:, first:last] - behind) * share
    return Image.fromarray(np.rint(canvas).clip(0, 255).astype(np.uint8))


def background(image: Image.Image) -> Pixels:
    """A photograph's background, [H, W, 3]: a quadratic surface through what surrounds the head."""
    coarse = np.asarray(image.resize((64, 64), Image.Resampling.BOX), np.float32)
    along = (np.arange(64, dtype=np.float32) + 0.5) / 64
    beside = (np.minimum(along, 1 - along) < SIDES)[None] & (along < LOWEST)[:, None]
    known = beside | (along < TOP)[:, None]
    terms = surface_terms(64)
    factors = np.linalg.lstsq(terms[known], coarse[known], rcond=None)[0]
    found: Pixels = np.float32(surface_terms(image.width) @ factors)
    return found


def surface_terms(side: int) -> Pixels:
    """1, x, y, xx, xy, yy of the pixels of a square, [side, side, 6]."""
    along = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    x, y = np.meshgrid(along, np.minimum(along, LOWEST - 0.5))
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)


def fade(side: int) -> Pixels:
    """How much of a photograph is shown: nothing at its edges except the lower one."""
    along = (np.arange(side, dtype=np.float32) + 0.5) / side
    sides, top = (np.clip(each / FADE, 0, 1) for each in (np.minimum(along, 1 - along), along))
    smooth = [share * share * (3 - 2 * share) for share in (sides, top)]
    return smooth[0][None] * smooth[1][:, None]


if __name__ == "__main__":
    main()
