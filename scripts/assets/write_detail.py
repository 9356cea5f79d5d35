"""Gives faces-1024 its detail: channels of inner maps, and the entropy model of their integers.

    python scripts/assets/write_detail.py PORTRAITS/ WILD/ -o runs/detail
    python scripts/assets/write_detail.py PORTRAITS/ WILD/ -o runs/detail --part 0 2
    python scripts/assets/write_detail.py PORTRAITS/ WILD/ -o runs/detail --fast --iterations 60

Measures the channels (3 minutes), encodes the calibration portraits of prepare_faces.py with a
provisional model at each of --indices, fits the model to their integers and writes
pretrained/faces-1024.safetensors. The table of qualities is fitted to the same files where they
have a detail, and keeps what was measured without one; faces-128 gets it too. The bundle's
fingerprint stays. --part 0 2 and --part 1 2 in parallel encode half of the portraits each and write
nothing; then run without --part. Images that are encoded already are only read. A killed run
continues where it stopped.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
from calibrate_quality import write_settings
from prepare_faces import PRETRAINED, calibration_portraits

from invcomp.bitstream import DETAIL, IvcFile
from invcomp.bundle import Bundle
from invcomp.calibration import CodedImage, code_images, with_detail_priors
from invcomp.detail_preparation import MapMeasurement
from invcomp.device import choose_device
from invcomp.inversion.detail import COARSEST
from invcomp.inversion.options import SearchOptions
from invcomp.latents.detail import Detail
from invcomp.latents.prior import prior_of
from invcomp.lookup import load_bundle
from invcomp.measurement import perceptual_features
from invcomp.preparation import PrepareOptions
from invcomp.quality import QUALITIES, fit_steps, lpips_of

MODEL, PROXY = "faces-1024", "faces-128"
DEFAULT_QUALITY = 55  # the coarsest at which a file has a useful detail
PROXY_QUALITY = 50  # it has no detail, and more bytes gain nothing


def measured(bundle: Bundle, folder: Path) -> Detail:
    """The detail of a bundle with a provisional entropy model."""
    options, device = PrepareOptions(), choose_device("cpu")
    prior, _ = prior_of(bundle.generator, options.prior_samples, options.tau, options.seed, device)
    features = perceptual_features(bundle.settings, bundle.resolution)
    measurement = MapMeasurement(
        bundle.generator, features, prior, options.draw_tau, options.seed, device
    )
    found = measurement.run(
        folder / "maps.draws", lambda done, total: print("maps", done, total, flush=True)
    )
    assert found is not None
    return found


def report(folder: Path, before: Detail, after: Detail) -> None:
    """Prints the bytes of the detail of every encoded portrait, before and after the fit."""
    for path in sorted(folder.glob("*.ivc")):
        file = IvcFile.unpack(path.read_bytes())
        layer = file.layer(DETAIL)
        payload = None if layer is None else before.unpack(layer)
        if payload is None:
            print(f"{path.name}: no detail")
            continue
        integers = before.model.decode(payload, file.step_index)
        fitted = after.model.encode(integers, file.step_index)
        ideal = after.model.code_length(integers, file.step_index).sum() / 8
        print(
            f"{path.name}: vector {len(file.payloads[0])} B, detail {len(payload)} B before, "
            f"{len(fitted)} B (ideal {ideal:.0f}), {int((integers != 0).sum())} integers"
        )


def with_finer_qualities(bundle: Bundle, coded: Sequence[CodedImage]) -> Bundle:
    """The bundle with another table of qualities from COARSEST on, where files have a detail."""
    table, means = bundle.settings.quality_steps, defaultdict(list)
    for index in {*(step for step in table if step < COARSEST), COARSEST}:
        means[index].append(lpips_of(float(np.interp(index, table, QUALITIES))))
    for image in coded:
        means[image.step_index].append(image.lpips)
    measured = {index: fmean(values) for index, values in means.items()}
    print({index: round(measured[index], 4) for index in sorted(measured)})
    settings = replace(
        bundle.settings, quality_steps=fit_steps(measured), default_quality=DEFAULT_QUALITY
    )
    print(f"qualities {QUALITIES}: step indices {settings.quality_steps}")
    return replace(bundle, settings=settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path, nargs="+", help="folders")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/detail"))
    parser.add_argument("--indices", type=int, nargs="+", default=[92, 116, 140])
    parser.add_argument("--first", type=int, help="use only the first N portraits")
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), metavar=("PART", "OF"))
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--dry", action="store_true", help="write nothing to pretrained/")
    arguments = parser.parse_args()
    first, parts = arguments.part
    paths = calibration_portraits(arguments.portraits)[: arguments.first][first::parts]
    arguments.output.mkdir(parents=True, exist_ok=True)
    bundle = load_bundle(MODEL)
    provisional = replace(bundle, detail=measured(bundle, arguments.output))
    coded = code_images(
        provisional,
        paths,
        arguments.output,
        arguments.indices,
        progress=lambda stage, done, total: print(stage, done, total, flush=True),
        search=SearchOptions(fast=arguments.fast, iterations=arguments.iterations),
    )
    if parts > 1:
        return
    fitted = with_finer_qualities(with_detail_priors(provisional, coded), coded)
    assert provisional.detail is not None
    assert fitted.detail is not None
    report(arguments.output, provisional.detail, fitted.detail)
    if not arguments.dry:
        fitted.save(PRETRAINED / f"{MODEL}.safetensors", generator=False)
        proxy = load_bundle(PROXY)  # it shares the files, and so what a quality means
        steps = fitted.settings.quality_steps
        settings = replace(proxy.settings, quality_steps=steps, default_quality=PROXY_QUALITY)
        write_settings(PRETRAINED / f"{PROXY}.safetensors", settings)


if __name__ == "__main__":
    main()
