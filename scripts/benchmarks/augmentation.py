"""Measures seconds per augmented training batch: ours against equivalent kornia operations.

    pip install kornia && python scripts/benchmarks/augmentation.py

Forward and backward, float32, one thread: flip, brightness, saturation, contrast, translation by up
to an eighth, a cut-out square of a quarter of the image, each with probability p.
"""

from __future__ import annotations

import argparse
import time

import kornia.augmentation as K
import torch

from invcomp.training.augmentation import RANDOMS, augment


def seconds(call: object, images: torch.Tensor, repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        x = images.clone().requires_grad_()
        started = time.perf_counter()
        call(x).square().sum().backward()  # type: ignore[operator]
        best = min(best, time.perf_counter() - started)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--p", type=float, default=0.3)
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    p = arguments.p
    images = torch.rand(arguments.batch, 3, arguments.resolution, arguments.resolution)
    theirs = torch.nn.Sequential(
        K.RandomHorizontalFlip(p=p / 2),
        K.RandomBrightness((0.5, 1.5), p=p),
        K.RandomSaturation((0.0, 2.0), p=p),
        K.RandomContrast((0.5, 1.5), p=p),
        K.RandomTranslate((-0.125, 0.125), (-0.125, 0.125), p=p),
        K.RandomErasing((0.25, 0.25), (1.0, 1.0), p=p),
    )
    ours = seconds(
        lambda x: augment(x, torch.tensor(p), torch.rand(len(x), RANDOMS)),
        images,
        arguments.repeats,
    )
    kornia = seconds(theirs, images, arguments.repeats)
    print(f"ours {ours * 1000:.1f} ms, kornia {kornia * 1000:.1f} ms, batch {arguments.batch}")


if __name__ == "__main__":
    main()
