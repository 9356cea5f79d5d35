"""Measures the gain of a mask: LPIPS inside the region with and without it, at equal bytes.

    python scripts/benchmarks/mask.py PORTRAITS/ -o runs/mask
    python scripts/benchmarks/mask.py PORTRAITS/ -o runs/mask --fast --first 4

Encodes the twelve portraits of faces.py to at most a given number of bytes, without a mask and with
`faces-oval`. LPIPS inside is the mean of its spatial map, at 256 px, over the white part of the
mask; the search minimises neither this nor that of LPIPS-VGG. A killed run continues where it
stopped. Writes results.jsonl, the files and region_of_interest.csv (in the form of docs/results) to
the folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

import lpips
import torch
import torch.nn.functional as F
from faces import TWELVE, load
from PIL import Image
from tables import write
from torch import Tensor

from invcomp.codec import Codec
from invcomp.evaluation.metrics import Metrics, tensor_of
from invcomp.inversion.options import Goal, SearchOptions
from invcomp.perception.features import RESOLUTION, seen_size
from invcomp.perception.lpips_network import Network, load_lpips
from invcomp.preprocessing.region import ELSEWHERE, FACES_OVAL, region

NETWORKS: tuple[Network, ...] = ("alex", "vgg")
WHERE = ("inside", "outside")
METRICS = ("lpips_alex", "lpips_vgg", "dists", "psnr")


class Inside:
    """LPIPS in a region and outside of it."""

    def __init__(self, network: Network, white: Tensor) -> None:
        self.lpips: Any = load_lpips(network)
        self.white = white

    @torch.inference_mode()
    def __call__(self, one: Tensor, other: Tensor) -> tuple[float, float]:
        """LPIPS inside and outside, for images [1, 3, H, W] in [0, 1]."""
        total = torch.zeros(1, 1, RESOLUTION, RESOLUTION)
        layers = [
            self.lpips.net(self.lpips.scaling_layer(seen_size(image) * 2 - 1))
            for image in (one, other)
        ]
        for head, x, y in zip(self.lpips.lins, *layers, strict=True):
            squares = (lpips.normalize_tensor(x) - lpips.normalize_tensor(y)).square()
            total += F.interpolate(head(squares), size=(RESOLUTION,) * 2, mode="bilinear")
        inside = float((total * self.white).sum() / self.white.sum())
        outside = float((total * (1 - self.white)).sum() / (1 - self.white).sum())
        return inside, outside


def table(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The rows of docs/results/region_of_interest.csv: without a mask, with it, and the change."""
    names = {"bytes": "bytes"}
    names |= {f"{net} {where}": f"{net}_{where}" for net in NETWORKS for where in WHERE}
    names |= {name: name for name in METRICS}
    none, oval = (
        {
            shown: mean(row[name] for row in rows if row["mask"] == mask)
            for name, shown in names.items()
        }
        for mask in ("none", "oval")
    )
    change = {n: f"{oval[n] / none[n] - 1:+.1%}" for n in none if n not in ("bytes", "psnr")}
    return [
        {"mask": "none", **_digits(none)},
        {"mask": FACES_OVAL, **_digits(oval)},
        {"mask": "change", **change},
    ]


def _digits(values: dict[str, float]) -> dict[str, str]:
    digits = {"bytes": 0, "psnr": 1}
    return {name: f"{value:.{digits.get(name, 4)}f}" for name, value in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/mask"))
    parser.add_argument("--bytes", type=int, default=200)
    parser.add_argument("--first", type=int, help="use only the first N portraits")
    parser.add_argument("--fast", action="store_true")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    results = arguments.output / "results.jsonl"
    done = {(row["portrait"], row["mask"]) for row in load(results)}
    codec = Codec.load("faces-1024", compiled=True)
    white = (region(FACES_OVAL, RESOLUTION) - ELSEWHERE) / (1 - ELSEWHERE)
    inside = {network: Inside(network, white) for network in NETWORKS}
    metrics = Metrics(names=METRICS)
    for name in TWELVE[: arguments.first]:
        with Image.open(arguments.portraits / f"{name}.jpg") as image:
            original = image.convert("RGB")
        for label, mask in (("none", None), ("oval", FACES_OVAL)):
            if (name, label) in done:
                continue
            options, goal = SearchOptions(fast=arguments.fast), Goal(bytes=arguments.bytes)
            encoded = next(codec.encode([original], goal=goal, mask=mask, search=options))
            (arguments.output / f"{name}_{label}.ivc").write_bytes(encoded.data)
            pair = tensor_of(original), tensor_of(encoded.decoded)
            row: dict[str, Any] = {"portrait": name, "mask": label, "bytes": len(encoded.data)}
            for network, measured in inside.items():
                row[f"{network} inside"], row[f"{network} outside"] = measured(*pair)
            row |= metrics.measure(*pair)
            with results.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)
    write(arguments.output / "region_of_interest.csv", table(load(results)))


if __name__ == "__main__":
    main()
