"""Compares a whole photo in one small file with AVIF at equal bytes; makes docs/images/photo.jpg.

    pip download --no-deps scikit-image && unzip -j scikit_image-*.whl skimage/data/astronaut.png
    invcomp compress astronaut.png --keep-photo --bytes 230 --background 1500 --fast
    python scripts/benchmarks/photo.py astronaut.png astronaut.ivc

The photo is of NASA's Great Images collection (public domain). Below each photo is its face, by the
frame that the file stores. AVIF is the best size in pixels by DISTS, as a whole file. Writes the
figures of photo and face to docs/results/photo.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from tables import formatted, write
from torch import Tensor

from invcomp.bitstream import IvcFile
from invcomp.decoder import Decoder
from invcomp.evaluation.codecs import best_within
from invcomp.evaluation.metrics import Metrics, tensor_of
from invcomp.photo import photo_in
from invcomp.preprocessing.alignment import align
from invcomp.preprocessing.reading import read_image

OUTPUT = Path(__file__).resolve().parents[2] / "docs" / "images" / "photo.jpg"
SIDE, CAPTION = 400, 34
NAMES = ("lpips_alex", "lpips_vgg", "dists", "psnr")
TABLE = OUTPUT.parents[1] / "results" / "photo.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("file", type=Path, help="its .ivc file, with a face and the rest")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    original, data = read_image(arguments.photo), arguments.file.read_bytes()
    decoded, found = Decoder.for_file(data).decompress(data), photo_in(IvcFile.unpack(data))
    if found is None:
        parser.error(f"{arguments.file}: holds no photo")
    frame = found[1].places[0].frame(original.size)
    metrics = Metrics("cpu", NAMES)
    pixels = tensor_of(original)

    def dists(other: Tensor) -> float:
        return float(metrics.distances("dists", pixels, other))

    (avif,) = best_within(original, dists, len(data), ["avif"])
    shown = (
        ("original", original, 0),
        ("invcomp", decoded, len(data)),
        (f"AVIF at {avif.size} px", avif.decoded, avif.bytes),
    )
    rows = []
    sheet = Image.new("RGB", (SIDE * len(shown), 2 * SIDE + CAPTION), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for column, (name, image, size) in enumerate(shown):
        face, left = align(image, frame, SIDE), column * SIDE
        sheet.paste(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, 0))
        sheet.paste(face, (left, SIDE))
        text = f"{name}, {size} bytes" if size else name
        place = (left + SIDE / 2, 2 * SIDE + CAPTION / 2)
        draw.text(place, text, "black", font, anchor="mm")
        if not size:
            continue
        faces = (align(each, frame, 256) for each in (original, image))
        for part, pair in (("whole", (original, image)), ("face", faces)):
            values = metrics.measure(*map(tensor_of, pair))
            rows.append({"codec": name, "part": part, **formatted({"bytes": size, **values})})
            print(rows[-1])
    write(TABLE, rows)
    sheet.save(arguments.output, quality=88)


if __name__ == "__main__":
    main()
