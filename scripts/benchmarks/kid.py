"""Measures KID of trained generators, by features of AlexNet and of VGG.

    python scripts/benchmarks/kid.py SNAPSHOT... --images IMAGES --frame stretch -o runs/kid

SNAPSHOTS are generators of one training (.safetensors, .ivm), IMAGES are what they were trained on:
the images that the training held out are compared with samples of each, with as many training
images, and two halves of the training images with each other. A training on features sees
AlexNet, so its KID by AlexNet is too good; VGG is seen by none (`invcomp models get lpips-vgg`).
Features are stored in the output folder as they come, so a stopped measurement goes on there; use
another folder for other images.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance

from invcomp.files import atomic_write
from invcomp.generators.base import Generator, normal, sample_of
from invcomp.generators.sampling import to_uint8
from invcomp.lookup import open_generator
from invcomp.perception.kid import NETWORKS, SUBSET_SIZE, SUBSETS, LpipsFeatures
from invcomp.training.data import Dataset, open_dataset
from invcomp.training.options import TrainOptions

CHUNK = 16  # images in a file of features: VGG's maps of 256 px are large


@dataclass
class Images:
    """A set of images; `batch` makes those from one index to another, uint8 [n, 3, R, R]."""

    name: str
    count: int
    batch: Callable[[int, int], Tensor]


def of_dataset(name: str, images: Dataset, chosen: np.ndarray) -> Images:
    return Images(name, len(chosen), lambda first, end: images.batch(chosen[first:end]))


@torch.no_grad()
def of_generator(name: str, generator: Generator, count: int) -> Images:
    latents = sample_of(generator, normal(count, generator.z_size, seed=1), None)

    def batch(first: int, end: int) -> Tensor:
        return to_uint8(generator(generator.spread(latents[first:end])))

    return Images(name, count, batch)


class Features:
    """Features of sets of images, [N, D], stored in a folder.

    Args:
        network: a name in `NETWORKS`.
        bfloat16: whether the network runs so: several times faster with AMX.
        folder: for the files.
    """

    def __init__(self, network: str, bfloat16: bool, folder: Path) -> None:
        self.network, self.bfloat16 = LpipsFeatures(NETWORKS[network]), bfloat16
        self.folder = folder / (network + ("-bfloat16" if bfloat16 else ""))

    @torch.no_grad()
    def of(self, images: Images) -> Tensor:
        starts = range(0, images.count, CHUNK)
        found = [self._chunk(images, first, min(first + CHUNK, images.count)) for first in starts]
        return torch.from_numpy(np.concatenate(found))

    def _chunk(self, images: Images, first: int, end: int) -> np.ndarray:
        path = self.folder / f"{images.name}-{images.count}-{first}.npy"
        if not path.exists():
            batch = images.batch(first, end)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
                seen = self.network(batch).float().numpy()
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary, temporary.open("wb") as file:
                np.save(file, seen)
        found: np.ndarray = np.load(path)
        return found


class AsGiven(nn.Identity):
    """Features that are known already. torchmetrics reads `num_features`."""

    num_features = 1


def distance(real: Tensor, fake: Tensor) -> float:
    """KID of features [N, D] and [M, D], as in a training."""
    size = min(SUBSET_SIZE, len(real), len(fake))
    metric = KernelInceptionDistance(AsGiven(), subsets=SUBSETS, subset_size=size)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    torch.manual_seed(0)  # the same subsets each time
    return float(metric.compute()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("snapshots", type=Path, nargs="*")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of features")
    parser.add_argument("--frame", default="center-crop")
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument(
        "--held-out", type=int, default=TrainOptions.held_out, help="as in the training"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--features", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--bfloat16", action="store_true", help="features in bfloat16")
    arguments = parser.parse_args()
    images = open_dataset(arguments.images, arguments.resolution, frame=arguments.frame)
    count = min(arguments.held_out, len(images) // 10)
    trained, held_out = images.split(count, arguments.seed)
    order = np.random.default_rng(0).permutation(len(trained))
    half, part = len(order) // 2, partial(of_dataset, images=trained)
    samples: int = arguments.samples
    print("| features | compared with | KID |\n|---|---|---|")
    for name in arguments.features:
        features = Features(name, arguments.bfloat16, arguments.output)
        real = features.of(of_dataset("held-out", held_out, np.arange(count)))
        for path in arguments.snapshots:
            made = of_generator(path.stem, open_generator(str(path)), samples)
            print(f"| {name} | {path.stem} | {distance(real, features.of(made)):.4f} |", flush=True)
        one = features.of(part("one-half", chosen=order[:half][:samples]))
        print(f"| {name} | training images | {distance(real, one):.4f} |", flush=True)
        other = features.of(part("other-half", chosen=order[half:][:samples]))
        print(f"| {name} | halves of the training | {distance(one, other):.4f} |", flush=True)


if __name__ == "__main__":
    main()
