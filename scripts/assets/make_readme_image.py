"""Makes docs/images/readme.jpg from the output of `invcomp demo`.

    invcomp demo --iterations 120 && python scripts/assets/make_readme_image.py

Shows the portrait that ships, our image with as many iterations as the default search, and the best
of AVIF, WebP and JPEG at equal bytes, equal identity and equal LPIPS.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

OUTPUT = Path(__file__).resolve().parents[2] / "docs" / "images" / "readme.jpg"
WIDTH = 1600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sheet", type=Path, nargs="?", default="invcomp-demo/side_by_side.png")
    sheet = Image.open(parser.parse_args().sheet).convert("RGB")
    height = round(sheet.height * WIDTH / sheet.width)
    sheet.resize((WIDTH, height), Image.Resampling.LANCZOS).save(OUTPUT, quality=88)
    print(f"{OUTPUT}: {OUTPUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
