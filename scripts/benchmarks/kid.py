"""Measures KID of trained generators, by features of AlexNet and of VGG.

    python scripts/benchmarks/kid.py SNAPSHOT... --images IMAGES --frame stretch

SNAPSHOTS are generators of one training (.safetensors, .ivm), IMAGES are what they were trained on:
the images that the training held out are compared with samples of each, with as many training
images, and two halves of the training images with each other. A training on features sees
AlexNet, so its KID by AlexNet is too good; VGG is seen by none (`invcomp models get lpips-vgg`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from invcomp.generators.sampling import samples, to_uint8
from invcomp.lookup import open_generator
from invcomp.perception.kid import Kid
from invcomp.training.data import Dataset, open_dataset
from invcomp.training.options import TrainOptions

CHUNK = 32


def batches(images: Dataset, chosen: np.ndarray) -> Iterator[Tensor]:
    for first in range(0, len(chosen), CHUNK):
        yield images.batch(chosen[first : first + CHUNK])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("snapshots", type=Path, nargs="*")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--frame", default="center-crop")
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument(
        "--held-out", type=int, default=TrainOptions.held_out, help="as in the training"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--features", nargs="+", default=["lpips-alex", "lpips-vgg"])
    arguments = parser.parse_args()
    images = open_dataset(arguments.images, arguments.resolution, frame=arguments.frame)
    count = min(arguments.held_out, len(images) // 10)
    trained, held_out = images.split(count, arguments.seed)
    order = np.random.default_rng(0).permutation(len(trained))
    half = len(order) // 2
    one, other = (part[: arguments.samples] for part in (order[:half], order[half:]))
    print("| features | compared with | KID |\n|---|---|---|")
    for features in arguments.features:
        between = Kid(batches(trained, one), "cpu", features)(batches(trained, other))
        print(f"| {features} | halves of the training | {between:.4f} |")
        kid = Kid(batches(held_out, np.arange(count)), "cpu", features)
        real = kid(batches(trained, order[: arguments.samples]))
        print(f"| {features} | training images | {real:.4f} |", flush=True)
        for path in arguments.snapshots:
            generator = open_generator(str(path))
            made = samples(generator, arguments.samples, seed=1)
            print(f"| {features} | {path.stem} | {kid(map(to_uint8, made)):.4f} |", flush=True)


if __name__ == "__main__":
    main()
