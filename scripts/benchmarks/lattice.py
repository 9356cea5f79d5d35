"""Measures the lattice of 8 px in decoded images of faces-1024, and what removing it changes.

    python scripts/benchmarks/lattice.py PORTRAITS/ runs/likeness/*_2000.png -o runs/lattice

The images are named as identity.py names them (PORTRAIT_invcomp_BYTES.png); PORTRAITS has their
originals (.jpg). Prints, for periods of 8 px and its harmonics along both axes, the power of the
images relative to the originals', and PSNR before and after. Writes the images without lattice, and
lattice.csv.

The lattice is what 8 x 8 px have in common with their neighbours: the deviation of every one of 64
positions from the local mean, clipped to --limit levels so that edges do not count, and averaged
over --blocks x --blocks of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean

import torch
import torch.nn.functional as F
from PIL import Image
from tables import formatted, write
from torch import Tensor

from invcomp.preprocessing.frame import from_tensor, to_tensor

PERIOD = 8  # px: three inverse Haar transforms
WINDOW, STRIDE = 256, 128  # px of the power spectrum
HARMONICS = {8.0: 1, 4.0: 2, 8 / 3: 3, 2.0: 4}  # period in px: multiple of 1 / PERIOD


def without_lattice(images: Tensor, blocks: int, limit: float) -> Tensor:
    """Images [N, 3, H, W] in [-1, 1] without what repeats every PERIOD px."""
    taps = torch.ones(PERIOD + 1)
    taps[[0, -1]] = 0.5  # so that the mean is centred, and zero at every harmonic
    kernel = (taps[:, None] * taps / PERIOD**2).expand(3, 1, -1, -1)
    padded = F.pad(images, (PERIOD // 2,) * 4, mode="replicate")
    deviation = images - F.conv2d(padded, kernel, groups=3)
    places = F.pixel_unshuffle(deviation.clamp(-limit, limit), PERIOD)
    shared = F.avg_pool2d(places, blocks, 1, blocks // 2, count_include_pad=False)
    return images - F.pixel_shuffle(shared, PERIOD)


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
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--limit", type=float, default=6, help="levels of 255")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for path in arguments.images:
        name, _, goal = path.stem.rsplit("_", 2)
        original = to_tensor(Image.open(arguments.portraits / f"{name}.jpg").convert("RGB"))
        decoded = to_tensor(Image.open(path).convert("RGB"))
        cleaned = without_lattice(decoded, arguments.blocks, arguments.limit / 127.5)
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
