"""Makes docs/images/sizes.jpg: one face in files of 60 to 5,000 bytes, ours and the best codec.

    python scripts/assets/make_sizes_image.py -o runs/sizes
    python scripts/assets/make_sizes_image.py -o runs/sizes --only 60 250 1000

Encodes the portrait that ships by the default search, to at most each of the sizes. Below each of
our images is the best of AVIF, WebP, JPEG XL and HEIC in as many bytes, by LPIPS-VGG; none if no
codec writes so small a file. A killed run continues where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from invcomp.codec import Codec
from invcomp.conventional.codecs import LABELS
from invcomp.evaluation.codecs import available_codecs, best_within
from invcomp.evaluation.metrics import Metrics, tensor_of
from invcomp.inversion.options import Goal

ROOT = Path(__file__).resolve().parents[2]
PORTRAIT, OUTPUT = ROOT / "pretrained" / "portrait.jpg", ROOT / "docs" / "images" / "sizes.jpg"
BYTES = (60, 120, 250, 500, 1000, 2000, 5000)
CODECS = ("avif", "webp", "jxl", "heic")
SIDE, CAPTION = 360, 30  # px


def conventional(original: Image.Image, limit: int, metrics: Metrics) -> tuple[str, Image.Image]:
    """The caption and the image of the best conventional file of at most `limit` bytes."""
    reference = tensor_of(original)

    def distance(decoded: Tensor) -> float:
        return float(metrics.distances("lpips_vgg", reference, decoded))

    found = best_within(original, distance, limit, available_codecs(CODECS))
    if not found:
        return "no codec", Image.new("RGB", original.size, "#dddddd")
    best = min(found, key=lambda result: result.value)
    return f"{LABELS[best.codec]}, {best.bytes:,} bytes", best.decoded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/sizes"))
    parser.add_argument("--only", type=int, nargs="+", default=BYTES, metavar="BYTES")
    arguments = parser.parse_args()
    folder = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    original, metrics = Image.open(PORTRAIT).convert("RGB"), Metrics("cpu", ["lpips_vgg"])
    codec: Codec | None = None
    columns = [[("the original", original), ("", Image.new("RGB", original.size, "white"))]]
    for limit in arguments.only:
        path = folder / f"{limit}.ivc"
        codec = codec or Codec.load()
        if not path.is_file():
            path.write_bytes(codec.compress(original, goal=Goal(bytes=limit)))
        data = path.read_bytes()
        ours = f"invcomp, {len(data):,} bytes", codec.decompress(data)
        columns.append([ours, conventional(original, limit, metrics)])
        print(ours[0], "|", columns[-1][1][0], flush=True)
    sheet = Image.new("RGB", (SIDE * len(columns), (SIDE + CAPTION) * 2), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    for x, column in enumerate(columns):
        for y, (caption, image) in enumerate(column):
            place = x * SIDE, y * (SIDE + CAPTION)
            sheet.paste(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), place)
            draw.text((place[0] + 4, place[1] + SIDE + 4), caption, fill="black", font=font)
    sheet.save(OUTPUT, quality=88)
    print(f"{OUTPUT}: {OUTPUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
