"""Measures the lowest distortion, and what limits files: rate, coordinates or iterations.

    python scripts/benchmarks/experiment_ceiling.py PORTRAITS... -o runs/ceiling --judge JUDGE

Minimises the distortion of the search, from the encoder network's start, without rate and rounding:
in the bundle's coordinates ("coordinates"), and in all latents of all layers ("latents"), a space
that contains the coordinates. The gap between both is lost by the coordinates; the rest is what the
generator cannot make. Prints a line after each number of iterations in --at.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from identity import Bench
from PIL import Image

from invcomp.codec import Codec
from invcomp.inversion.distortion import Target
from invcomp.inversion.options import SearchOptions
from invcomp.latents.coordinates import Coordinates
from invcomp.preprocessing.frame import fit, from_tensor

RATES = {
    "coordinates": 0.2,
    "latents": 0.02,
}  # learning rates of Adam, for variables of deviation 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/ceiling"))
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--at", type=int, nargs="+", default=[60, 120, 240])
    parser.add_argument("--spaces", nargs="+", choices=RATES, default=list(RATES))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    bench, codec, options = Bench(arguments.judge), Codec.load("faces-1024"), SearchOptions()
    search = codec.encoder.searcher(options, 100)
    for path in arguments.portraits:
        original = Image.open(path).convert("RGB")
        image = fit(original, codec.decoder.generator.resolution)[0].to(codec.device)
        start = search.predict(image)
        target = Target(
            search.distortion.target(image), search.distortion, structure=options.structure
        )
        for space in arguments.spaces:
            if space == "coordinates":
                units = search.spread(options) ** options.whitening * 0.3 ** (1 - options.whitening)
                variables = (start / units).requires_grad_()
                base, basis = search.space.latents(torch.zeros_like(start)), units[:, None]
                assert isinstance(search.space, Coordinates)
                basis = basis * search.space.basis()
            else:
                base = search.space.latents(start)
                variables, basis = torch.zeros_like(base).requires_grad_(), None
            optimiser = torch.optim.Adam([variables], betas=(0.9, 0.99))
            steps = max(arguments.at)
            for step in range(1, steps + 1):
                latents = base + (variables if basis is None else variables @ basis)
                ramp = min(1.0, step / 8) * min(1.0, 2 * (1 - (step - 1) / steps))
                optimiser.param_groups[0]["lr"] = RATES[space] * ramp
                optimiser.zero_grad()
                loss = target.distance(latents).sum()
                loss.backward()
                optimiser.step()
                if step in arguments.at:
                    with torch.no_grad():
                        decoded = from_tensor(codec.decoder.generator(latents))
                    decoded.save(arguments.output / f"{path.stem}_{space}_{step}.png")
                    row = {"portrait": path.stem, "space": space, "steps": step}
                    row |= {"loss": float(loss), **bench(original, decoded)}
                    with (arguments.output / "results.jsonl").open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    print(row, flush=True)


if __name__ == "__main__":
    main()
