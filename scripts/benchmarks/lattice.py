"""Measures the lattice of 8 px in decoded images of faces-1024, and what removing it changes.

    python scripts/benchmarks/lattice.py PORTRAITS/ runs/likeness/*_2000.png -o runs/lattice

The images are named as identity.py names them (PORTRAIT_invcomp_BYTES.png); PORTRAITS has their
originals (.jpg). The generator's own last step has removed the lattice from images that a version
with `without_lattice` decoded; this is for images of versions before. Prints, for periods of 8 px
and its harmonics along both axes, the power of the images relative to the originals', and PSNR,
before and after. Writes the images without lattice, and lattice.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean

import torch
from PIL import Image
from tables import formatted, write
from torch import Tensor

from invcomp.generators.mobile_stylegan import PERIOD, without_lattice
from invcomp.preprocessing.frame import from_tensor, to_tensor

WINDOW, STRIDE = 256, 128  # px of the power spectrum
HARMONICS = {8.0: 1, 4.0: 2, 8 / 3: 3, 2.0: 4}  # period in px: multiple of 1 / PERIOD


def spectrum(image: Tensor) -> Tensor:
    """Mean power spectrum of the luma of an image [1, 3, H, W], [WINDOW, WINDOW]."""
    luma = image.mean(1)[0]
    window = torch.hann_window(WINDOW)[:, None] * torch.hann_window(WINDOW)
    parts = luma.unfold(0, WINDOW, STRIDE).unfold(1, WINDOW, STRIDE).flatten(0, 1)
    parts = (parts - parts.mean((1, 2), keepdim=True)) * window
    return torch.fft.fft2(parts).abs().square().mean(0)


def powers(image: Tensor) -> dict[float, float]:
    """Power along both axes at each period."""
    power, found = spectrum(image), {}
    for period, multiple in HARMONICS.items():
        place = multiple * WINDOW // PERIOD
        found[period] = float(power[place, :2].sum() + power[:2, place].sum())
    return found


def psnr(one: Tensor, other: Tensor) -> float:
    return float(10 * torch.log10(4 / (one - other).square().mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path, help="folder of the originals")
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/lattice"))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for path in arguments.images:
        name, _, goal = path.stem.rsplit("_", 2)
        original = to_tensor(Image.open(arguments.portraits / f"{name}.jpg").convert("RGB"))
        decoded = to_tensor(Image.open(path).convert("RGB"))
        cleaned = without_lattice(decoded)
        from_tensor(cleaned).save(arguments.output / path.name)
        known = powers(original)
        for label, image in (("as it is", decoded), ("without lattice", cleaned)):
            found = powers(image)
            ratios = {f"{p:.1f} px": found[p] / known[p] for p in HARMONICS}
            rows.append(
                {"goal": int(goal), "image": label, "psnr": psnr(original, image), **ratios}
            )
    names = [name for name in rows[0] if name not in ("goal", "image")]
    table = []
    for goal, label in sorted({(row["goal"], row["image"]) for row in rows}):
        group = [row for row in rows if (row["goal"], row["image"]) == (goal, label)]
        means = formatted({name: fmean(float(row[name]) for row in group) for name in names})
        table.append({"bytes": str(goal), "image": label, **means})
        print(table[-1])
    write(arguments.output / "lattice.csv", table)


if __name__ == "__main__":
    main()
