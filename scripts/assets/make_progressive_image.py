"""Makes docs/images/progressive.jpg: decoded images of the first bytes of a file.

    python scripts/assets/make_progressive_image.py
    python scripts/assets/make_progressive_image.py --file portrait.ivc

Uses the portrait that ships, encoded at the default quality unless a file is given. Writes metrics
at every size to docs/results/first_bytes.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from invcomp.codec import Codec
from invcomp.evaluation.metrics import Metrics, tensor_of
from invcomp.model_zoo.catalogue import pretrained_path

OUTPUT = Path(__file__).resolve().parents[2] / "docs" / "images" / "progressive.jpg"
TABLE = OUTPUT.parents[1] / "results" / "first_bytes.csv"
PANEL, STEPS = 240, 6
FIRST = 50  # bytes of the coarsest image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path)
    arguments = parser.parse_args()
    original, codec = Image.open(pretrained_path("portrait.jpg")).convert("RGB"), Codec.load()
    data = arguments.file.read_bytes() if arguments.file else codec.compress(original)
    metrics, pixels = Metrics(), tensor_of(original)
    sizes = np.geomspace(FIRST, len(data), STEPS).round().astype(int).tolist()
    sheet = Image.new("RGB", ((STEPS + 1) * PANEL, PANEL + 28), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    lines = ["bytes,lpips_alex,lpips_vgg,dists,psnr"]
    panels = [(original, "original")]
    for size in sizes:
        decoded = codec.decompress(data, first_bytes=size)
        panels.append((decoded, f"{size} bytes"))
        found = metrics.measure(pixels, tensor_of(decoded))
        values = (f"{found[name]:.3f}" for name in ("lpips_alex", "lpips_vgg", "dists"))
        lines.append(f"{size},{','.join(values)},{found['psnr']:.1f}")
        print(lines[-1], flush=True)
    for column, (image, name) in enumerate(panels):
        sheet.paste(image.resize((PANEL, PANEL), Image.Resampling.LANCZOS), (column * PANEL, 0))
        draw.text((column * PANEL + 8, PANEL + 4), name, fill="black", font=font)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(OUTPUT, quality=88)
    TABLE.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
