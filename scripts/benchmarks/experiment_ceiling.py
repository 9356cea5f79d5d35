"""Measures the lowest distortion, and what limits files: rate, coordinates or iterations.

    python scripts/benchmarks/experiment_ceiling.py PORTRAITS... -o runs/ceiling --judge JUDGE
    python scripts/benchmarks/experiment_ceiling.py PORTRAITS... --draws DRAWS --spaces more

Minimises the distortion of the search, from the encoder network's start, without rate and rounding:
in the bundle's coordinates ("coordinates"), and in all latents of all layers ("latents"), a space
that contains the coordinates. The gap between both is lost by the coordinates; the rest is what the
generator cannot make. Prints a line after each number of iterations in --at. With the draws that
the coordinates were made from (prepare_faces.py keeps them) also in "more": the coordinates, and
beside them the --more strongest directions of a prior with tau 1 among what the coordinates leave.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from identity import Bench
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from invcomp.codec import Codec
from invcomp.inversion.distortion import Target
from invcomp.inversion.options import SearchOptions
from invcomp.latents.prior import prior_of
from invcomp.preprocessing.frame import fit, from_tensor

RATES = {
    "coordinates": 0.2,
    "more": 0.2,
    "latents": 0.02,
}  # learning rates of Adam, for variables of deviation 1


def further(codec: Codec, draws: Path, count: int) -> tuple[Tensor, Tensor]:
    """Further directions [count, D], which leave the coordinates as they are, and deviations."""
    gradients = load_file(draws)["gradients"]
    gradients = gradients / len(gradients) ** 0.5
    prior, _ = prior_of(codec.decoder.generator, 50_000, 1.0, 1, codec.device)
    basis = codec.bundle.coordinates.basis()
    seen, _ = torch.linalg.qr(gradients @ basis.T)
    left = prior.pull_back(gradients)
    left = left - seen @ (seen.T @ left)
    energies, vectors = torch.linalg.eigh((left @ left.T).double())
    found = vectors.flip(1)[:, :count].float()
    deviations = energies.flip(0)[:count].sqrt().float()
    rows = prior.push((found.T @ left) / deviations[:, None]) / deviations[:, None]
    within = torch.linalg.lstsq(gradients @ basis.T, gradients @ rows.T).solution
    return rows - within.T @ basis, deviations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/ceiling"))
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--at", type=int, nargs="+", default=[60, 120, 240])
    parser.add_argument("--spaces", nargs="+", choices=RATES, default=["coordinates", "latents"])
    parser.add_argument("--draws", type=Path, help="for the space more")
    parser.add_argument("--more", type=int, default=150, help="number of further directions")
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
            base = search.space.latents(start)
            if space == "latents":
                variables, basis = torch.zeros_like(base).requires_grad_(), None
            else:
                rows, spread = codec.bundle.coordinates.basis(), search.spread(options)
                if space == "more":
                    found, deviations = further(codec, arguments.draws, arguments.more)
                    rows, spread = torch.cat([rows, found]), torch.cat([spread, deviations])
                units = spread**options.whitening * 0.3 ** (1 - options.whitening)
                variables, basis = (
                    torch.zeros(1, len(units)).requires_grad_(),
                    units[:, None] * rows,
                )
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
