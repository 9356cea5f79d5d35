"""Measures how often the search finds the class of a generated image, in two ways.

    python scripts/benchmarks/experiment_classes.py --samples 16    # the eye model, 8 colours

The images are samples of the class-conditional model itself, so their class is known; the classes
alternate. "looked": the class with the closest mean, as in screening. "followed": the class of the
start that the search chooses.
"""

from __future__ import annotations

import argparse

import torch

from invcomp.codec import Codec
from invcomp.inversion.options import SearchOptions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="dcgan-eyes-128")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seed", type=int, default=11)
    arguments = parser.parse_args()
    codec = Codec.load(arguments.model, compiled=False)
    generator, index = codec.decoder.generator, codec.encoder.step_index()
    search = codec.encoder.searcher(SearchOptions(), 1)
    source = torch.Generator().manual_seed(arguments.seed)
    right = dict.fromkeys(("looked", "followed"), 0)
    for number in range(arguments.samples):
        true = number % generator.classes
        z = torch.randn(1, generator.z_size, generator=source).to(codec.device)
        classes = torch.tensor([true], device=codec.device)
        with torch.no_grad():
            image = generator(generator.spread(generator.sample(z, classes)))
        target = search.distortion.target(image)
        means = torch.zeros(generator.classes, codec.decoder.coordinates.count, device=codec.device)
        each = torch.arange(generator.classes, device=codec.device)
        with torch.no_grad():
            distances = search.distortion(search.space.latents(means, each), target)
        found = [
            int(distances.argmin()),
            int(search.start(image, index, SearchOptions()).classes),
        ]
        for name, guess in zip(right, found, strict=True):
            right[name] += guess == true
        print(f"class {true}: {dict(zip(right, found, strict=True))}", flush=True)
    print(", ".join(f"{name} {count} of {arguments.samples}" for name, count in right.items()))


if __name__ == "__main__":
    main()
