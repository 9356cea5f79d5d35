"""Measures what an image costs whose coordinates are searched around those of an earlier one.

    python scripts/benchmarks/near_duplicates.py FIRST/ SECOND/ NAME... [--kinds pair moved]

FIRST and SECOND are folders of portraits; NAME.jpg in both is the same person. For the kinds other
than "pair", the second image is made from the first: stored again as JPEG, and also moved by some
px or brightened. It is searched in three ways: as ever; from the first's coordinates ("started");
and from there by a mixture of the bundle's prior and narrower ones around them ("near"). Searches
are short (--iterations), without detail. Bytes are ideal code lengths of coordinates.

A killed run continues where it stopped, and runs add up: results.jsonl in the folder has a line for
each search. Prints means and ranges over all of them: bytes by the prior and by the mixture, what
the mixture saves of the ordinary search's at equal LPIPS-VGG ("coarser" files, of a larger q_step,
say what that costs), and the metrics, those of the first image's own file ("copied") too.
"""

from __future__ import annotations

import argparse
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from invcomp.bitstream import IvcFile, decode
from invcomp.codec import Codec
from invcomp.entropy.density import FLOOR, MixtureDensity, probability, q_step_of
from invcomp.entropy.mixture import LaplaceMixture
from invcomp.evaluation.metrics import Metrics
from invcomp.fitting import Fitted
from invcomp.inversion.options import SearchOptions
from invcomp.preprocessing.frame import from_tensor, to_tensor

METRICS = ("lpips_alex", "lpips_vgg", "dists")
COARSER = 8  # step indices
# parts of the mixture: share of the earlier coordinates, and log2 of the scale in sixteenths
PARTS = ((0.0, 0), (0.5, -10), (1.0, -4), (1.0, -12), (1.0, -24), (1.0, -48))
PAIR, BURST = (0.05, 0.12, 0.2, 0.4, 0.2, 0.03), (0.05, 0.05, 0.05, 0.2, 0.3, 0.35)  # weights
KINDS = ("pair", "same", "moved", "brighter")
WAYS = ("ordinary", "near", "started", "coarser")


class Near(MixtureDensity):
    """The bundle's prior, mixed with narrower ones around coordinates of another image, [K]."""

    def __init__(self, mixture: LaplaceMixture, earlier: Tensor, weights: Any) -> None:
        super().__init__(mixture)
        self.earlier, self.weights = earlier, torch.tensor(weights)

    def bits(self, scaled: Tensor, step_indices: Any) -> Tensor:
        """See `Density`."""
        rows = zip(scaled, step_indices, strict=True)
        return -(torch.stack([self._mass(*row) for row in rows]) + FLOOR).log2()

    def _mass(self, scaled: Tensor, step_index: int) -> Tensor:
        """Probability of each of one image's coordinates, [k]."""
        ratios = self.ratios(step_index)[: len(scaled)]
        earlier = self.earlier[: len(scaled)] / q_step_of(step_index)
        found = [
            probability(scaled - (share * earlier).round(), ratios * 2 ** (shift / 16), self.shape)
            for share, shift in PARTS
        ]
        return self.weights @ torch.stack(found)


class Bench:
    """Searches images, once each, and measures what they decode to."""

    def __init__(self, folder: Path, quality: float, iterations: int) -> None:
        self.codec = Codec.load("faces-1024", "cpu", compiled=False)
        self.index = self.codec.encoder.step_index(quality)
        self.options = SearchOptions(fast=True, iterations=iterations, detail=False)
        self.search = self.codec.encoder.searcher(self.options, 1)  # that `encode` uses too
        self.plain, self.predict = self.search.density, self.search.predict
        self.metrics = Metrics("cpu", METRICS)
        folder.mkdir(parents=True, exist_ok=True)
        self.record = folder / "results.jsonl"
        self.record.touch()
        rows = map(json.loads, self.record.read_text().splitlines())
        self.rows: dict[str, dict[str, Any]] = {row["name"]: row for row in rows}

    def file(self, name: str, image: Fitted, way: str = "", near: Near | None = None) -> None:
        """Searches for a file, by default in the ordinary way."""
        if name in self.rows:
            return
        if near and way == "near":
            self.search.density = near
        if near and way in ("near", "started"):
            self.search.predict = lambda images: near.earlier[None]  # type: ignore[method-assign]
        step = self.index - COARSER * (way == "coarser")
        encoded = next(self.codec.encode([image], q_step=q_step_of(step), search=self.options))
        self.search.density = self.plain
        self.search.predict = self.predict  # type: ignore[method-assign]
        self.keep(name, image, encoded.decoded, step=step, data=encoded.data.hex())

    def keep(self, name: str, image: Fitted, decoded: Image.Image, **kept: Any) -> None:
        """Records an image's metrics, and what else is known of it."""
        shown = to_tensor(decoded.convert("RGB"))
        found = self.metrics.measure((image.tensor + 1) / 2, (shown + 1) / 2)
        print(name, found, flush=True)
        self.rows[name] = {"name": name, **kept, **found}
        with self.record.open("a") as file:
            file.write(json.dumps(self.rows[name]) + "\n")

    def integers(self, row: Mapping[str, Any]) -> Tensor:
        decoded = decode(IvcFile.unpack(bytes.fromhex(row["data"])), self.codec.bundle.entropy)
        return torch.from_numpy(decoded.integers).float()

    def coded(self, row: Mapping[str, Any], near: Near | None = None) -> float:
        """Bytes of the coordinates of a row, by the bundle's prior or by another density."""
        bits = (near or self.plain).bits(self.integers(row)[None], [row["step"]])
        return float(bits.sum()) / 8

    def near(self, first: str, kind: str) -> Near:
        """The density around the coordinates of a file."""
        mixture, row = self.codec.bundle.entropy, self.rows[first]
        assert isinstance(mixture, LaplaceMixture)
        weights = PAIR if kind == "pair" else BURST
        return Near(mixture, self.integers(row) * q_step_of(row["step"]), weights)

    def exponent(self) -> float:
        """Change of log bytes with log LPIPS-VGG, by all coarser files; 0 if there are none."""
        names = [name.removesuffix("coarser") for name in self.rows if name.endswith("coarser")]
        pairs = [(self.rows[f"{name}ordinary"], self.rows[f"{name}coarser"]) for name in names]
        size, vgg = (
            sum(math.log(of(fine) / of(coarse)) for fine, coarse in pairs)
            for of in (self.coded, lambda row: row["lpips_vgg"])
        )
        return size / vgg if vgg else 0.0

    def figures(self, person: str, kind: str, exponent: float) -> dict[str, float]:
        """Bytes and metrics of a second image by each way that was run."""
        near, found = self.near(f"{person} first", kind), dict[str, float]()
        ordinary = self.rows[f"{person} {kind} ordinary"]
        for way in (*WAYS, "copied"):
            row = self.rows.get(f"{person} {kind} {way}")
            if row is not None and way != "copied":
                coded, loss = self.coded(row, near), row["lpips_vgg"] / ordinary["lpips_vgg"]
                found[f"{way}, bytes by the prior"] = self.coded(row)
                found[f"{way}, bytes by the mixture"] = coded
                found[f"{way}, saved"] = 1 - coded / (self.coded(ordinary) * loss**exponent)
            found |= {f"{way}, {metric}": row[metric] for metric in METRICS} if row else {}
        return found


def changed(first: Fitted, kind: str) -> Fitted:
    """The image as a camera might make it once more."""
    image = from_tensor(first.tensor)
    if kind == "moved":
        box = 8, 8, image.width - 8, image.height - 8  # a turn leaves black corners
        turned = image.rotate(0.5, Image.Resampling.BICUBIC, translate=(3, 2))
        image = turned.resize(image.size, Image.Resampling.BICUBIC, box)
    if kind == "brighter":
        image = ImageEnhance.Brightness(image).enhance(1.08)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return Fitted(to_tensor(Image.open(buffer).convert("RGB")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs=2, type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--quality", type=float, default=46)
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/near"))
    arguments = parser.parse_args()
    bench = Bench(arguments.output, arguments.quality, arguments.iterations)
    for person in arguments.names:
        paths = (folder / f"{person}.jpg" for folder in arguments.folders)
        first, second = (bench.codec.encoder.fit(Image.open(path).convert("RGB")) for path in paths)
        bench.file(f"{person} first", first)
        for kind in arguments.kinds:
            name, image = f"{person} {kind}", second if kind == "pair" else changed(first, kind)
            near = bench.near(f"{person} first", kind)
            for way in arguments.ways:
                bench.file(f"{name} {way}", image, way, near)
            if f"{name} copied" not in bench.rows:
                copied = bytes.fromhex(bench.rows[f"{person} first"]["data"])
                bench.keep(f"{name} copied", image, bench.codec.decompress(copied))
    exponent = bench.exponent()
    print(f"bytes ~ LPIPS-VGG^{exponent:.2f}")
    for kind in KINDS:
        people = [name.split()[0] for name in bench.rows if name.endswith(f" {kind} ordinary")]
        found = [bench.figures(person, kind, exponent) for person in people]
        for key in dict.fromkeys(key for figures in found for key in figures):
            of = [figures[key] for figures in found if key in figures]
            print(f"{kind}, {key}: {fmean(of):.3f} ({min(of):.3f} to {max(of):.3f}, {len(of)})")


if __name__ == "__main__":
    main()
