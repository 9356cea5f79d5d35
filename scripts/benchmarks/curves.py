"""Curves of every metric over bytes, from 50 to 8,000: our files of given sizes, and other codecs.

    python scripts/benchmarks/identity.py PORTRAITS... -o runs/identity --judge JUDGE --rivals
    python scripts/benchmarks/curves.py PORTRAITS... -o runs/curves --judge JUDGE \
        --ours runs/identity

PORTRAITS are those that identity.py has encoded (to its --bytes), aligned and of 1024 px. --codecs,
by default AVIF, WebP, JPEG XL and HEIC, encode each of them to at most --bytes bytes, in the
largest four sizes in pixels that fit. A codec's curve is the lower hull of its means, for each
metric by itself, so every metric chooses its own best sizes. JUDGE: see identity.py. A killed run
continues where it stopped.
Writes results.jsonl, curves.csv (means of our files), equal.csv (in the form of docs/results: what
the best codec needs for an equal mean, for every metric), crossings.csv (from which size on another
codec is better), and plots.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

from identity import COLUMNS, load, portraits_in
from PIL import Image
from tables import formatted, write

from invcomp.conventional.codecs import LABELS, Reduced, finest_within
from invcomp.evaluation.codecs import SIZES, SMALL_SIZES, available_codecs
from invcomp.evaluation.curves import METRIC_NAMES, OURS, Point, mean_points
from invcomp.evaluation.judge import Judge
from invcomp.evaluation.metrics import Metrics, tensor_of
from invcomp.evaluation.plots import write_plots
from invcomp.evaluation.report import Report
from invcomp.evaluation.results import Measured
from invcomp.perception.identity import Face

CODECS = ("avif", "webp", "jxl", "heic")
LARGEST = 4  # sizes in pixels to measure for each limit
TITLES = {**METRIC_NAMES, "psnr": "PSNR", "identity": "identity (dlib)", "judge": "judge"}
NAMES = ("lpips_alex", "lpips_vgg", "dists", "ms_ssim", "psnr", "identity", "judge")


Group = tuple[str, str, float]  # the files of a portrait, a codec and a limit


def group_of(file: Measured) -> Group:
    return file.image, file.codec, file.quality


def measured(
    path: Path, limits: list[int], codecs: list[str], metrics: Metrics, done: list[Measured]
) -> Iterator[Measured]:
    """Conventional files of a portrait that are not done yet; only the last group may lack some."""
    keys = {str(file.key) for file in done}
    whole = {*map(group_of, done)} - {*map(group_of, done[-1:])}
    original = Image.open(path).convert("RGB")
    reference = metrics.of(tensor_of(original))
    for codec in available_codecs(codecs):
        sizes = [Reduced(codec, original, size) for size in (*SMALL_SIZES, *SIZES)]
        for limit in limits:
            if (path.stem, codec, limit) in whole:
                continue
            for reduced, quality in list(finest_within(sizes, limit))[-LARGEST:]:
                row = Measured(
                    *(path.stem, "", codec, reduced.size, limit, reduced.length(quality), 0.0, {})
                )
                if str(row.key) in keys:
                    continue
                row.values.update(reference.measure(tensor_of(reduced.decode(quality))))
                yield row


def ours(folders: list[Path], portraits: set[str], names: list[str]) -> Iterator[Measured]:
    """Our files that identity.py has measured."""
    for row in (row for folder in folders for row in load(folder)):
        if row["codec"] == OURS and row["portrait"] in portraits:
            values = {name: row[name] for name in names}
            yield Measured(
                *(row["portrait"], "", OURS, 1024, row["goal"], row["bytes"], 0.0, values)
            )


def report_of(files: list[Measured], portraits: int) -> Report:
    """Of the settings that all portraits have."""
    counts: dict[tuple[str, int, float], int] = {}
    for file in files:
        setting = file.codec, file.size, file.quality
        counts[setting] = counts.get(setting, 0) + 1
    common = [file for file in files if counts[file.codec, file.size, file.quality] == portraits]
    points = sorted(
        mean_points(common, {}), key=lambda point: ((OURS, *CODECS).index(point.codec), point.bytes)
    )
    return Report({}, 1024, common, points, None)


def equal(report: Report) -> Iterator[dict[str, str]]:
    """What other codecs need at each of our points; `times` is of the best of them."""
    for point in report.of(OURS):
        for metric in report.metrics:
            needed = {
                match.codec: match.bytes
                for match in report.matches
                if match.ours == point and match.metric == metric and match.bytes is not None
            }
            row = {"bytes": f"{point.bytes:.0f}", "metric": TITLES[metric]}
            row |= {codec: f"{size:.0f}" for codec, size in needed.items()}
            if needed:
                best = min(needed, key=lambda codec: needed[codec])
                row |= {"best": LABELS[best], "best_bytes": row[best]}
                row |= formatted({"times": needed[best] / point.bytes})
            yield row


def crossing(report: Report, metric: str) -> float | None:
    """Bytes from which on the best codec has a better mean than we; None: nowhere."""
    curve = report.curves[metric][OURS]
    ratios = []
    for point in curve:
        needed = [
            match.bytes
            for match in report.matches
            if match.ours == point and match.metric == metric and match.bytes is not None
        ]
        ratios.append(min(needed, default=float("inf")) / point.bytes)
    for (left, before), (right, after) in pairwise(zip(curve, ratios, strict=True)):
        if before > 1 >= after:
            part = 0.0 if before == float("inf") else (before - 1) / (before - after)
            return left.bytes + part * (right.bytes - left.bytes)
    return curve[0].bytes if ratios[0] <= 1 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path, nargs="+", help="images, or folders of .jpg files")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/curves"))
    parser.add_argument("--ours", type=Path, nargs="*", default=[], help="folders of identity.py")
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--bytes", type=int, nargs="+", default=[250, 500, 1000, 2000, 4000, 8000])
    parser.add_argument("--codecs", choices=CODECS, nargs="+", default=CODECS)
    arguments = parser.parse_args()
    output = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    paths = portraits_in(arguments.portraits)
    names = [name for name in NAMES if name != "judge" or arguments.judge is not None]
    given = None if arguments.judge is None else Judge(arguments.judge)
    metrics = Metrics("cpu", names, Face(), given)
    files = [Measured(**row) for row in load(output)]
    done = [*files]
    for path in paths:
        for row in measured(path, arguments.bytes, arguments.codecs, metrics, done):
            files.append(row)
            with (output / "results.jsonl").open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")
            print(row.image, row.codec, row.size, row.bytes, flush=True)
    portraits = {path.stem for path in paths}
    files = [file for file in files if file.image in portraits]
    report = report_of([*ours(arguments.ours, portraits, names), *files], len(portraits))
    if not report.of(OURS):
        return
    write(output / "curves.csv", map(_row, report.of(OURS)))
    write(output / "equal.csv", equal(report))
    crossings = {metric: crossing(report, metric) for metric in report.metrics}
    write(
        output / "crossings.csv",
        [
            {"metric": TITLES[metric], "bytes": size and f"{size:.0f}"}
            for metric, size in crossings.items()
        ],
    )
    write_plots(report, output)


def _row(point: Point) -> dict[str, str]:
    values = {"bytes": point.bytes, **point.values}
    return formatted({name: values[name] for name in COLUMNS if name in values})


if __name__ == "__main__":
    main()
