"""Makes docs/images/readme.jpg: the portrait that ships, ours, and others at their smallest.

python scripts/make_readme_picture.py
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from invcomp.codec import Codec
from invcomp.evaluation.codecs import smallest_possible
from invcomp.evaluation.metrics import Metrics, tensor_of
from invcomp.generators.hub import pretrained_path

OUTPUT = Path(__file__).resolve().parent.parent / "docs" / "images" / "readme.jpg"
PANEL = 320


def main() -> None:
    original = Image.open(pretrained_path("portrait.jpg")).convert("RGB")
    encoded = next(Codec.load("faces-1024").encode([original]))
    metrics, pixels = Metrics(names=("lpips_alex",)), tensor_of(original)

    def lpips(decoded: torch.Tensor) -> float:
        return float(metrics.distances("lpips_alex", pixels, decoded))

    others = smallest_possible(original, lpips, ("avif", "webp"))
    panels = [(original, "original", "1024 x 1024"),
              (encoded.decoded, "invcomp", f"{len(encoded.data)} bytes"),
              *((r.decoded, r.codec.upper() + " at its smallest", f"{r.bytes} bytes")
                for r in others)]  # fmt: skip
    sheet = Image.new("RGB", (len(panels) * PANEL, PANEL + 46), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    for column, (picture, name, size) in enumerate(panels):
        sheet.paste(picture.resize((PANEL, PANEL), Image.Resampling.LANCZOS), (column * PANEL, 0))
        draw.text((column * PANEL + 8, PANEL + 2), name, fill="black", font=font)
        draw.text((column * PANEL + 8, PANEL + 23), size, fill="black", font=font)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(OUTPUT, quality=90)
    print(
        f"{OUTPUT}: {len(encoded.data)} bytes, LPIPS {encoded.lpips:.3f}; "
        + ", ".join(f"{r.codec} {r.bytes} bytes, LPIPS {r.value:.3f}" for r in others)
    )


if __name__ == "__main__":
    main()
