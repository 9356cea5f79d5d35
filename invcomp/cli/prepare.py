"""invcomp prepare: makes a bundle from a generator."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from . import show
from .jobs import obstacle
from .models import download_progress
from .options import Device, Force, checked_seed


def prepare(
    generator: Annotated[
        str,
        typer.Argument(
            metavar="GENERATOR",
            help="A known model, a training run's folder, or a file (.ivm, .safetensors).",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT.ivm", help="Bundle to write.")
    ],
    draws: Annotated[
        int | None, typer.Option(metavar="N", help="Backward passes to estimate the metric.")
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Images of the domain, in the generator's frame. The priors are fitted to them, "
            "and the table for `compress --quality` is measured on them.",
        ),
    ] = None,
    coordinates: Annotated[
        int | None, typer.Option(metavar="K", help="Number of coordinates to keep.")
    ] = None,
    tau: Annotated[
        float | None,
        typer.Option(metavar="T", help="How far layers may deviate from their common latent."),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(metavar="B", help="Weight of squared error relative to LPIPS."),
    ] = None,
    closer: Annotated[
        float | None,
        typer.Option(
            metavar="W",
            help="Weight of LPIPS at 512 px in the search. With 0 a search takes half the time, "
            "and small shapes are less true.",
            show_default="1 from 256 px on, without --faces",
        ),
    ] = None,
    faces: Annotated[
        bool,
        typer.Option(
            "--faces",
            help="The domain is faces aligned as in FFHQ: add identity to the distortion, and "
            "find and align the face of each image.",
        ),
    ] = False,
    frame: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How images are fitted: ffhq-face, center-crop, pad or stretch.",
            show_default="ffhq-face with --faces, else as in training, or center-crop",
        ),
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Draws per batch.")] = None,
    encoder: Annotated[
        bool,
        typer.Option(
            "--encoder",
            help="Also train networks that make the search faster: an encoder network and, for a "
            "large generator, a surrogate of its last layers.",
        ),
    ] = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Keep a bundle's coordinates and priors, so that it decodes the same files. Only "
            "train what --encoder trains, set --closer and, with --photos, measure the quality "
            "table.",
        ),
    ] = False,
    pairs: Annotated[
        int, typer.Option(metavar="N", help="Number of generated images for --encoder.")
    ] = 8000,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Random seed.", callback=checked_seed)
    ] = None,
    device: Device = "auto",
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Compile the generator (takes a minute).")
    ] = False,
    force: Force = False,
) -> None:
    """Prepare a generator for compression: perceptual coordinates, priors, quality table.

    Takes minutes to hours.

    A stopped run continues when it is started again.
    """
    if reason := obstacle(output, force):
        from ..errors import OutputError

        raise OutputError(reason)
    from ..calibration import code_images, coded_beside, with_limits, with_qualities
    from ..distilled.aids import SearchAids
    from ..errors import OptionError
    from ..lookup import load_bundle, open_generator
    from ..perception.identity import Face
    from ..preparation import PrepareOptions, check_closer, drop_work, make_bundle
    from ..preprocessing.frame import FACE

    given: dict[str, Any] = {
        "draws": draws,
        "coordinates": coordinates,
        "tau": tau,
        "beta": beta,
        "closer": closer,
        "face": Face() if faces else None,
        "frame": frame or (FACE if faces else None),
        "batch": batch,
        "seed": seed,
    }
    options = PrepareOptions(**{name: value for name, value in given.items() if value is not None})
    if keep and not encoder and photos is None and closer is None:
        raise OptionError("--keep needs --encoder, --closer or --photos")
    images = _images(photos)
    with show.Meter() as meter:

        def progress(stage: str, done: int, total: int) -> None:
            meter.show(stage, done, total, f"{done} of {total}")

        fetched = download_progress(meter, generator)
        if keep:
            bundle = load_bundle(generator, fetched)
            bundle = replace(bundle, aids=SearchAids()) if encoder else bundle
            if closer is not None:
                check_closer(closer, bundle.settings.face)
                bundle = replace(bundle, settings=replace(bundle.settings, closer=closer))
            if images:
                folder, steps = coded_beside(output), options.calibration_steps
                coded = code_images(bundle, images, folder, steps, progress, device, compiled)
                bundle = with_limits(with_qualities(bundle, coded), coded)
        else:
            opened = open_generator(generator, fetched)
            bundle = make_bundle(opened, output, options, images, progress, device, compiled)
        folder = output.with_name(output.name + ".pairs")
        if encoder:
            from ..training.distillation import train_aids

            bundle, quality = train_aids(bundle, folder, pairs, device, compiled, progress)
            for name, value in quality.items():
                show.result(f"{name}: {value:.3f}")
        bundle.save(output)  # intermediate results are kept until here
        drop_work(output)
        shutil.rmtree(folder, ignore_errors=True)
    show.result(
        f"{output}: {bundle.settings.name}, {bundle.coordinates.count} coordinates, "
        f"fingerprint {bundle.fingerprint[:4].hex()}"
    )


def _images(folder: Path | None) -> list[Path]:
    """All images in the folder; checks that each is readable before hours of work."""
    from ..errors import ImageError
    from ..preprocessing.reading import read_image, readable_suffixes
    from .jobs import find_sources

    if folder is None:
        return []
    outcomes = show.Outcomes()
    paths = find_sources([folder], readable_suffixes(), outcomes)
    for path in paths:
        try:
            read_image(path)
        except ImageError as error:
            outcomes.failed(str(error))
    outcomes.finish()
    return paths
