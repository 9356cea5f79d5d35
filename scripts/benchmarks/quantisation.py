"""Measures the saving of quantisation inside the search over rounding afterwards.

    python scripts/benchmarks/quantisation.py PORTRAIT... --iterations 100

Compares two methods from the mean, with the same number of Adam iterations and without MS-SSIM in
the distortion, each with its best learning rate and scale of variables:

1. ours: complete files of `Codec.encode` from mean w, including the header;
2. search first: Adam on the whitened latents x of all layers (l = mean + L x), without rate and
   rounding. Then x is rounded with the largest step for which LPIPS-Alex is at most ours, or 1.25
   or 1.5 times ours, because it may not reach ours. Its bytes are the ideal code length with the
   best Laplace scale for each image, without a header.

Writes a table in the form of docs/results/quantisation.csv.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from tables import write

from invcomp.codec import Codec
from invcomp.entropy.density import bits_of
from invcomp.entropy.mixture import PriorShape
from invcomp.generators.base import normal
from invcomp.inversion.options import SearchOptions
from invcomp.latents.prior import Prior
from invcomp.preprocessing.frame import fit

SLACKS = (1.0, 1.25, 1.5)  # times our LPIPS
FROM_MEAN = SearchOptions(starts=1, use_encoder=False, structure=0.0)  # as in the other method


def search_whitened(codec: Codec, prior: Prior, image: torch.Tensor, steps: int) -> torch.Tensor:
    """Whitened latents [1, (1 + layers) * d] found without rate or rounding."""
    distortion = codec.encoder.searcher(SearchOptions(iterations=steps), 1).distortion
    target = distortion.target(image)
    x = torch.zeros(1, (1 + prior.layers) * prior.mean.shape[1], requires_grad=True)
    optimiser = torch.optim.Adam([x], betas=(0.9, 0.99))
    for step in range(steps):
        cosine = 0.51 + 0.49 * math.cos(math.pi * step / steps)
        optimiser.param_groups[0]["lr"] = 0.1 * min(1.0, (step + 1) / 8) * cosine
        optimiser.zero_grad()
        distortion(codec.decoder.coordinates.means() + prior.push(x), target).sum().backward()
        optimiser.step()
    return x.detach()


def ideal_bytes(integers: torch.Tensor) -> float:
    """Ideal code length with the best of several Laplace scales."""
    shape = PriorShape(tail_weight=0.0, tail_ratio=1.0)
    scales = torch.pow(2.0, torch.arange(-6, 8, 0.25))
    return min(float(bits_of(integers, scale, shape).sum()) / 8 for scale in scales)


def round_to(
    codec: Codec, prior: Prior, original: torch.Tensor, x: torch.Tensor, target: float
) -> tuple[float, float]:
    """Bytes and LPIPS of the coarsest rounding of x that reaches the target, else the finest."""
    low, high = -8.0, 2.0  # log2 of the step
    best = (math.inf, math.inf)
    for _ in range(9):
        middle = (low + high) / 2
        integers = (x / 2**middle).round()
        with torch.inference_mode():
            decoded = codec.decoder.generator(
                codec.decoder.coordinates.means() + prior.push(integers * 2**middle)
            )
        lpips = float(codec.encoder.features.lpips_distance(original, decoded.clamp(-1, 1)))
        if lpips <= target:
            best, low = (ideal_bytes(integers), lpips), middle
        else:
            high = middle
            best = best if best[0] < math.inf else (math.inf, lpips)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, default=Path("quantisation.csv"))
    parser.add_argument("--iterations", "--steps", type=int, default=100)
    arguments = parser.parse_args()
    codec = Codec.load("faces-1024")
    generator = codec.decoder.generator
    with torch.no_grad():
        samples = generator.sample(normal(50_000, generator.z_size, seed=1))
    prior = Prior.fit(samples, len(generator.layers), tau=0.3)
    rows = []
    for path in arguments.portraits:
        image = Image.open(path)
        ours = next(
            codec.encode([image], search=replace(FROM_MEAN, iterations=arguments.iterations))
        )
        original = fit(image, generator.resolution)[0]
        x = search_whitened(codec, prior, original, arguments.iterations)
        for slack in SLACKS:
            count, lpips = round_to(codec, prior, original, x, slack * ours.lpips)
            rows.append(
                {
                    "portrait": path.stem,
                    "bytes": len(ours.data),
                    "lpips_alex": f"{ours.lpips:.3f}",
                    "allowed": f"{slack:.2f} x",
                    "rounded_bytes": f"{count:.0f}",
                    "rounded_lpips_alex": f"{lpips:.3f}",
                    "times": f"{count / len(ours.data):.1f}",
                }
            )
            print(rows[-1], flush=True)
    write(arguments.output, rows)


if __name__ == "__main__":
    main()
