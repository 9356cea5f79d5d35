"""Makes docs/images/progressive.jpg: what the first bytes of a file decode to.

    python scripts/make_progressive_picture.py
    python scripts/make_progressive_picture.py --file portrait.ivc

Of the portrait that ships; the file is made at the default quality where none is given. Prints
metrics at every size, and what the ends of segments inside of the file cost.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from invcomp.bitstream import IvcFile, decode
from invcomp.codec import Codec
from invcomp.entropy.coder import encode_segment
from invcomp.evaluation.metrics import Metrics, tensor_of
from invcomp.model_zoo.catalogue import pretrained_path

OUTPUT = Path(__file__).resolve().parent.parent / "docs" / "images" / "progressive.jpg"
PANEL, STEPS = 240, 6


def whole_in_one(codec: Codec, file: IvcFile) -> int:
    """Bytes that the same coordinates would take in a single segment."""
    rows = codec.bundle.tables.rows(file.step_index)
    one = encode_segment(decode(file, codec.bundle.tables).integers, rows, codec.bundle.tables)
    return len(one) + 10  # the header without lengths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path)
    arguments = parser.parse_args()
    original, codec = Image.open(pretrained_path("portrait.jpg")).convert("RGB"), Codec.load()
    data = arguments.file.read_bytes() if arguments.file else codec.compress(original)
    file, metrics, pixels = IvcFile.unpack(data), Metrics(), tensor_of(original)
    first = len(data) - sum(map(len, file.segments[1:]))
    sizes = np.geomspace(first, len(data), STEPS).round().astype(int).tolist()
    sheet = Image.new("RGB", ((STEPS + 1) * PANEL, PANEL + 28), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    print("| bytes | LPIPS-Alex | LPIPS-VGG | DISTS | PSNR, dB |\n|---|---|---|---|---|")
    panels = [(original, "original")]
    for size in sizes:
        decoded = codec.decompress(data, first_bytes=size)
        panels.append((decoded, f"{size} bytes"))
        found = metrics.measure(pixels, tensor_of(decoded))
        values = (f"{found[name]:.3f}" for name in ("lpips_alex", "lpips_vgg", "dists"))
        print(f"| {size} | {' | '.join(values)} | {found['psnr']:.1f} |", flush=True)
    for column, (picture, name) in enumerate(panels):
        sheet.paste(picture.resize((PANEL, PANEL), Image.Resampling.LANCZOS), (column * PANEL, 0))
        draw.text((column * PANEL + 8, PANEL + 4), name, fill="black", font=font)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(OUTPUT, quality=88)
    print(f"{len(data)} bytes in {len(file.segments)} segments, {whole_in_one(codec, file)} in one")


if __name__ == "__main__":
    main()
