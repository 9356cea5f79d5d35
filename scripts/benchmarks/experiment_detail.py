"""Compares details of other coded channels: what more of them, or a finer map, are worth.

    python scripts/benchmarks/experiment_detail.py PORTRAITS... -o runs/channels --judge JUDGE \
        --channels 16 8 --indices 124 140
    python scripts/benchmarks/experiment_detail.py PORTRAITS... -o runs/channels --judge JUDGE \
        --channels 16 16 --indices 124 140

Measures the --channels of the coarsest inner maps of faces-1024, encodes the portraits at the
--indices of the q_step, and prints the mean bytes and metrics. The entropy model is fitted to the
portraits themselves, so bytes are a little low, for every variant alike. A killed run continues
where it stopped. Writes results.jsonl (a line for each portrait) and means.csv in a folder for
each variant.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from identity import Bench
from PIL import Image

from invcomp.bundle import Bundle
from invcomp.codec import Codec
from invcomp.detail_preparation import MapMeasurement
from invcomp.entropy.density import q_step_of
from invcomp.entropy.detail_calibration import fit_detail
from invcomp.inversion.options import SearchOptions
from invcomp.latents.detail import Detail
from invcomp.latents.prior import prior_of
from invcomp.lookup import load_bundle
from invcomp.measurement import perceptual_features
from invcomp.preparation import PrepareOptions

MODEL, CPU = "faces-1024", torch.device("cpu")


def measured(bundle: Bundle, channels: list[int], checkpoint: Path) -> Detail:
    """A detail with these channels and a provisional entropy model."""
    options = PrepareOptions()
    prior, _ = prior_of(bundle.generator, options.prior_samples, options.tau, options.seed, CPU)
    features = perceptual_features(bundle.settings, bundle.resolution)
    measurement = MapMeasurement(
        *(bundle.generator, features, prior, options.draw_tau, options.seed, CPU), channels
    )
    found = measurement.run(checkpoint)
    assert found is not None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/channels"))
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 8])
    parser.add_argument("--indices", type=int, nargs="+", default=[124])
    parser.add_argument("--iterations", type=int, default=60)
    arguments = parser.parse_args()
    folder = arguments.output / "_".join(map(str, arguments.channels))
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / "results.jsonl"
    bundle = load_bundle(MODEL)
    detail = measured(bundle, arguments.channels, folder / "maps.draws")
    codec, bench = Codec(replace(bundle, detail=detail)), Bench(arguments.judge)
    search = SearchOptions(iterations=arguments.iterations)
    lines = results.read_text().splitlines() if results.is_file() else []
    rows = [json.loads(line) for line in lines]
    done = {(row["portrait"], row["index"]) for row in rows}
    for index in arguments.indices:
        for path in arguments.portraits:
            if (path.stem, index) in done:
                continue
            original = Image.open(path).convert("RGB")
            encoded = next(codec.encode([original], q_step=q_step_of(index), search=search))
            encoded.decoded.save(folder / f"{path.stem}_{index}.png")
            integers = codec.decoder.detail_of(codec.decoder.unpack(encoded.data))
            assert integers is not None
            np.save(folder / f"{path.stem}_{index}.npy", integers)
            written = len(detail.model.encode(integers, index))
            row = {"portrait": path.stem, "index": index, "rest": len(encoded.data) - written}
            rows.append({**row, **bench(original, encoded.decoded)})
            with results.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(rows[-1], flush=True)
    coded = [
        (row["index"], np.load(folder / f"{row['portrait']}_{row['index']}.npy")) for row in rows
    ]
    model = fit_detail(coded, detail.model)
    for row, (index, integers) in zip(rows, coded, strict=True):
        row["bytes"] = row["rest"] + len(model.encode(integers, index))
    with (folder / "means.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        names = [name for name in rows[0] if name not in ("portrait", "index", "rest")]
        table.writerow(["index", *names])
        for index in sorted({row["index"] for row in rows}):
            own = [row for row in rows if row["index"] == index]
            table.writerow([index, *(f"{mean(row[name] for row in own):.4g}" for name in names)])
    print((folder / "means.csv").read_text())


if __name__ == "__main__":
    main()
