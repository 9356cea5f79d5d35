"""Makes docs/images/qr.jpg: what a QR code of one version holds of a portrait, by three codecs.

    python scripts/assets/make_qr_image.py -o runs/qr
    python scripts/assets/make_qr_image.py -o runs/qr --judge JUDGE

Encodes the portrait that ships by the default search to what the version holds, by WebP at 48 x 48
px as guides of identity standards do, and by grey JPEG at the size with the least squared error.
JUDGE is as in scripts/benchmarks/identity.py. A file of ours that is there is only decoded.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from invcomp.codec import Codec
from invcomp.evaluation.judge import Judge
from invcomp.evaluation.metrics import Metrics, tensor_of
from invcomp.inversion.options import Goal
from invcomp.perception.identity import Face
from invcomp.qr import capacity, make_code, read_code

ROOT = Path(__file__).resolve().parents[2]
PORTRAIT, OUTPUT = ROOT / "pretrained" / "portrait.jpg", ROOT / "docs" / "images" / "qr.jpg"
LANCZOS = Image.Resampling.LANCZOS
VERSION, LEVEL, WEBP = 11, "M", 48
SIDE, CODE, CAPTION = 320, 207, 50  # px


def conventional(original: Image.Image, kind: str, sides: range, limit: int) -> Iterator[bytes]:
    """The largest file within the limit, at each size in pixels that has one."""
    for side in sides:
        small = original.resize((side, side), LANCZOS)
        for quality in range(95, -1, -1):
            buffer = io.BytesIO()
            options = {"method": 6} if kind == "WEBP" else {"optimize": True}
            small.save(buffer, kind, quality=quality, **options)
            if buffer.tell() <= limit:
                yield buffer.getvalue()
                break


def enlarged(data: bytes, size: tuple[int, int]) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB").resize(size, LANCZOS)


def best_jpeg(original: Image.Image, limit: int) -> bytes:
    grey = original.convert("L")
    reference = np.array(grey, float)

    def error(data: bytes) -> float:
        return float(((np.array(enlarged(data, grey.size).convert("L")) - reference) ** 2).mean())

    return min(conventional(grey, "JPEG", range(8, 97, 4), limit), key=error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/qr"))
    parser.add_argument("--judge", type=Path)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    original, limit = Image.open(PORTRAIT).convert("RGB"), capacity(VERSION, LEVEL)
    path, codec = arguments.output / f"{limit}.ivc", Codec.load()
    if not path.is_file():
        path.write_bytes(codec.compress(original, goal=Goal(bytes=limit)))
    webp = next(conventional(original, "WEBP", range(WEBP, WEBP + 1), limit))
    jpeg = best_jpeg(original, limit)
    shown = [
        ("invcomp", path.read_bytes(), codec.decompress(path.read_bytes())),
        ("WebP", webp, enlarged(webp, original.size)),
        ("JPEG, grey", jpeg, enlarged(jpeg, original.size)),
    ]
    names = [] if arguments.judge is None else ["judge"]
    judge = None if arguments.judge is None else Judge(arguments.judge)
    metrics = Metrics("cpu", ["identity", *names], Face(), judge)
    sheet = Image.new("RGB", (SIDE * (len(shown) + 1), SIDE + CODE + CAPTION), "white")
    sheet.paste(original.resize((SIDE, SIDE), LANCZOS), (0, 0))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    draw.text(
        (6, SIDE + 6), f"the original\na code: version {VERSION}, level {LEVEL}", "black", font
    )
    for column, (name, data, decoded) in enumerate(shown, 1):
        values = metrics.measure(tensor_of(original), tensor_of(decoded))
        pixels = decoded.width if name == "invcomp" else Image.open(io.BytesIO(data)).width
        lines = [f"{name}: {len(data)} bytes, {pixels} px"]
        lines += [f"judge: {values['judge']:.2f}"] if judge else []
        print(*lines, values, flush=True)
        code = make_code(data, LEVEL, VERSION)
        drawn = Image.open(io.BytesIO(code.file(".png", 3))).convert("RGB")
        if name == "invcomp":
            assert read_code(drawn.resize((4 * drawn.width,) * 2, Image.Resampling.NEAREST)) == data
        left = SIDE * column
        sheet.paste(decoded.resize((SIDE, SIDE), LANCZOS), (left, 0))
        draw.text((left + 6, SIDE + 6), "\n".join(lines), "black", font)
        sheet.paste(drawn, (left, SIDE + CAPTION))
    sheet.save(OUTPUT, quality=88)
    print(f"{OUTPUT}: {OUTPUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
