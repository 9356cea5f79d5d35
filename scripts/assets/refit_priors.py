"""Refits the priors of faces-1024 and keeps its coordinates and generator.

    python scripts/assets/refit_priors.py PORTRAITS/ WILD/ -o runs/priors
    python scripts/assets/refit_priors.py PORTRAITS/ WILD/ -o runs/priors --first 6 --dry
    python scripts/assets/refit_priors.py PORTRAITS/ -o runs/fit --fast --iterations 40 --part 0 2

Encodes the calibration portraits of prepare_faces.py at each calibration q_step (a minute each on
two cores). --part 0 2 and --part 1 2 in parallel encode half of them each and fit nothing; then run
without --part. Fits scales, slopes and shape to the coordinates found and, with the default search,
the quality table to the measured files. Prints the saving and writes
pretrained/faces-1024.safetensors. Its fingerprint changes, so its search aids and its proxy, which
depend on it, are also rewritten. A killed run continues where it stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from prepare_faces import PRETRAINED, calibration_portraits

from invcomp.bundle import Bundle, Original
from invcomp.calibration import CodedImage, code_images, with_priors, with_qualities
from invcomp.distilled.aids import SearchAids
from invcomp.inversion.options import SearchOptions
from invcomp.lookup import load_bundle
from invcomp.preparation import PrepareOptions

MODEL, PROXY = "faces-1024", "faces-128"


def size(bundle: Bundle, coded: list[CodedImage], step_index: int) -> float:
    """Mean payload in bytes of the images encoded at a q_step, with a bundle's entropy model."""
    lengths = [
        bundle.entropy.code_length(image.integers.numpy(), step_index).sum() / 8
        for image in coded
        if image.step_index == step_index
    ]
    return float(np.mean(lengths))


def write_models(bundle: Bundle, proxy: Bundle) -> None:
    """Writes faces-1024, its search aids and its proxy to pretrained/, with one fingerprint.

    Args:
        bundle: with its search aids.
        proxy: for its generator; everything about files comes from the bundle.
    """
    bundle.save(PRETRAINED / f"{MODEL}.safetensors", generator=False)
    bundle.aids.save(PRETRAINED / f"{MODEL}-search.safetensors", bundle.fingerprint)
    settings = replace(
        proxy.settings,
        quality_steps=bundle.settings.quality_steps,
        default_quality=bundle.settings.default_quality,
        face=bundle.settings.face,
        original=Original(bundle.fingerprint.hex(), bundle.generator.resolution),
    )
    made = replace(proxy, entropy=bundle.entropy, settings=settings, aids=SearchAids())
    made.save(PRETRAINED / f"{PROXY}.safetensors")
    print(f"fingerprint {bundle.fingerprint.hex()[:8]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path, nargs="+", help="folders")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/priors"))
    parser.add_argument("--first", type=int, help="use only the first N portraits")
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), metavar=("PART", "OF"))
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--iterations", "--steps", type=int)
    parser.add_argument("--dry", action="store_true", help="write nothing to pretrained/")
    arguments = parser.parse_args()
    first, parts = arguments.part
    paths = calibration_portraits(arguments.portraits)[: arguments.first][first::parts]
    arguments.output.mkdir(parents=True, exist_ok=True)
    bundle = load_bundle(MODEL)
    coded = code_images(
        bundle,
        paths,
        arguments.output,
        progress=lambda stage, done, total: print(stage, done, total, flush=True),
        compiled=True,
        search=SearchOptions(fast=arguments.fast, iterations=arguments.iterations),
    )
    if parts > 1:
        return
    refitted = with_priors(bundle, coded)
    if (
        not arguments.fast and arguments.iterations is None
    ):  # qualities are defined by the default search
        refitted = with_qualities(refitted, coded)
    for index in PrepareOptions.calibration_steps:
        before, after = size(bundle, coded, index), size(refitted, coded, index)
        print(
            f"step index {index}: {before:.1f} B before, {after:.1f} B ({after / before - 1:+.1%})"
        )
        lpips = [one.lpips for one in coded if one.step_index == index]
        print(f"    LPIPS-Alex {np.mean(lpips):.4f}, {len(lpips)} portraits")
    print(f"steps of quality {refitted.settings.quality_steps}")
    if arguments.dry:
        return
    write_models(refitted, load_bundle(PROXY))


if __name__ == "__main__":
    main()
