"""Makes tables of docs/results from the report of `invcomp compare`.

    python scripts/benchmarks/report_tables.py report/ -o tables/

Writes points.csv (means of our files), equal.csv (what each codec needs for an equal value) and
bd_rate.csv.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from tables import formatted, write

from invcomp.evaluation.curves import METRIC_NAMES, NAMES, OURS

METRICS = ("lpips_alex", "lpips_vgg", "dists", "ms_ssim", "psnr", "kid")
EQUAL = ("lpips_alex", "lpips_vgg", "dists")

Rows = list[dict[str, str]]


def read(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def means(points: Rows) -> Rows:
    """Our points."""
    names = [name for name in ("bytes", *METRICS, "seconds") if name in points[0]]
    return [
        {"quality": f"{float(row['quality']):g}", **formatted({n: float(row[n]) for n in names})}
        for row in points
        if row["codec"] == OURS
    ]


def equal(matches: Rows) -> Rows:
    """Bytes of every codec by point of ours and metric."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in matches:
        if row["metric"] in EQUAL and row["codec_bytes"]:
            codecs = found.setdefault((row["bytes"], row["metric"]), {})
            codecs[row["codec"]] = float(row["codec_bytes"])
    return [
        {
            **formatted({"bytes": float(ours)}),
            "metric": METRIC_NAMES[metric],
            **formatted({**codecs, "times": min(codecs.values()) / float(ours)}),
        }
        for (ours, metric), codecs in found.items()
    ]


def bd_rates(rates: Rows) -> Rows:
    """Percent by codec and metric, with the part of our curve if it is not all."""
    found: dict[str, dict[str, str]] = {}
    for row in rates:
        if row["metric"] not in METRICS:
            continue
        cell = row["reason"]
        if row["percent"]:
            overlap = f"{float(row['overlap']):.0%}"
            part = "" if overlap == "100%" else f" (over {overlap})"
            cell = f"{float(row['percent']):+.1f}%{part}"
        found.setdefault(row["codec"], {"codec": NAMES[row["codec"]]})[row["metric"]] = cell
    return list(found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    write(arguments.output / "points.csv", means(read(arguments.report / "points.csv")))
    write(arguments.output / "equal.csv", equal(read(arguments.report / "equal.csv")))
    write(arguments.output / "bd_rate.csv", bd_rates(read(arguments.report / "bd_rate.csv")))


if __name__ == "__main__":
    main()
