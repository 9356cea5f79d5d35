"""Compares a whole photo in one small file with AVIF at equal bytes; makes docs/images/photo.jpg.

    pip download --no-deps scikit-image && unzip -j scikit_image-*.whl skimage/data/astronaut.png
    invcomp compress astronaut.png --keep-photo --bytes 400 --background 1500
    python scripts/benchmarks/photo.py astronaut.png astronaut.ivc --judge JUDGE
    python scripts/benchmarks/photo.py group.png group.ivc -o runs/group.jpg --judge JUDGE

The photo is of NASA's Great Images collection (public domain). Below each photo are its faces, by
the frames that the file stores. AVIF is the best size in pixels by DISTS, as a whole file. JUDGE is
a folder with an identity.py, which is executed. Replaces the rows of the photo's name in
docs/results/photo.csv: figures of the whole photo, and the mean of its faces.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from statistics import mean

from PIL import Image, ImageDraw, ImageFont
from tables import formatted, write
from torch import Tensor

from invcomp.bitstream import IvcFile
from invcomp.decoder import Decoder
from invcomp.evaluation.codecs import best_within
from invcomp.evaluation.judge import Judge
from invcomp.evaluation.metrics import Metrics, tensor_of
from invcomp.photo import photo_in
from invcomp.preprocessing.alignment import Frame, align
from invcomp.preprocessing.reading import read_image

OUTPUT = Path(__file__).resolve().parents[2] / "docs" / "images" / "photo.jpg"
SIDE, CAPTION = 400, 34
COMPARED = 256  # px of a face
NAMES = ("lpips_alex", "lpips_vgg", "dists", "psnr")
TABLE = OUTPUT.parents[1] / "results" / "photo.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("file", type=Path, help="its .ivc file, with a face and the rest")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--images", type=Path, help="folder for both decoded photos at full size")
    arguments = parser.parse_args()
    original, data = read_image(arguments.photo), arguments.file.read_bytes()
    decoded, found = Decoder.for_file(data).decompress(data), photo_in(IvcFile.unpack(data))
    if found is None:
        parser.error(f"{arguments.file}: holds no photo")
    frames = [place.frame(original.size) for place in found[1].places]
    metrics = Metrics("cpu", NAMES)
    judge = Metrics("cpu", ["judge"], judge=Judge(arguments.judge)) if arguments.judge else None
    pixels = tensor_of(original)

    def dists(other: Tensor) -> float:
        return float(metrics.distances("dists", pixels, other))

    (avif,) = best_within(original, dists, len(data), ["avif"])
    shown = [
        ("original", original, 0),
        ("invcomp", decoded, len(data)),
        (f"AVIF at {avif.size} px", avif.decoded, avif.bytes),
    ]
    rows = kept(arguments.photo.stem)
    for name, image, size in shown[1:]:
        if arguments.images:
            image.save(arguments.images / f"{arguments.photo.stem}-{name.split()[0]}.png")
        whole = metrics.measure(pixels, tensor_of(image))
        faces = [of_face(metrics, judge, original, image, frame) for frame in frames]
        means = {key: mean(face[key] for face in faces) for key in faces[0]}
        for part, values in (("whole", whole), ("face", means)):
            row = {"photo": arguments.photo.stem, "codec": name, "part": part}
            rows.append({**row, **formatted({"bytes": size, **values})})
    write(TABLE, rows)
    sheet_of(shown, frames).save(arguments.output, quality=88)


def kept(name: str) -> list[dict[str, str]]:
    """The rows of other photos."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["photo"] != name]


def of_face(
    metrics: Metrics, judge: Metrics | None, original: Image.Image, other: Image.Image, frame: Frame
) -> dict[str, float]:
    """The metrics of a face that is cut out of both photos."""
    pair = [tensor_of(align(image, frame, COMPARED)) for image in (original, other)]
    return metrics.measure(*pair) | (judge.measure(*pair) if judge else {})


def sheet_of(shown: list[tuple[str, Image.Image, int]], frames: list[Frame]) -> Image.Image:
    """Each photo, and under it its faces side by side."""
    width, height = shown[0][1].size
    high, side = round(SIDE * height / width), SIDE // len(frames)
    sheet = Image.new("RGB", (SIDE * len(shown), high + side + CAPTION), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for column, (name, image, size) in enumerate(shown):
        left = column * SIDE
        sheet.paste(image.resize((SIDE, high), Image.Resampling.LANCZOS), (left, 0))
        for number, frame in enumerate(frames):
            sheet.paste(align(image, frame, side), (left + number * side, high))
        text = f"{name}, {size} bytes" if size else name
        place = (left + SIDE / 2, high + side + CAPTION / 2)
        draw.text(place, text, "black", font, anchor="mm")
    return sheet


if __name__ == "__main__":
    main()
