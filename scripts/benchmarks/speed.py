"""Profiles compression, and measures LPIPS over time for each way of searching.

    python scripts/benchmarks/speed.py a.jpg b.jpg -o runs/speed
    python scripts/benchmarks/speed.py a.jpg -o runs/speed --only stages
    python scripts/benchmarks/speed.py *.jpg -o runs/speed --only files --searches default fast
    python scripts/benchmarks/speed.py a.jpg -o runs/speed --only curves --ways projector encoder
    python scripts/benchmarks/speed.py a.jpg -o runs/speed --only curves --ways encoder --quality 90

Has three parts, all in one run:

stages: seconds and peak memory of loading, compiling, the encoder network, an iteration with the
surrogate and with the generator, coding, decoding (and the forward pass alone), and many files.
curves: LPIPS-Alex and LPIPS-VGG over seconds of search, of the unquantised image, for the
1,000-step StyleGAN2 projector, the plain search, the start from the encoder network, and the same
with the surrogate. The time for measuring is not counted.
files: seconds, bytes and all metrics of complete files, for the search from the mean with two
starts, from the encoder network (default), and with --fast.

The projector is that of Karras et al. 2020 (arXiv:1912.04958, appendix D) with its published
settings: one w for all layers, 1,000 iterations of Adam, learning rate 0.1 with a ramp over the
first 5% and a cosine over the last 25%, from mean w, with noise on w that decays over the first
75%. Its loss here is ours, LPIPS-Alex + beta * MSE; its noise maps are the generator's, fixed.

Writes tables (speed.md), curves.jsonl, results.jsonl and files.csv (means, for files) and a plot
(curves.png) to the folder. Curves that are already in curves.jsonl are not measured again, but
plotted with the rest.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import matplotlib
import torch
from PIL import Image
from tables import formatted, write
from torch import Tensor

from invcomp.bitstream import encode
from invcomp.codec import Codec
from invcomp.evaluation.metrics import NAMES, Metrics, tensor_of
from invcomp.inversion.descent import Descent
from invcomp.inversion.distortion import Target
from invcomp.inversion.options import ENOUGH, SearchOptions
from invcomp.preprocessing.frame import fit

MODEL = "faces-1024"
WAYS = ("encoder + surrogate", "encoder", "plain", "projector")
LOOKS = (0, 5, 10, 20, 30, 40, 60, 80, 100, 120, 150, 200, 300, 400, 500, 650, 800, 1000)
PROJECTOR_STEPS = 1000


def seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def peak() -> int:
    """Peak memory of the process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


# Stages ------------------------------------------------------------------------------------------


def stages(images: list[Path], model: str) -> tuple[list[tuple[str, float, int]], Codec]:
    """Name, seconds and peak memory so far of each stage, in order of execution."""
    rows: list[tuple[str, float, int]] = []

    def measure(name: str, call: Callable[[], Any], repeats: int = 1) -> None:
        rows.append((name, median(seconds(call) for _ in range(repeats)), peak()))
        print(rows[-1], flush=True)

    codecs: list[Codec] = []
    measure("load", lambda: codecs.append(Codec.load(model, compiled=True)))
    codec = codecs[0]
    measure("perceptual features", lambda: codec.encoder.features)
    search = codec.encoder.searcher(SearchOptions(), 1)
    image = fit(Image.open(images[0]), codec.decoder.generator.resolution)[0]
    measure("features of the image", lambda: search.distortion.target(image), 3)
    if search.encoder is not None:
        measure("encoder's start", lambda: search.predict(image), 3)
    start = search.start(image, 82, SearchOptions(starts=1))
    features, structure = search.distortion.target(image), SearchOptions().structure
    target = Target(features, search.distortion, search.quick, None, structure)

    def iterate(quickly: bool) -> None:
        descent = Descent(
            search.space,
            search.density,
            target,
            start.coordinates,
            start.classes,
            82,
            SearchOptions(),
            search.spread(SearchOptions()),
        )
        descent.iterate(0.1, quickly=quickly)

    measure("first iteration of the generator: compiling", lambda: iterate(False))
    measure("iteration of the generator", lambda: iterate(False), 7)
    if search.quick is not None:
        measure("first iteration of the surrogate: compiling", lambda: iterate(True))
        measure("iteration of the surrogate", lambda: iterate(True), 21)
    *_, (last, _) = search.descend(image, 82, SearchOptions(iterations=6, starts=1))
    found = last.integers()
    integers = found[0].numpy()

    def code() -> bytes:
        return encode(integers, 82, codec.bundle.entropy, codec.decoder.fingerprint, None, 0)

    measure("code", code, 5)
    latents = search.space.latents(found.float())
    with torch.inference_mode():
        measure("forward pass alone, float32", lambda: codec.decoder.generator(latents), 7)
    data = code()
    measure("decode", lambda: codec.decompress(data), 7)
    for size in (codec.decoder.batch_size, 4):
        name = f"decode 40 files, {size} at a time"
        measure(name, partial(decode_all, codec, [data] * 40, size))
    return rows, codec


def decode_all(codec: Codec, files: list[bytes], size: int) -> None:
    for first in range(0, len(files), size):
        codec.decompress_batch(files[first : first + size])


# Curves ------------------------------------------------------------------------------------------


def projector(codec: Codec, image: Tensor) -> Iterator[Tensor]:
    """Flat latents at the start and after every iteration of the 1,000-step projector."""
    generator = codec.decoder.generator
    distortion = codec.encoder.searcher(SearchOptions(), 1).distortion
    target = distortion.target(image)
    z = torch.randn(10_000, generator.z_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        samples = generator.sample(z)
    mean_w, deviation = samples.mean(0, keepdim=True), float(samples.std(0).norm())
    w, source = mean_w.clone().requires_grad_(), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam([w], betas=(0.9, 0.999))
    yield generator.spread(w.detach())
    for step in range(PROJECTOR_STEPS):
        fraction = step / PROJECTOR_STEPS
        ramp = min(1.0, (1 - fraction) / 0.25)
        rate = 0.5 - 0.5 * math.cos(ramp * math.pi)
        optimiser.param_groups[0]["lr"] = 0.1 * rate * min(1.0, fraction / 0.05)
        strength = deviation * 0.05 * max(0.0, 1 - fraction / 0.75) ** 2
        noise = strength * torch.randn(w.shape, generator=source)
        loss = distortion(generator.spread(w + noise).contiguous(), target).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        yield generator.spread(w.detach())


def ours(
    codec: Codec, image: Tensor, use_encoder: bool, quick: bool, quality: float
) -> Iterator[Tensor]:
    """Flat latents at the start of a search and after every iteration, rounded once it rounds."""
    search = codec.encoder.searcher(SearchOptions(), 1)
    options = SearchOptions(starts=1, use_encoder=use_encoder, fast=quick)
    index = codec.encoder.step_index(quality)
    yield search.space.latents(search.start(image, index, options).coordinates)
    for descent, schedule in search.descend(image, index, options):
        coordinates = descent.integers().float() * descent.q_step
        if schedule.mode == "free":
            coordinates = descent.coordinates().detach()
        yield search.space.latents(coordinates)


def curve(
    codec: Codec, tensor: Tensor, steps: Iterator[Tensor], metrics: Metrics
) -> Iterator[dict[str, float]]:
    """Seconds, iteration, and both LPIPS at 256 px, at some iterations."""
    spent, count = 0.0, -1
    original = (tensor + 1) / 2
    while True:
        started = time.perf_counter()
        latents = next(steps, None)
        spent += time.perf_counter() - started
        if latents is None:
            return
        count += 1
        if count in LOOKS:
            with torch.inference_mode():
                decoded = (codec.decoder.generator(latents).clamp(-1, 1) + 1) / 2
            found = {
                name: float(metrics.distances(name, original, decoded))
                for name in ("lpips_alex", "lpips_vgg")
            }
            yield {"step": count, "seconds": spent, **found}


def curves(
    codec: Codec,
    images: list[Path],
    ways: list[str],
    quality: float,
    metrics: Metrics,
    results: Path,
) -> list[dict[str, Any]]:
    """The points of every curve; existing ones are not measured again."""
    search = codec.encoder.searcher(SearchOptions(), 1)
    rows = (
        [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    )
    done = {(row["image"], row["way"], row["quality"]) for row in rows}
    for path in images:
        image = fit(Image.open(path), codec.decoder.generator.resolution)[0]
        for way in ways:
            own = None if way == "projector" else quality
            if ("encoder" in way and search.encoder is None) or (path.stem, way, own) in done:
                continue
            steps = (
                projector(codec, image)
                if way == "projector"
                else ours(codec, image, "encoder" in way, "surrogate" in way, quality)
            )
            found = []
            for point in curve(codec, image, steps, metrics):
                found.append({"image": path.stem, "way": way, "quality": own, **point})
                print(found[-1], flush=True)
            with results.open("a") as file:  # only complete curves
                file.writelines(json.dumps(point) + "\n" for point in found)
            rows += found
    return rows


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for axis, metric, name in zip(
        axes, ("lpips_alex", "lpips_vgg"), ("LPIPS-Alex", "LPIPS-VGG"), strict=True
    ):
        for label, group in by_label(rows).items():
            points = mean_curve(group, metric)
            axis.plot(*zip(*points, strict=True), marker=".", label=label)
        axis.set(xscale="symlog", xlabel="seconds of search", ylabel=f"{name}, 256 px")
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=120)


def by_label(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The points grouped by way and quality, under a label for both."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        quality = row["quality"]
        label = row["way"] if quality is None else f"{row['way']}, quality {quality:g}"
        groups.setdefault(label, []).append(row)
    return groups


def mean_curve(rows: list[dict[str, Any]], metric: str) -> list[tuple[float, float]]:
    """Mean seconds and mean metric at every iteration that all images reached."""
    images = {row["image"] for row in rows}
    points = []
    for step in LOOKS:
        at = [row for row in rows if row["step"] == step]
        if at and len(at) == len(images):
            points.append((mean(row["seconds"] for row in at), mean(row[metric] for row in at)))
    return points


def times_shorter(rows: list[dict[str, Any]]) -> list[str]:
    """Seconds of both methods, per image and metric, at the values where searches end."""
    lines = ["| image | metric | value | projector | fastest of ours | after | times |"]
    lines += ["|---" * 7 + "|"]
    for image in sorted({row["image"] for row in rows}):
        groups = by_label([row for row in rows if row["image"] == image])
        theirs = groups.pop("projector", [])
        for metric in ("lpips_alex", "lpips_vgg") if theirs else ():
            levels = {min(row[metric] for row in group) for group in [theirs, *groups.values()]}
            for level in sorted(levels, reverse=True):
                their = first_within(theirs, metric, level)
                found = {name: first_within(group, metric, level) for name, group in groups.items()}
                our = min((v, name) for name, v in found.items()) if found else (math.inf, "-")
                cells = [f"{their:.0f} s", our[1], f"{our[0]:.1f} s", f"{their / our[0]:.1f}"]
                if math.isinf(our[0]):
                    cells[1:] = ["-", "never", "-"]
                if math.isinf(their):
                    cells[0], cells[3] = "never", "-"
                lines.append(f"| {image} | {metric} | {level:.4f} | {' | '.join(cells)} |")
    return lines


def first_within(rows: list[dict[str, Any]], metric: str, level: float) -> float:
    """Seconds until a curve reaches a value; infinity: never."""
    return min((row["seconds"] for row in rows if row[metric] <= level), default=math.inf)


# Files -------------------------------------------------------------------------------------------


VARIANTS = {
    "mean": SearchOptions(starts=2, use_encoder=False),
    "default": SearchOptions(),
    "fast": SearchOptions(fast=True),
}


def files(
    codec: Codec, images: list[Path], names: list[str], metrics: Metrics, results: Path
) -> list[dict[str, Any]]:
    rows = []
    for path in images:
        original = Image.open(path).convert("RGB")
        for name in names:
            encoded = next(codec.encode([original], search=VARIANTS[name]))
            measured = metrics.measure(tensor_of(original), tensor_of(encoded.decoded))
            row = {"image": path.stem, "search": name, "bytes": len(encoded.data)}
            rows.append({**row, "seconds": encoded.seconds, **measured})
            print(rows[-1], flush=True)
            with results.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    return rows


def table(rows: list[dict[str, Any]], names: list[str]) -> list[dict[str, str]]:
    """The rows of files.csv: means over the images."""
    found = []
    for name in names:
        of_one = [row for row in rows if row["search"] == name]
        columns = ("bytes", *NAMES, "seconds")
        means = formatted({column: mean(row[column] for row in of_one) for column in columns})
        iterations = VARIANTS[name].iterations_at(ENOUGH)
        found.append({"search": name, "iterations": str(iterations), **means})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--only", choices=("stages", "curves", "files"))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--quality", type=float, default=50, help="quality of the curves")
    parser.add_argument("--searches", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    wanted = [arguments.only] if arguments.only else ["stages", "curves", "files"]
    lines: list[str] = []
    if "stages" in wanted:
        rows, codec = stages(arguments.images, arguments.model)
        lines += ["| stage | seconds | peak memory until then |", "|---|---|---|"]
        lines += [f"| {name} | {value:.3g} | {memory} MB |" for name, value, memory in rows]
    else:
        codec = Codec.load(arguments.model, compiled=True)
        with Image.open(arguments.images[0]) as image:  # compile before timing
            next(codec.encode([image], search=SearchOptions(iterations=10, fast=True)))
    metrics, results = Metrics(), arguments.output / "results.jsonl"
    if "curves" in wanted:
        points = curves(
            codec,
            arguments.images,
            arguments.ways,
            arguments.quality,
            metrics,
            arguments.output / "curves.jsonl",
        )
        plot(points, arguments.output / "curves.png")
        lines += ["", *times_shorter(points)]
    if "files" in wanted:
        found = files(codec, arguments.images, arguments.searches, metrics, results)
        write(arguments.output / "files.csv", table(found, arguments.searches))
    (arguments.output / "speed.md").write_text("\n".join([*lines, ""]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
