"""Compares a proxy's decoded images of real files with those of its large model.

    python scripts/benchmarks/proxy.py runs/faces/*_default.ivc -o runs/proxy
    python scripts/benchmarks/proxy.py FILE.ivc... -o runs/proxy --proxy mine-small.ivm

Metrics are computed at the proxy's size, to which the model's image is reduced. For scale, the same
metrics are given for the model's decoded image of the first 60 bytes. Prints means and extremes,
writes results.jsonl and a sheet of the first eight (model above, proxy below).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean

from PIL import Image

from invcomp.codec import Codec
from invcomp.evaluation.metrics import Metrics, tensor_of

NAMES = ("lpips_alex", "lpips_vgg", "dists")
FIRST_BYTES, PANEL, SHOWN = 60, 200, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/proxy"))
    parser.add_argument("--proxy", default="faces-128")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    small, metrics = Codec.load(arguments.proxy), Metrics(names=NAMES)
    large = Codec.for_file(arguments.files[0].read_bytes())
    pixels = (small.decoder.generator.resolution,) * 2
    sheet = Image.new("RGB", (min(len(arguments.files), SHOWN) * PANEL, 2 * PANEL))
    rows = []
    for column, path in enumerate(arguments.files):
        data = path.read_bytes()
        own = large.decompress(data).resize(pixels, Image.Resampling.BOX)
        few = large.decompress(data, first_bytes=FIRST_BYTES).resize(pixels, Image.Resampling.BOX)
        proxy = small.decompress(data)
        row: dict[str, str | float] = {"file": str(path)}
        for name in NAMES:
            for label, image in (("proxy", proxy), ("first bytes", few)):
                distance = metrics.distances(name, tensor_of(own), tensor_of(image))
                row[f"{name} of {label}"] = float(distance)
        rows.append(row)
        with (arguments.output / "results.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        for line, image in enumerate((own, proxy)):
            sheet.paste(image.resize((PANEL, PANEL)), (column * PANEL, line * PANEL))
    sheet.save(arguments.output / "proxy.png")
    print("| distance from the model's image | mean | least | most |\n|---|---|---|---|")
    for column_name in list(rows[0])[1:]:
        values = [float(row[column_name]) for row in rows]
        print(f"| {column_name} | {mean(values):.3f} | {min(values):.3f} | {max(values):.3f} |")


if __name__ == "__main__":
    main()
