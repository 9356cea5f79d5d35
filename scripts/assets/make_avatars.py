"""Makes a small training set: Open Peeps avatars (CC0), with packages from PyPI only.

    pip install dicebear-core==10.7.0 dicebear-styles==10.6.0 resvg-py==0.5.0
    python scripts/assets/make_avatars.py -o runs/avatars    # 64 px, 20,000 seeds
    python scripts/assets/make_avatars.py -o runs/avatars --count 100 --held-out 10 --resolution 32

Avatar n has the seed "n" and is drawn on white in the style's own frame, filled by head and
shoulders. Duplicates are dropped. The first images are held out, so that more seeds only add
training images. Writes train.zip and held_out.zip (PNG files named by seed), about.json (licence,
versions, seeds) and an overview, sheet.png.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import resvg_py
from dicebear import Avatar, Style
from PIL import Image
from rich.progress import track

from invcomp.files import atomic_write

STYLE = "open-peeps"
PACKAGES = ("dicebear-core", "dicebear-styles", "resvg-py")
SHEET = (16, 8)  # columns and rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder")
    parser.add_argument("--count", type=int, default=20_000, help="number of seeds")
    parser.add_argument("--held-out", type=int, default=500, help="images excluded from training")
    parser.add_argument("--resolution", type=int, default=64, help="in pixels")
    arguments = parser.parse_args()
    if not 0 <= arguments.held_out < arguments.count:
        parser.error("--held-out must be from 0 to below --count")
    started = time.perf_counter()
    definition = json.loads(files("dicebear_styles").joinpath(f"{STYLE}.json").read_text("utf-8"))
    drawn = draw(Style(definition), arguments.count, arguments.resolution)
    images = dict(track(drawn, "avatars", arguments.count))
    distinct = first_of_equal(images)
    held_out, train = distinct[: arguments.held_out], distinct[arguments.held_out :]
    about = {
        "style": STYLE,
        **definition["meta"],
        "versions": {name: version(name) for name in PACKAGES},
        "resolution": arguments.resolution,
        "seeds": [0, arguments.count],
        "train": len(train),
        "held_out": len(held_out),  # the first images
    }
    for name, seeds in (("train", train), ("held_out", held_out)):
        path = arguments.output / f"{name}.zip"
        write_archive(path, {f"{seed:06d}.png": encode(images[seed]) for seed in seeds})
        about[f"sha256 of {path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    with atomic_write(arguments.output / "about.json", force=True) as temporary:
        temporary.write_text(json.dumps(about, indent=1, ensure_ascii=False), "utf-8")
    sheet(list(images.values())).save(arguments.output / "sheet.png")
    print(
        f"{arguments.count:,} seeds, {len(distinct):,} distinct: {len(train):,} to train on, "
        f"{len(held_out):,} held out, {time.perf_counter() - started:.0f} s"
    )


def draw(style: Style, count: int, resolution: int) -> Iterator[tuple[int, Image.Image]]:
    """Seed and RGB image of every avatar, on white."""
    for seed in range(count):
        png = resvg_py.svg_to_bytes(
            svg_string=str(Avatar(style, {"seed": str(seed)})),
            width=resolution,
            height=resolution,
            background="white",
            skip_system_fonts=True,
        )
        yield seed, Image.open(io.BytesIO(png)).convert("RGB")


def first_of_equal(images: dict[int, Image.Image]) -> list[int]:
    """The seeds whose image differs from those of all earlier seeds."""
    first: dict[bytes, int] = {}
    for seed, image in images.items():
        first.setdefault(image.tobytes(), seed)
    return list(first.values())


def encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_archive(path: Path, members: dict[str, bytes]) -> None:
    """Writes a .zip whose bytes depend only on the members."""
    with atomic_write(path, force=True) as temporary, ZipFile(temporary, "w") as archive:
        for name, data in members.items():
            archive.writestr(ZipInfo(name), data)


def sheet(images: Sequence[Image.Image]) -> Image.Image:
    """The first images side by side."""
    columns, rows = SHEET
    side = images[0].width
    canvas = Image.new("RGB", (columns * side, rows * side), "white")
    for index, image in enumerate(images[: columns * rows]):
        canvas.paste(image, (index % columns * side, index // columns * side))
    return canvas


if __name__ == "__main__":
    main()
