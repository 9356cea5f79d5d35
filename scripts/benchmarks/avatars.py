"""Benchmarks a small model on held-out images against lossless and lossy codecs.

    python scripts/benchmarks/avatars.py runs/avatars/held_out.zip -o runs/bench_avatars --count 200
    python scripts/benchmarks/avatars.py PORTRAITS/ -o runs/small --model dcgan-faces-64

In a folder, only the twelve portraits of faces.py are used. Images larger than the model's are
first reduced to its size.

For every image: our file with LPIPS-Alex, LPIPS-VGG, DISTS and PSNR; the smallest files of lossless
WebP, lossy WebP, AVIF, JPEG and JPEG XL at equal LPIPS-Alex and at equal LPIPS-VGG; and the
smallest file that each can write at full size. A killed run continues where it stopped. Writes
results.jsonl, figures.csv and equal.csv (in the form of docs/results) and an image to the folder.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from statistics import mean
from typing import Any
from zipfile import ZipFile

from faces import TWELVE
from PIL import Image
from tables import formatted, write

from invcomp.codec import Codec
from invcomp.evaluation.codecs import (
    CODECS,
    available_codecs,
    sizes_for,
    smallest_possible,
    smallest_reaching,
)
from invcomp.evaluation.metrics import Metrics, tensor_of

METRICS = ("lpips_alex", "lpips_vgg", "dists", "psnr")
EQUAL = ("lpips_alex", "lpips_vgg")
SHOWN = 12  # images in the sheet
RIVALS = (*CODECS, "jxl", "webp-lossless")


def conventional(
    image: Image.Image, metrics: Metrics, ours: dict[str, Any], names: tuple[str, ...]
) -> dict[str, dict[str, int]]:
    """Bytes of every codec: at each equal metric, and the smallest possible."""
    pixels, found = tensor_of(image), {}
    for metric in EQUAL:
        results = smallest_reaching(
            image,
            lambda decoded, metric=metric: float(metrics.distances(metric, pixels, decoded)),
            ours[metric],
            names,
            sizes_for(image.width),
        )
        found[f"equal {metric}"] = {result.codec: result.bytes for result in results}
    least = smallest_possible(image, lambda decoded: 0.0, names, image.width)
    found["least at all"] = {result.codec: result.bytes for result in least}
    return found


def table(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The row of docs/results/avatars.csv: means over the images."""
    values = {name: mean(row[name] for row in rows) for name in ("bytes", *METRICS)}
    seconds = mean(row["seconds"] for row in rows)
    return {"images": str(len(rows)), **formatted(values), "seconds": f"{seconds:.1f}"}


def equal_table(rows: list[dict[str, Any]], names: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of docs/results/avatars_equal.csv: mean bytes of every codec."""
    found = []
    kinds = {f"equal {metric}": metric for metric in EQUAL} | {"least at all": "smallest"}
    for kind, label in kinds.items():
        best = [min(row[kind].values()) for row in rows]
        factors = [theirs / row["bytes"] for theirs, row in zip(best, rows, strict=True)]
        values = {"bytes": mean(row["bytes"] for row in rows)}
        for name in names:
            if sizes := [row[kind][name] for row in rows if name in row[kind]]:
                values[name.replace("-", "_")] = mean(sizes)
        values |= {"best": mean(best), "times": mean(factors), "times_lowest": min(factors)}
        found.append({"equal": label, **formatted(values)})
    return found


def images_of(source: Path, count: int, side: int) -> dict[str, Image.Image]:
    """Images by name, reduced to `side` px."""
    if source.is_dir():
        files = {name: (source / f"{name}.jpg").read_bytes() for name in TWELVE[:count]}
    else:
        with ZipFile(source) as archive:
            files = {name: archive.read(name) for name in archive.namelist()[:count]}
    images = {n: Image.open(io.BytesIO(data)).convert("RGB") for n, data in files.items()}
    return {
        name: image.resize((side, side), Image.Resampling.LANCZOS) if image.width > side else image
        for name, image in images.items()
    }


def sheet(codec: Codec, images: dict[str, Image.Image], folder: Path) -> Image.Image:
    """The first originals, each above its decoded image."""
    shown = [*images.items()][:SHOWN]
    side = codec.decoder.generator.resolution
    sheet = Image.new("RGB", (len(shown) * side, 2 * side), "white")
    for column, (name, image) in enumerate(shown):
        data = (folder / f"{Path(name).stem}.ivc").read_bytes()
        sheet.paste(image.resize((side, side)), (column * side, 0))
        sheet.paste(codec.decompress(data).resize((side, side)), (column * side, side))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help=".zip of images, or folder of portraits")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="avatars-64")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--quality", type=float)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--no-compile", action="store_true", help="faster for few images")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    results, names = arguments.output / "results.jsonl", available_codecs(RIVALS)
    rows = (
        [json.loads(line) for line in results.read_text().splitlines()] if results.is_file() else []
    )
    codec, metrics = (
        Codec.load(arguments.model, compiled=False if arguments.no_compile else None),
        Metrics(names=METRICS),
    )
    images = images_of(arguments.source, arguments.count, codec.decoder.generator.resolution)
    left = [*images.items()][len(rows) :]
    encoded = codec.encode(
        [image for _, image in left], quality=arguments.quality, batch=arguments.batch
    )
    for (name, image), file in zip(left, encoded, strict=True):
        (arguments.output / f"{Path(name).stem}.ivc").write_bytes(file.data)
        row = {"image": name, "bytes": len(file.data), "seconds": file.seconds}
        row |= metrics.measure(tensor_of(image), tensor_of(file.decoded))
        row |= conventional(image, metrics, row, names)
        rows.append(row)
        with results.open("a") as output:
            output.write(json.dumps(row) + "\n")
        print(row, flush=True)
    sheet(codec, images, arguments.output).save(arguments.output / "images.png")
    write(arguments.output / "figures.csv", [table(rows)])
    write(arguments.output / "equal.csv", equal_table(rows, names))


if __name__ == "__main__":
    main()
