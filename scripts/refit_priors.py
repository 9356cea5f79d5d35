"""Fits the priors of faces-1024 anew, coordinates and generator staying as they are.

    python scripts/refit_priors.py PORTRAITS/ -o runs/priors
    python scripts/refit_priors.py PORTRAITS/ -o runs/priors --first 6 --dry

Codes the calibration portraits of prepare_faces.py at each of the calibration's steps (a minute
each on two cores), fits scales, slopes and shape to what was found and the table of qualities to
what the files measure, says what that saves, and writes pretrained/faces-1024.safetensors. Its
fingerprint changes: its search aids and its proxy, which go by it, are written anew too. A killed
run goes on where it stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from prepare_faces import CALIBRATION, PRETRAINED

from invcomp.bundle import Bundle, Original, load_bundle
from invcomp.inversion.aids import SearchAids
from invcomp.preparation import (
    CodedPhotograph,
    PrepareOptions,
    code_photographs,
    with_priors,
    with_qualities,
)

MODEL, PROXY = "faces-1024", "faces-128"


def size(bundle: Bundle, coded: list[CodedPhotograph], step_index: int) -> float:
    """Mean bytes of payload of the photographs coded at a step, by a bundle's tables."""
    lengths = [
        bundle.tables.code_length(photograph.integers.numpy(), step_index).sum() / 8
        for photograph in coded
        if photograph.step_index == step_index
    ]
    return float(np.mean(lengths))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/priors"))
    parser.add_argument("--first", type=int, help="only so many of the portraits")
    parser.add_argument("--dry", action="store_true", help="write nothing to pretrained/")
    arguments = parser.parse_args()
    half = len(CALIBRATION) // 2  # the two kinds take turns
    names = [
        name for pair in zip(CALIBRATION[:half], CALIBRATION[half:], strict=True) for name in pair
    ]
    paths = [arguments.portraits / f"{name}.jpg" for name in names[: arguments.first]]
    arguments.output.mkdir(parents=True, exist_ok=True)
    bundle = load_bundle(MODEL)
    coded = code_photographs(
        bundle,
        paths,
        arguments.output,
        progress=lambda stage, done, total: print(stage, done, total, flush=True),
        compiled=True,
    )
    refitted = with_qualities(with_priors(bundle, coded), coded)
    for index in PrepareOptions.calibration_steps:
        before, after = size(bundle, coded, index), size(refitted, coded, index)
        print(
            f"step index {index}: {before:.1f} B before, {after:.1f} B ({after / before - 1:+.1%})"
        )
    quality = refitted.settings.made["quality"]["lpips"]
    print(f"LPIPS {quality}: steps of quality {refitted.settings.quality_steps}")
    if arguments.dry:
        return
    proxy = replace(load_bundle(PROXY), aids=SearchAids())
    refitted.save(PRETRAINED / f"{MODEL}.safetensors", generator=False)
    refitted.aids.save(PRETRAINED / f"{MODEL}-search.safetensors", refitted.fingerprint)
    settings = replace(
        proxy.settings,
        shape=refitted.settings.shape,
        quality_steps=refitted.settings.quality_steps,  # as files are those of both
        default_quality=refitted.settings.default_quality,
        original=Original(refitted.fingerprint.hex(), refitted.generator.resolution),
    )
    proxy = replace(proxy, tables=refitted.tables, settings=settings)
    proxy.save(PRETRAINED / f"{PROXY}.safetensors")
    print(f"fingerprint {refitted.fingerprint.hex()[:8]}")


if __name__ == "__main__":
    main()
