"""Measures rate control on real portraits: hit rate, fill and time.

    python scripts/benchmarks/rate.py PORTRAITS/ -o runs/rate
    python scripts/benchmarks/rate.py PORTRAITS/ -o runs/rate --lpips 0.06 0.08 0.1
    python scripts/benchmarks/rate.py PORTRAITS/ -o runs/rate --all --fast

Encodes the twelve portraits of benchmarks/faces.py at every size in bytes (and every given LPIPS),
and once at the default quality to measure its time. A killed run continues where it stopped. Writes
results.jsonl, the files and rate_control.csv (in the form of docs/results) to the folder.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from faces import TWELVE, load
from PIL import Image
from tables import write

from invcomp.codec import Codec
from invcomp.errors import GoalError
from invcomp.inversion.options import Goal, SearchOptions
from invcomp.inversion.quantiser import FILL

SIZES = (64, 100, 150, 200, 400, 1000)
FIXED = "fixed step"


def bench(
    codec: Codec, path: Path, goal: Goal | None, label: str, options: SearchOptions, out: Path
) -> dict[str, Any]:
    row: dict[str, Any] = {"portrait": path.stem, "label": label}
    with Image.open(path) as image:
        original = image.convert("RGB")
    try:
        encoded = next(codec.encode([original], goal=goal, search=options))
    except GoalError as error:
        return row | {"error": str(error)}
    name = label.replace(" ", "_")
    (out / f"{path.stem}_{name}.ivc").write_bytes(encoded.data)
    return row | {
        "bytes": len(encoded.data),
        "limit": encoded.limit,
        "fill": encoded.fill,
        "step_index": encoded.data[7],
        "steps": options.iterations_at(encoded.data[7]),
        "lpips": encoded.lpips,
        "psnr": encoded.psnr,
        "seconds": encoded.seconds,
    }


def table(rows: list[dict[str, Any]]) -> list[dict[str, object]]:
    """The rows of docs/results/rate_control.csv; times are for portraits with a fixed-step run.

    That run's time is scaled to the iterations of a run with the file's own q_step.
    """
    groups = defaultdict(list)
    for row in rows:
        groups[row["label"]].append(row)
    fixed = {row["portrait"]: row["seconds"] / row["steps"] for row in groups.pop(FIXED, [])}
    found: list[dict[str, object]] = []
    for label, group in groups.items():
        done = [row for row in group if "error" not in row]
        limited = [row for row in done if row["limit"] is not None]
        hit = [row for row in limited if FILL * row["limit"] <= row["bytes"] <= row["limit"]]
        timed = [row for row in done if row["portrait"] in fixed]
        line: dict[str, object] = {
            "goal": label,
            "portraits": len(group),
            "hit": len(hit if limited else done),
            "too_large": sum(row["bytes"] > row["limit"] for row in limited),
        }
        if done:
            line["bytes"] = f"{mean(row['bytes'] for row in done):.1f}"
            line["fill"] = f"{mean(row['fill'] for row in limited):.1%}" if limited else ""
            line["lpips_alex"] = f"{mean(row['lpips'] for row in done):.3f}"
        if timed:
            expected = sum(row["steps"] * fixed[row["portrait"]] for row in timed)
            line["times"] = f"{sum(row['seconds'] for row in timed) / expected:.2f}"
        found.append(line)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/rate"))
    parser.add_argument("--model", default="faces-1024")
    parser.add_argument("--bytes", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--lpips", type=float, nargs="*", default=[])
    parser.add_argument("--first", type=int, help="only so many of the portraits")
    parser.add_argument("--all", action="store_true", help="every portrait, not only the twelve")
    parser.add_argument("--iterations", "--steps", type=int)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    results = arguments.output / "results.jsonl"
    every = sorted(path.stem for path in arguments.portraits.glob("*.jpg"))
    names = (every if arguments.all else TWELVE)[: arguments.first]
    goals: dict[str, Goal | None] = {FIXED: None}
    goals |= {f"{size} bytes": Goal(bytes=size) for size in arguments.bytes}
    goals |= {f"LPIPS {distance:g}": Goal(lpips=distance) for distance in arguments.lpips}
    done = {(row["portrait"], row["label"]) for row in load(results)}
    left = [(name, label) for name in names for label in goals if (name, label) not in done]
    codec = Codec.load(arguments.model, compiled=not arguments.no_compile)
    options = SearchOptions(iterations=arguments.iterations, fast=arguments.fast)
    if left:  # one-time compiling and reading must not count for the first portrait
        short = replace(options, iterations=2, starts=1)
        with Image.open(arguments.portraits / f"{names[0]}.jpg") as image:
            next(codec.encode([image.convert("RGB")], search=short))
    for name, label in left:
        path = arguments.portraits / f"{name}.jpg"
        row = bench(codec, path, goals[label], label, options, arguments.output)
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)
    rows = load(results)
    write(arguments.output / "rate_control.csv", table(rows))
    for row in rows:
        if "error" in row:
            print(f"{row['portrait']}, {row['label']}: {row['error']}")


if __name__ == "__main__":
    main()
