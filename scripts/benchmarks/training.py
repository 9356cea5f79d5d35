"""Measures images per second of `invcomp train`, with all variants in one run.

    python scripts/benchmarks/training.py                      # compact, 64 px, batch 32
    python scripts/benchmarks/training.py --variants float32 bfloat16 bfloat16-compiled

Runs complete training steps on random images, with a penalty every 16 steps, without samples and
KID. Prints a table: median seconds per step, images per second, also by processor time (of all
threads), which other jobs disturb less, and parameters.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import mean
from zipfile import ZipFile

import numpy as np
import torch
from PIL import Image

from invcomp.training.data import Dataset, open_dataset
from invcomp.training.loop import Trainer, accelerator_for
from invcomp.training.options import TrainOptions
from invcomp.training.run import RunDirectory

IMAGES = 256
WARM_UP = 3


def random_images(folder: Path, resolution: int) -> Dataset:
    random = np.random.default_rng(0)
    with ZipFile(folder / "images.zip", "w") as archive:
        for index in range(IMAGES):
            pixels = random.integers(0, 256, (resolution, resolution, 3), np.uint8)
            with archive.open(f"{index}.png", "w") as file:
                Image.fromarray(pixels).save(file, "PNG")
    return open_dataset(folder / "images.zip", resolution)


def measure(variant: str, dataset: Dataset, arguments: argparse.Namespace, folder: Path) -> str:
    options = TrainOptions(
        resolution=arguments.resolution,
        preset=arguments.preset,
        batch=arguments.batch,
        discriminator=arguments.discriminator,
        bfloat16=variant.startswith("bfloat16"),
    )
    networks = Trainer(
        dataset, RunDirectory(folder / variant), options,
        accelerator=accelerator_for(arguments.device), compiled=variant.endswith("compiled"),
    ).adversaries  # fmt: skip
    for _ in range(WARM_UP):
        networks.step(0.0)
    networks.steps, seconds = 0, []  # so that one in 16 steps has a penalty
    used = time.process_time()
    for _ in range(arguments.steps or 16 * arguments.rounds):
        started = time.perf_counter()
        float(networks.step(0.0)["generator"])
        seconds.append(time.perf_counter() - started)
    used = (time.process_time() - used) / len(seconds)
    sizes = [size / 1e6 for size in networks.sizes]
    rate, own_rate = arguments.batch / mean(seconds), arguments.batch / used
    return (
        f"| {variant} | {sorted(seconds)[len(seconds) // 2]:.3f} "
        f"| {rate:.1f} | {own_rate:.1f} | {sizes[0]:.1f} + {sizes[1]:.1f} M |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--preset", default="compact")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2, help="rounds of 16 steps")
    parser.add_argument("--steps", type=int, help="in place of whole rounds")
    parser.add_argument("--discriminator", default="pixels")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--variants", nargs="+", default=["float32", "bfloat16"])
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print(
        "| variant | seconds a step, median | images/s, mean | images per second of processor time "
        "| parameters |\n|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        dataset = random_images(Path(folder), arguments.resolution)
        for variant in arguments.variants:
            print(measure(variant, dataset, arguments, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
