"""Compares search options on the same portraits, in one run.

    python scripts/benchmarks/experiment_search.py a.jpg b.jpg -o runs/starts -v "" -v starts=4
    python scripts/benchmarks/experiment_search.py a.jpg -o runs/t -v "" -v model=t.ivm,iterations=9

Each -v is a variant: comma-separated fields of SearchOptions, `quality`, and `model` (a name, or a
bundle file of `invcomp prepare`); an empty one is the default. Writes results.jsonl, a table and an
image (one row per portrait, one column per variant) and prints the table.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path
from statistics import mean
from typing import Any

from PIL import Image, ImageDraw

from invcomp.codec import Codec
from invcomp.evaluation.metrics import NAMES, Metrics, tensor_of
from invcomp.inversion.options import SearchOptions

COLUMNS = ("bytes", *NAMES, "seconds")
PANEL = 256
READ: dict[str, Any] = {"int": int, "float": float, "bool": lambda text: text == "yes"}


def parse_variant(text: str) -> tuple[str, float | None, SearchOptions]:
    """Model, quality and search options of "key=value,key=value"."""
    given = dict(part.split("=", 1) for part in text.split(",") if part)
    model = given.pop("model", "faces-1024")
    quality = float(given.pop("quality")) if "quality" in given else None
    kinds = {field.name: str(field.type).removesuffix(" | None") for field in fields(SearchOptions)}
    read = {key: READ[kinds[key]](text) for key, text in given.items()}
    return model, quality, SearchOptions(**read)


def run(
    variant: str, portraits: list[Path], metrics: Metrics, sheet: Image.Image, column: int
) -> list[dict[str, Any]]:
    """Runs one variant on all portraits and adds its images to the sheet."""
    model, quality, options = parse_variant(variant)
    codec = Codec.load(model)
    rows = []
    for line, path in enumerate(portraits):
        original = Image.open(path).convert("RGB")
        encoded = next(codec.encode([original], quality=quality, search=options))
        decoded = encoded.decoded.resize(original.size, Image.Resampling.LANCZOS)
        measured = metrics.measure(tensor_of(original), tensor_of(decoded))
        rows.append({"variant": variant, "portrait": path.stem, "bytes": len(encoded.data),
                     **measured, "seconds": encoded.seconds})  # fmt: skip
        print(rows[-1], flush=True)
        top = line * (PANEL + 16)
        sheet.paste(original.resize((PANEL, PANEL)), (0, top))
        sheet.paste(encoded.decoded.resize((PANEL, PANEL)), (column * PANEL, top))
        label = f"{variant or 'default'}: {len(encoded.data)} B, VGG {measured['lpips_vgg']:.3f}"
        ImageDraw.Draw(sheet).text((column * PANEL + 2, top + PANEL + 2), label, fill="black")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("-v", "--variant", action="append", required=True)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    metrics, count = Metrics(), len(arguments.variant)
    size = ((1 + count) * PANEL, len(arguments.portraits) * (PANEL + 16))
    sheet = Image.new("RGB", size, "white")
    lines = [f"| variant | {' | '.join(COLUMNS)} |", "|---" * (1 + len(COLUMNS)) + "|"]
    for column, variant in enumerate(arguments.variant, 1):
        rows = run(variant, arguments.portraits, metrics, sheet, column)
        with (arguments.output / "results.jsonl").open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        means = [f"{mean(row[key] for row in rows):.4g}" for key in COLUMNS]
        lines.append(f"| {variant or 'default'} | {' | '.join(means)} |")
        sheet.save(arguments.output / "images.jpg", quality=90)
        (arguments.output / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
