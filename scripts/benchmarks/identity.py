"""Measures identity: whether a decoded portrait still shows the same person.

    python scripts/benchmarks/identity.py PORTRAITS... -o runs/identity --judge JUDGE
    python scripts/benchmarks/identity.py PORTRAITS... -o runs/fast --judge JUDGE --fast --bytes 110
    python scripts/benchmarks/identity.py PORTRAITS... -o runs/identity --sheet runs/before
    python scripts/benchmarks/identity.py PORTRAITS... -o runs/lighter --weights 0.1 0.15

PORTRAITS are aligned portraits of 1024 px, or folders of them. Each is encoded to files of at most
--bytes bytes, and by WebP and AVIF in at most --rivals bytes at the size in pixels with the best
identity. JUDGE is a folder with an identity.py, which is executed and contains a face recognition
network that no search optimises (docs/compare.md); without it, that column is empty. A killed run
continues where it stopped. Existing files in the folder (PORTRAIT_invcomp_BYTES.ivc) are only
measured, so that those of a GPU, or of another version with their images (.png), can be put there.
Writes results.jsonl, files, decoded images, likeness.csv (in the form of docs/results) and, with
--sheet and the folders of other runs, a sheet of all next to the originals.

"eyes and mouth" are LPIPS-VGG and PSNR of a square crop around them.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from PIL import Image, ImageDraw
from tables import formatted, write
from torch import Tensor

from invcomp.codec import Codec
from invcomp.conventional.codecs import LABELS
from invcomp.evaluation.codecs import best_within
from invcomp.evaluation.curves import Point
from invcomp.evaluation.judge import Judge
from invcomp.evaluation.metrics import Metrics, tensor_of
from invcomp.inversion.options import Goal, SearchOptions
from invcomp.lookup import load_bundle
from invcomp.perception.identity import Face

OURS, RIVALS = "invcomp", ("webp", "avif")
EXPRESSIVE = (287, 369, 737, 819)  # px of a portrait of 1024: a square around eyes and mouth
COLUMNS = (
    *("bytes", "lpips_alex", "lpips_vgg", "dists", "ms_ssim", "psnr"),
    *("expressive_vgg", "expressive_psnr", "identity", "judge"),
)


class Bench:
    """Compares decoded portraits with their originals."""

    def __init__(self, judge: Path | None) -> None:
        names = ["lpips_alex", "lpips_vgg", "dists", "ms_ssim", "psnr", "identity"]
        given = None if judge is None else Judge(judge)
        names += [] if given is None else ["judge"]
        self.metrics = Metrics("cpu", names, Face(), given)

    def __call__(self, original: Image.Image, decoded: Image.Image) -> dict[str, float]:
        pair = tensor_of(original), tensor_of(decoded)
        closer = [tensor_of(image.crop(EXPRESSIVE)) for image in (original, decoded)]
        return {
            **self.metrics.measure(*pair),
            "expressive_vgg": float(self.metrics.distances("lpips_vgg", *closer)),
            "expressive_psnr": float(self.metrics.distances("psnr", *closer)),
        }

    def identity(self, original: Image.Image, decoded: Tensor) -> float:
        return float(self.metrics.distances("identity", tensor_of(original), decoded))


def codec_of(model: str, weights: list[float] | None) -> Codec:
    """The codec of a model, with other weights of identity in its loss if they are given."""
    bundle = load_bundle(model)
    if weights is not None:
        face = replace(bundle.settings.face or Face(), dlib=weights[0], mobile=weights[1])
        bundle = replace(bundle, settings=replace(bundle.settings, face=face))
    return Codec(bundle)


def portraits_in(paths: list[Path]) -> list[Path]:
    """The images, and the .jpg files of the folders."""
    return [
        image
        for path in paths
        for image in (sorted(path.glob("*.jpg")) if path.is_dir() else [path])
    ]


def load(folder: Path) -> list[dict[str, Any]]:
    path = folder / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def table(rows: list[dict[str, Any]], version: str) -> list[dict[str, str]]:
    """The rows of docs/results/likeness.csv: means over the portraits, and the lowest judge."""
    names = [name for name in COLUMNS if all(name in row for row in rows)]
    groups = defaultdict(list)
    for row in rows:
        groups[row["codec"], row["goal"]].append(row)
    points = [
        Point(codec, 0, goal, 0.0, 0.0, {name: mean(row[name] for row in group) for name in names})
        for (codec, goal), group in sorted(groups.items())
    ]
    points = [replace(point, bytes=point.values["bytes"]) for point in points]
    found = []
    for point in sorted(points, key=lambda point: (OURS, *RIVALS).index(point.codec)):
        label = version if point.codec == OURS else f"{LABELS[point.codec]}, best size"
        values = dict(point.values)
        if "judge" in names:
            group = groups[point.codec, int(point.quality)]
            values["judge_lowest"] = min(row["judge"] for row in group)
        found.append({"version": label, **formatted(values)})
    return found


def sheet(paths: list[Path], folders: list[Path], sizes: list[int], side: int = 256) -> Image.Image:
    """One row per portrait: the original, and its images of every size in each folder."""
    columns = [(folder, size) for size in sizes for folder in folders]
    found = Image.new("RGB", (side * (1 + len(columns)), (side + 14) * len(paths)), "white")
    draw = ImageDraw.Draw(found)
    for line, path in enumerate(paths):
        shown = [(path, path.stem)]
        shown += [
            (f / f"{path.stem}_{OURS}_{size}.png", f"{f.name} {size} B") for f, size in columns
        ]
        for column, (image, caption) in enumerate(shown):
            place = column * side, line * (side + 14)
            if image.is_file():
                found.paste(Image.open(image).convert("RGB").resize((side, side)), place)
            draw.text((place[0] + 2, place[1] + side + 1), caption, fill="black")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path, nargs="+", help="images, or folders of .jpg files")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/identity"))
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--bytes", type=int, nargs="*", default=[110, 230, 700])
    parser.add_argument("--rivals", type=int, nargs="*", default=[250, 500, 1000])
    parser.add_argument("--model", default="faces-1024")
    parser.add_argument("--version", default="default search", help="its name in the table")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--iterations", "--steps", type=int)
    parser.add_argument("--no-detail", action="store_true", help="the vector alone")
    parser.add_argument(
        "--weights", type=float, nargs=2, metavar=("DLIB", "MOBILE"), help="of identity in the loss"
    )
    parser.add_argument("--sheet", type=Path, nargs="*", help="folders of other runs")
    arguments = parser.parse_args()
    output = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    paths = portraits_in(arguments.portraits)
    done = {(row["portrait"], row["codec"], row["goal"]) for row in load(output)}
    bench = Bench(arguments.judge)
    codec: Codec | None = None

    def keep(portrait: str, name: str, goal: int, original: Image.Image, **values: Any) -> None:
        image = Image.open(output / f"{portrait}_{name}_{goal}.png").convert("RGB")
        row = {"portrait": portrait, "codec": name, "goal": goal, **values}
        row |= bench(original, image)
        with (output / "results.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)

    for path in paths:
        original = Image.open(path).convert("RGB")
        for goal in arguments.bytes:
            if (path.stem, OURS, goal) in done:
                continue
            coded, decoded = (
                output / f"{path.stem}_{OURS}_{goal}.{kind}" for kind in ("ivc", "png")
            )
            known: dict[str, Any] = {}
            if not decoded.is_file():
                codec = codec or codec_of(arguments.model, arguments.weights)
                if not coded.is_file():
                    search = SearchOptions(
                        fast=arguments.fast,
                        iterations=arguments.iterations,
                        detail=not arguments.no_detail,
                    )
                    encoded = next(codec.encode([original], goal=Goal(bytes=goal), search=search))
                    coded.write_bytes(encoded.data)
                    known["seconds"] = encoded.seconds
                codec.decompress(coded.read_bytes()).save(decoded)
            keep(path.stem, OURS, goal, original, bytes=coded.stat().st_size, **known)
        for goal in arguments.rivals:
            missing = [name for name in RIVALS if (path.stem, name, goal) not in done]
            for best in best_within(
                original, lambda decoded, o=original: bench.identity(o, decoded), goal, missing
            ):
                best.decoded.save(output / f"{path.stem}_{best.codec}_{goal}.png")
                keep(path.stem, best.codec, goal, original, bytes=best.bytes, px=best.size)
    rows = load(output)
    write(output / "likeness.csv", table(rows, arguments.version))
    if arguments.sheet is not None:
        folders = [*arguments.sheet, output]
        sheet(paths, folders, arguments.bytes).save(output / "sheet.jpg", quality=90)


if __name__ == "__main__":
    main()
