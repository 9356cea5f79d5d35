"""Measures how often QR codes of files are read from bad photos, by bytes and width in the photo.

    python scripts/benchmarks/qr_codes.py -o qr_codes.csv

Each code is drawn, turned by any angle, seen askew, shrunk to a width in pixels, lit unevenly,
blurred, given noise, and stored as JPEG. The files are random bytes: codes depend on no more.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from tables import write

from invcomp.bitstream.ivc import MAGIC
from invcomp.errors import ImageError
from invcomp.qr import Code, make_code, read_code

SIZES = (110, 250, 500)
LEVELS = "LM"
WIDTHS = (160, 240, 320, 480)  # px of the code with its margin, before it is turned
BLUR, NOISE, JPEG = (0.4, 1.0), 6, (40, 80)
LIGHT = 0.5  # darkest side of a photo, relative to the brightest
ASKEW = 0.08  # largest shift of a corner, relative to the width


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("qr_codes.csv"))
    parser.add_argument("--photos", type=int, default=20, help="of each code and width")
    arguments = parser.parse_args()
    rows = []
    for size in SIZES:
        for level in LEVELS:
            rates: dict[str, object] = {}
            for width in WIDTHS:
                read = sum(is_read(size, level, width, seed) for seed in range(arguments.photos))
                rates[f"px{width}"] = f"{100 * read / arguments.photos:.0f}%"
            code = make_code(a_file(size, 0), level)
            fixed = {"bytes": size, "level": level, "version": code.version}
            rows.append({**fixed, "modules": code.modules, **rates})
            print(rows[-1], flush=True)
    write(arguments.output, rows)


def a_file(size: int, seed: int) -> bytes:
    return MAGIC + np.random.default_rng(seed).bytes(size - len(MAGIC))


def is_read(size: int, level: str, width: int, seed: int) -> bool:
    data = a_file(size, seed)
    try:
        return read_code(photo(make_code(data, level), width, seed)) == data
    except ImageError:
        return False


def photo(code: Code, width: int, seed: int) -> Image.Image:
    """A bad photo of a code that is `width` px wide in it."""
    random = np.random.default_rng([seed, width])
    drawn = Image.open(io.BytesIO(code.file(".png", 6))).convert("L")
    side = 2 * drawn.width
    table = Image.new("L", (side, side), int(random.integers(90, 200)))
    table.paste(drawn, (drawn.width // 2, drawn.width // 2))
    turned = table.rotate(random.uniform(0, 360), Image.Resampling.BICUBIC, fillcolor=128)
    shifts = random.uniform(-ASKEW, ASKEW, (4, 2)) * drawn.width
    corners = np.array([(0, 0), (0, side), (side, side), (side, 0)]) + shifts
    seen = turned.transform(
        (side, side), Image.Transform.QUAD, corners.ravel().tolist(), Image.Resampling.BICUBIC
    )
    seen = seen.resize((2 * width, 2 * width), Image.Resampling.LANCZOS)
    seen = seen.filter(ImageFilter.GaussianBlur(random.uniform(*BLUR)))
    values = np.array(seen, float) * light(2 * width, random.uniform(0, 2 * np.pi))
    values += random.normal(0, NOISE, values.shape)
    buffer = io.BytesIO()
    shot = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    shot.save(buffer, "JPEG", quality=int(random.integers(*JPEG)))
    return Image.open(buffer)


def light(side: int, angle: float) -> np.ndarray:
    """From LIGHT to 1 across a square, in a direction."""
    places = np.linspace(-1, 1, side)
    across = np.cos(angle) * places + np.sin(angle) * places[:, None]
    return LIGHT + (1 - LIGHT) * (across / 2**0.5 + 1) / 2


if __name__ == "__main__":
    main()
