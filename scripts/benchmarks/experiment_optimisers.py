"""Compares optimisers of the search's free phase at equal numbers of gradients, in one run.

    python scripts/benchmarks/experiment_optimisers.py a.jpg b.jpg -o runs/optimisers
    python scripts/benchmarks/experiment_optimisers.py a.jpg -o runs/optimisers --only adam lbfgs

All begin at the same start (from the encoder network, or the mean) and minimise the loss of the
search without rounding: LPIPS + beta * MSE + lambda * bits. Reported at 10, 20, 40 ... gradients:
that loss, the bits, LPIPS-Alex (which is optimised), LPIPS-VGG and DISTS (which are not). One
Gauss-Newton step of n conjugate-gradient iterations counts as 1 + 2 n gradients, because each of
them takes a product with J and one with its transpose.

adam: as in the search, on partly whitened variables.
momentum: Nesterov 0.8, rate 0.1, on the coordinates themselves, gradients clipped at 2.
damped: the same with rate 0.05 and a Gaussian prior, |c / deviation|^2, of weight 1e-4.
momentum-adam: momentum for a quarter of the gradients, then Adam.
lbfgs: torch's L-BFGS with strong Wolfe line search, on partly whitened variables.
gauss-newton: damped by the scale of the rate term, 4 conjugate-gradient iterations per step.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from invcomp.codec import Codec
from invcomp.evaluation.metrics import Metrics
from invcomp.inversion.descent import Descent
from invcomp.inversion.distortion import Target
from invcomp.inversion.options import SearchOptions
from invcomp.preprocessing.frame import fit

LOOKS = (10, 20, 40, 80)
METRICS = ("lpips_alex", "lpips_vgg", "dists")


class Problem:
    """One image: the loss of coordinates, and the number of gradients so far."""

    def __init__(self, codec: Codec, image: Tensor, quality: float | None) -> None:
        self.codec, self.image, self.gradients = codec, image, 0
        search = codec.encoder.searcher(SearchOptions(), 100)
        self.space, self.options = search.space, SearchOptions(starts=1)
        index = codec.encoder.step_index(quality)
        start = search.start(image, index, self.options)
        self.target = Target(search.distortion.target(image), search.distortion)
        self.descent = Descent(
            self.space,
            search.density,
            self.target,
            start.coordinates,
            start.classes,
            index,
            self.options,
            search.spread(self.options),
        )
        self.units = self.descent.units
        self.start = self.descent.coordinates().detach()
        self.deviations = self.space.deviations[: self.start.shape[1]]

    def bits(self, coordinates: Tensor) -> Tensor:
        steps = coordinates / self.descent.q_step
        return self.descent.density.bits(steps, self.descent.step_indices).sum()

    def loss(self, coordinates: Tensor) -> Tensor:
        self.gradients += 1
        distance = self.target.distance(self.space.latents(coordinates)).sum()
        return distance + self.descent.rate_weight * self.bits(coordinates)

    def features(self, coordinates: Tensor) -> Tensor:
        """Not compiled, because compiled functions cannot be differentiated twice."""
        distortion = self.target.distortion
        with torch.autocast("cpu", torch.bfloat16, enabled=distortion.mixed):
            return distortion._eager(self.space.latents(coordinates))


def adam(problem: Problem, total: int, start: Tensor | None = None) -> Iterator[Tensor]:
    begin = problem.start if start is None else start
    variables = (begin / problem.units).requires_grad_()
    optimiser = torch.optim.Adam([variables], betas=(0.9, 0.99))
    first = problem.gradients
    while problem.gradients < total:
        part = (problem.gradients - first) / (total - first)
        ramp = min(1.0, (problem.gradients - first + 1) / 8)
        rate = problem.options.rate * ramp * (0.51 + 0.49 * np.cos(np.pi * part))
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        problem.loss(problem.units * variables).backward()
        optimiser.step()
        yield (problem.units * variables).detach()


def momentum(
    problem: Problem, total: int, rate: float = 0.1, prior: float = 0.0
) -> Iterator[Tensor]:
    coordinates = problem.start.clone().requires_grad_()
    optimiser = torch.optim.SGD([coordinates], rate, momentum=0.8, nesterov=True)
    while problem.gradients < total:
        optimiser.zero_grad()
        loss = problem.loss(coordinates)
        loss = loss + prior * (coordinates / problem.deviations).square().sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([coordinates], 2.0)
        optimiser.step()
        yield coordinates.detach().clone()


def momentum_adam(problem: Problem, total: int) -> Iterator[Tensor]:
    found = problem.start
    for found in momentum(problem, total // 4):
        yield found
    yield from adam(problem, total, found)


def lbfgs(problem: Problem, total: int) -> Iterator[Tensor]:
    variables = (problem.start / problem.units).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [variables], max_iter=1, max_eval=6, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = problem.loss(problem.units * variables)
        loss.backward()
        return loss

    while problem.gradients < total:
        optimiser.step(closure)
        yield (problem.units * variables).detach()


def gauss_newton(problem: Problem, total: int, iterations: int = 4) -> Iterator[Tensor]:
    coordinates, damping = problem.start.clone(), 1.0
    while problem.gradients < total:
        point = coordinates.clone().requires_grad_()
        features = problem.features(point)
        residual = (features - problem.target.features).detach()
        dummy = residual.clone().requires_grad_()
        # J^T u is linear in u with gradient J: backward passes give products with J
        (transposed,) = torch.autograd.grad(features, point, dummy, create_graph=True)
        bits = problem.descent.rate_weight * problem.bits(point)
        (rate_gradient,) = torch.autograd.grad(bits, point)
        gradient = 2 * transposed.detach() + rate_gradient
        problem.gradients += 1

        def curvature(v: Tensor, transposed: Tensor = transposed, dummy: Tensor = dummy,
                      features: Tensor = features, point: Tensor = point) -> Tensor:  # fmt: skip
            (forward,) = torch.autograd.grad(transposed, dummy, v, retain_graph=True)
            (back,) = torch.autograd.grad(features, point, forward, retain_graph=True)
            problem.gradients += 2
            return 2 * back + damping * v

        coordinates = coordinates + conjugate_gradients(curvature, -gradient, iterations)
        yield coordinates


def conjugate_gradients(
    product: Callable[[Tensor], Tensor], right: Tensor, iterations: int
) -> Tensor:
    solution, residual = torch.zeros_like(right), right.clone()
    direction, energy = residual.clone(), residual.square().sum()
    for _ in range(iterations):
        image = product(direction)
        length = energy / (direction * image).sum()
        solution, residual = solution + length * direction, residual - length * image
        energy, before = residual.square().sum(), energy
        direction = residual + energy / before * direction
    return solution


WAYS: dict[str, Callable[[Problem, int], Iterator[Tensor]]] = {
    "adam": adam,
    "momentum": momentum,
    "damped": lambda problem, total: momentum(problem, total, rate=0.05, prior=1e-4),
    "momentum-adam": momentum_adam,
    "lbfgs": lbfgs,
    "gauss-newton": gauss_newton,
}


def follow(way: str, problem: Problem, total: int, metrics: Metrics) -> list[dict[str, Any]]:
    """The values reached at each number of gradients."""
    rows, left = [], [look for look in LOOKS if look <= total]
    for found in WAYS[way](problem, total):
        if left and problem.gradients >= left[0]:
            spent = problem.gradients
            with torch.no_grad():
                loss = float(problem.loss(found))
                image = problem.codec.decoder.generator(problem.space.latents(found)).clamp(-1, 1)
            problem.gradients = spent
            measured = {
                name: float(metrics.distances(name, (problem.image + 1) / 2, (image + 1) / 2))
                for name in METRICS
            }
            row = {"way": way, "gradients": left.pop(0), "taken": spent, "loss": loss}
            rows.append({**row, "bytes": float(problem.bits(found)) / 8, **measured})
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="faces-1024")
    parser.add_argument("--gradients", type=int, default=80)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    codec = Codec.load(arguments.model, compiled=not arguments.no_compile)
    metrics, rows = Metrics(names=METRICS), []
    for path in arguments.portraits:
        image = fit(Image.open(path), codec.decoder.generator.resolution)[0]
        for way in arguments.only:
            found = follow(way, Problem(codec, image, None), arguments.gradients, metrics)
            rows += [{"portrait": path.stem, **row} for row in found]
    (arguments.output / "results.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    columns = ("loss", "bytes", *METRICS)
    lines = [f"| way | gradients | {' | '.join(columns)} |", "|---" * (2 + len(columns)) + "|"]
    for look in LOOKS:
        for way in arguments.only:
            at = [row for row in rows if row["way"] == way and row["gradients"] == look]
            if at:
                means = [f"{mean(row[column] for row in at):.4g}" for column in columns]
                lines.append(f"| {way} | {look} | {' | '.join(means)} |")
    (arguments.output / "table.md").write_text("\n".join([*lines, ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
