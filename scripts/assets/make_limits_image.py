"""Makes docs/images/limits.jpg: what is drawn anew, cut out at full size from files of some sizes.

python scripts/assets/make_sizes_image.py -o runs/sizes
python scripts/assets/make_limits_image.py runs/sizes
"""

from __future__ import annotations

import argparse
from pathlib import Path

from make_sizes_image import PORTRAIT, ROOT
from PIL import Image, ImageDraw, ImageFont

from invcomp.codec import Codec

OUTPUT = ROOT / "docs" / "images" / "limits.jpg"
BYTES = (120, 500, 2000)
# eyes; mouth; the edge of hair and the collar: left, top, right, bottom of 1024 px
CUTS = ((270, 400, 770, 560), (270, 680, 770, 840), (0, 770, 500, 1024))
GAP, CAPTION = 6, 28  # px


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of make_sizes_image.py")
    folder = parser.parse_args().folder
    codec = Codec.load()
    columns = [("the original", Image.open(PORTRAIT).convert("RGB"))]
    for limit in BYTES:
        data = (folder / f"{limit}.ivc").read_bytes()
        columns.append((f"{len(data):,} bytes", codec.decompress(data)))
    width = CUTS[0][2] - CUTS[0][0] + GAP
    height = sum(bottom - top + GAP for _, top, _, bottom in CUTS) + CAPTION
    sheet = Image.new("RGB", (width * len(columns) - GAP, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for column, (caption, image) in enumerate(columns):
        y = 0
        for cut in CUTS:
            sheet.paste(image.crop(cut), (column * width, y))
            y += cut[3] - cut[1] + GAP
        draw.text((column * width + 4, y), caption, fill="black", font=font)
    sheet.save(OUTPUT, quality=88)
    print(f"{OUTPUT}: {OUTPUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
