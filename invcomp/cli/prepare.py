"""invcomp prepare: a generator to a bundle."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from . import show
from .jobs import obstacle
from .models import download_progress
from .options import Device, Force


def prepare(
    generator: Annotated[
        str,
        typer.Argument(
            metavar="GENERATOR",
            help="A known model, a training's folder, or a file: .ivm or .safetensors.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT.ivm", help="The bundle to write.")
    ],
    draws: Annotated[
        int | None, typer.Option(metavar="N", help="Backward passes that estimate the metric.")
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Images of the domain, in the generator's frame: priors are fitted to them, "
            "and measured what --quality of `compress` needs.",
        ),
    ] = None,
    coordinates: Annotated[
        int | None, typer.Option(metavar="K", help="Coordinates that are kept.")
    ] = None,
    tau: Annotated[
        float | None,
        typer.Option(metavar="T", help="How far layers may differ from their common latent."),
    ] = None,
    beta: Annotated[
        float | None, typer.Option(metavar="B", help="Weight of squared error against LPIPS.")
    ] = None,
    faces: Annotated[
        bool,
        typer.Option(
            "--faces",
            help="The domain is faces aligned as in FFHQ: identity is a part of the distortion.",
        ),
    ] = False,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Draws at once.")] = None,
    encoder: Annotated[
        bool,
        typer.Option(
            "--encoder",
            help="Also train what makes the search fast: an encoder that says where to start and, "
            "for a large generator, a surrogate for its last layers.",
        ),
    ] = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Of a bundle, keep coordinates and priors: new is only what --encoder trains, and "
            "with --photos what --quality means.",
        ),
    ] = False,
    pairs: Annotated[
        int, typer.Option(metavar="N", help="Generated images that --encoder learns from.")
    ] = 8000,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of all that is drawn.")] = None,
    device: Device = "auto",
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Compile the generator: a minute once.")
    ] = False,
    force: Force = False,
) -> None:
    """Prepare a generator for compression: perceptual coordinates, priors, what a quality means.

    Takes minutes to hours.

    Stopped and started again, it goes on where it was.
    """
    if reason := obstacle(output, force):
        from ..errors import OutputError

        raise OutputError(reason)
    from ..bundle import load_bundle, open_generator
    from ..distilled.aids import SearchAids
    from ..errors import OptionError
    from ..perception.identity import Face
    from ..preparation import (
        PrepareOptions,
        code_images,
        coded_beside,
        drop_work,
        make_bundle,
        with_qualities,
    )

    given: dict[str, Any] = {
        "draws": draws,
        "coordinates": coordinates,
        "tau": tau,
        "beta": beta,
        "face": Face() if faces else None,
        "batch": batch,
        "seed": seed,
    }
    options = PrepareOptions(**{name: value for name, value in given.items() if value is not None})
    if keep and not encoder and photos is None:
        raise OptionError("--keep leaves nothing to do without --encoder or --photos")
    images = _images(photos)
    with show.Meter() as meter:

        def progress(stage: str, done: int, total: int) -> None:
            meter.show(stage, done, total, f"{done} of {total}")

        fetched = download_progress(meter, generator)
        if keep:
            bundle = load_bundle(generator, fetched)
            bundle = replace(bundle, aids=SearchAids()) if encoder else bundle
            if images:
                folder, steps = coded_beside(output), options.calibration_steps
                coded = code_images(bundle, images, folder, steps, progress, device, compiled)
                bundle = with_qualities(bundle, coded)
        else:
            opened = open_generator(generator, fetched)
            bundle = make_bundle(opened, output, options, images, progress, device, compiled)
        folder = output.with_name(output.name + ".pairs")
        if encoder:
            from ..training.distillation import train_aids

            bundle, quality = train_aids(bundle, folder, pairs, device, compiled, progress)
            for name, value in quality.items():
                show.result(f"{name}: {value:.3f}")
        bundle.save(output)  # all work is kept until here
        drop_work(output)
        shutil.rmtree(folder, ignore_errors=True)
    show.result(
        f"{output}: {bundle.settings.name}, {bundle.coordinates.count} coordinates, "
        f"fingerprint {bundle.fingerprint[:4].hex()}"
    )


def _images(folder: Path | None) -> list[Path]:
    """Every image in the folder; each must be readable before hours of work begin."""
    from ..errors import ImageError
    from .images import read_image, readable_suffixes
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
