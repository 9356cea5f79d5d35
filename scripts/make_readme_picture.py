"""Makes docs/images/readme.jpg: the portrait that ships, ours, and what equals it.

    python scripts/make_readme_picture.py

What `invcomp demo` shows, by the default search: beside ours the best of AVIF, WebP and JPEG at as
many bytes, at equal identity, and at equal LPIPS. Prints the figures.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from invcomp.cli.demo import compare, side_by_side
from invcomp.cli.show import Meter
from invcomp.codec import Codec
from invcomp.generators.hub import pretrained_path
from invcomp.inversion.options import SearchOptions

OUTPUT = Path(__file__).resolve().parent.parent / "docs" / "images" / "readme.jpg"
WIDTH = 1600


def main() -> None:
    original = Image.open(pretrained_path("portrait.jpg")).convert("RGB")
    with Meter() as meter:
        codec = Codec.load("faces-1024")
        comparison = compare(codec, original, "portrait.jpg", meter, SearchOptions())
    sheet = side_by_side(comparison.panels)
    height = round(sheet.height * WIDTH / sheet.width)
    sheet.resize((WIDTH, height), Image.Resampling.LANCZOS).save(OUTPUT, quality=88)
    for _, name, size, figures in comparison.panels:
        print(f"{name}: {size}  {figures}")


if __name__ == "__main__":
    main()
