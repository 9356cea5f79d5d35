"""Images drawn by numpy."""

import numpy as np
from PIL import Image


def drawn(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth colours with some hard edges."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = random.uniform(1, 9, (3, 2)) @ np.stack([x, y]).reshape(2, -1)
    pixels = 128 + 70 * np.sin(waves).T.reshape(height, width, 3)
    for _ in range(4):
        left, top, side = random.uniform(0, 0.8), random.uniform(0, 0.8), random.uniform(0.1, 0.3)
        inside = (abs(x - left) < side) & (abs(y - top) < side / 2)
        pixels[inside] += random.uniform(-60, 60, 3)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
