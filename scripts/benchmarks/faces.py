"""Benchmarks faces-1024 on real portraits against AVIF, WebP and JPEG.

    python scripts/benchmarks/faces.py PORTRAITS/ -o runs/faces      # the twelve, about 90 minutes
    python scripts/benchmarks/faces.py PORTRAITS/ -o runs/faces --all      # every .jpg file
    python scripts/benchmarks/faces.py PORTRAITS/ -o runs/faces --uncalibrated   # 28 of the forty
    python scripts/benchmarks/faces.py PORTRAITS/ -o runs/faces --only report --against runs/first

For every portrait and q_step: our file with time, LPIPS-Alex, LPIPS-VGG, DISTS, MS-SSIM and PSNR;
the smallest conventional file with the same LPIPS-Alex, and with the same LPIPS-VGG. A killed run
continues where it stopped. Writes results.jsonl, faces.csv (in the form of docs/results), an image
and what conventional codecs need (benchmark.md) to the folder. --against takes the folder of a run
with another version, and writes BD-rates against it over the portraits of both to against.csv.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from itertools import chain
from pathlib import Path
from statistics import mean, median
from typing import Any

from PIL import Image, ImageDraw
from tables import formatted, write

from invcomp.bitstream import IvcFile, decode
from invcomp.codec import Codec
from invcomp.evaluation.bd_rate import bd_rate
from invcomp.evaluation.codecs import smallest_reaching
from invcomp.evaluation.curves import OURS, Point, hull
from invcomp.evaluation.metrics import NAMES, Metrics, tensor_of
from invcomp.inversion.options import SearchOptions

# Six studio and six official portraits; neither the priors nor any option were calibrated or
# chosen on them.
# The two kinds alternate, so that an interrupted run covers both equally.
TWELVE = [
    name
    for gov, london in zip((2, 5, 8, 11, 14, 17), (8, 62, 94, 120, 131, 143), strict=True)
    for name in (f"gov_{gov:02d}", f"london_{london:03d}")
]
# by kind: portraits that priors and qualities were calibrated on
CALIBRATION: dict[str, list[str]] = json.loads(
    (Path(__file__).resolve().parents[1] / "calibration.json").read_text()
)
QUALITIES = {"default": 45, "small": 35, "fine": 60, "finest": 70}
BD_METRICS = ("lpips_alex", "lpips_vgg", "dists", "psnr")  # by MS-SSIM the versions share no range
CODEC_METRICS = ("lpips_alex", "lpips_vgg")


def bench_ours(
    codec: Codec,
    metrics: Metrics,
    path: Path,
    label: str,
    quality: int,
    out: Path,
    search: SearchOptions,
) -> dict[str, Any]:
    original = Image.open(path).convert("RGB")
    encoded = next(codec.encode([original], quality=quality, search=search))
    started = time.perf_counter()
    decoded = codec.decompress(encoded.data)
    decode_seconds = time.perf_counter() - started
    decoded.save(out / f"{path.stem}_{label}.png")
    (out / f"{path.stem}_{label}.ivc").write_bytes(encoded.data)
    file = IvcFile.unpack(encoded.data)
    integers = decode(file, codec.bundle.entropy).integers
    return {
        "portrait": path.stem,
        "label": label,
        "quality": quality,
        "bytes": len(encoded.data),
        "payload": sum(map(len, file.payloads)),
        "ideal": float(codec.bundle.entropy.code_length(integers, file.step_index).sum() / 8),
        "encode_seconds": encoded.seconds,
        "decode_seconds": decode_seconds,
        **metrics.measure(tensor_of(original), tensor_of(decoded)),
    }


def bench_conventional(
    metrics: Metrics, path: Path, ours: dict[str, Any], metric: str
) -> dict[str, Any]:
    original = Image.open(path).convert("RGB")
    pixels = tensor_of(original)
    found = smallest_reaching(
        original, lambda decoded: float(metrics.distances(metric, pixels, decoded)), ours[metric]
    )
    results = [result.as_json() for result in found]
    return {"portrait": path.stem, "label": ours["label"], "equal": metric, "codecs": results}


def load(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Means over the portraits by quality, as rows of a table."""
    by_label = defaultdict(list)
    for row in rows:
        if "equal" not in row:
            by_label[row["label"]].append(row)
    found = []
    for label, group in by_label.items():
        values = {name: mean(row[name] for row in group) for name in ("bytes", *NAMES)}
        values["seconds"] = median(row["encode_seconds"] for row in group)
        quality = group[0].get("quality", QUALITIES[label])
        found.append({"quality": f"{quality:g}", **formatted(values)})
    return sorted(found, key=lambda row: float(row["quality"]))


def report(rows: list[dict[str, Any]]) -> str:
    """What entropy coding adds, and what conventional codecs need, as Markdown."""
    ours = [row for row in rows if "equal" not in row]
    others = {
        (row["portrait"], row["label"], row["equal"]): min(r["bytes"] for r in row["codecs"])
        for row in rows
        if row.get("codecs")
    }
    by_label = defaultdict(list)
    for row in ours:
        by_label[row["label"]].append(row)
    worst = max(row["payload"] - row["ideal"] * 1.03 for row in ours)
    lines = [
        f"Payload over 1.03 times the ideal code length: at most {worst:.2f} B in any file.",
        "",
    ]
    for name in CODEC_METRICS:
        lines += [
            f"Best of AVIF, WebP and JPEG at equal {name}:",
            "",
            "| step | ours, B | best conventional, B | times (mean) | times (least) |",
            "|---|---|---|---|---|",
        ]
        for label, group in by_label.items():
            pairs = [
                (row["bytes"], others[key])
                for row in group
                if (key := (row["portrait"], label, name)) in others
            ]
            if pairs:
                factors = [theirs / our for our, theirs in pairs]
                lines.append(
                    f"| {label} | {mean(p[0] for p in pairs):.0f} | "
                    f"{mean(p[1] for p in pairs):.0f} | {mean(factors):.1f} | "
                    f"{min(factors):.1f} |"
                )
        lines.append("")
    return "\n".join(lines)


def compare_versions(
    rows: list[dict[str, Any]], others: list[dict[str, Any]], portraits: set[str]
) -> dict[str, str]:
    """Bytes of one version against another's at equal distortion, by metric."""

    def points(rows: list[dict[str, Any]]) -> list[Point]:
        groups = defaultdict(list)
        for row in rows:
            if "equal" not in row and row["portrait"] in portraits:
                groups[row["label"]].append(row)
        return [
            Point(OURS, 1024, 0, mean(row["bytes"] for row in group), 0, means(group))
            for group in groups.values()
            if len(group) == len(portraits)
        ]

    def means(group: list[dict[str, Any]]) -> dict[str, float]:
        return {name: mean(row[name] for row in group) for name in NAMES}

    found = points(rows), points(others)
    rates = {name: bd_rate(*(hull(each, name) for each in found), name) for name in BD_METRICS}
    return {
        name: rate.reason if rate.percent is None else f"{rate.percent:+.0f}%"
        for name, rate in rates.items()
    }


def image(
    folder: Path, portraits: list[Path], rows: list[dict[str, Any]], size: int = 256
) -> Image.Image:
    """One row per portrait: original and our decoded images, with bytes and LPIPS below."""
    found = {(row["portrait"], row["label"]): row for row in rows if "equal" not in row}
    sheet = Image.new("RGB", (size * (1 + len(QUALITIES)), (size + 16) * len(portraits)), "white")
    draw = ImageDraw.Draw(sheet)
    for line, path in enumerate(portraits):
        top = line * (size + 16)
        sheet.paste(Image.open(path).convert("RGB").resize((size, size)), (0, top))
        draw.text((4, top + size + 2), path.stem, fill="black")
        for column, label in enumerate(QUALITIES, 1):
            if (row := found.get((path.stem, label))) is None:
                continue
            shown = Image.open(folder / f"{path.stem}_{label}.png").resize((size, size))
            sheet.paste(shown, (column * size, top))
            draw.text(
                (column * size + 4, top + size + 2),
                f"{row['bytes']} B   LPIPS {row['lpips_alex']:.3f}",
                fill="black",
            )
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/faces"))
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="all portraits, not only the twelve")
    which.add_argument(
        "--uncalibrated", action="store_true", help="all portraits that nothing was calibrated on"
    )
    parser.add_argument("--first", type=int, help="use only the first N portraits")
    parser.add_argument("--labels", nargs="+", choices=QUALITIES, default=list(QUALITIES))
    parser.add_argument("--quality", type=int, help="quality to use for the one given label")
    parser.add_argument("--only", choices=["ours", "conventional", "report"])
    parser.add_argument("--no-encoder", action="store_true", help="from the mean, two starts")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument(
        "--iterations", "--steps", type=int, help="for every quality; else fine ones get more"
    )
    parser.add_argument("--against", type=Path, help="a folder, for BD-rates")
    arguments = parser.parse_args()
    if arguments.quality is not None and len(arguments.labels) != 1:
        parser.error("--quality needs exactly one label in --labels")
    arguments.output.mkdir(parents=True, exist_ok=True)
    results = arguments.output / "results.jsonl"
    names = TWELVE
    if arguments.all or arguments.uncalibrated:
        left_out = [*chain(*CALIBRATION.values())] if arguments.uncalibrated else []
        every = {path.stem for path in arguments.portraits.glob("*.jpg")}
        names = sorted(every.difference(left_out))
    paths = [arguments.portraits / f"{name}.jpg" for name in names[: arguments.first]]
    metrics = Metrics()
    search = SearchOptions(
        iterations=arguments.iterations, fast=arguments.fast, use_encoder=not arguments.no_encoder
    )

    def keep(row: dict[str, Any]) -> None:
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)

    if arguments.only in (None, "ours"):
        codec = Codec.load("faces-1024", compiled=True)
        done = {(r["portrait"], r["label"]) for r in load(results) if "equal" not in r}
        for label in arguments.labels:
            for path in paths:
                if (path.stem, label) not in done:
                    quality = QUALITIES[label] if arguments.quality is None else arguments.quality
                    keep(bench_ours(codec, metrics, path, label, quality, arguments.output, search))
    if arguments.only in (None, "conventional"):
        done = {(r["portrait"], r["label"], r["equal"]) for r in load(results) if "equal" in r}
        for metric in CODEC_METRICS:
            for row in load(results):
                path = arguments.portraits / f"{row['portrait']}.jpg"
                key = (row["portrait"], row.get("label"), metric)
                wanted = row.get("label") in arguments.labels and path in paths
                if "equal" not in row and key not in done and wanted:
                    keep(bench_conventional(metrics, path, row, metric))
    rows = load(results)
    write(arguments.output / "faces.csv", table(rows))
    if arguments.against:
        others = load(arguments.against / "results.jsonl")
        both = {row["portrait"] for row in rows} & {row["portrait"] for row in others}
        kinds = {"all {}": "", "the {} official ones": "gov_", "the {} studio ones": "london_"}
        groups = {label: {p for p in both if p.startswith(kind)} for label, kind in kinds.items()}
        rates = [
            {"portraits": label.format(len(group)), **compare_versions(rows, others, group)}
            for label, group in groups.items()
            if group
        ]
        write(arguments.output / "against.csv", rates)
    (arguments.output / "benchmark.md").write_text(report(rows))
    image(arguments.output, paths, rows).save(arguments.output / "portraits.jpg", quality=88)
    print((arguments.output / "benchmark.md").read_text())


if __name__ == "__main__":
    main()
