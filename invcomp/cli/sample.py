"""invcomp sample: random images of a generator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show
from .jobs import obstacle
from .models import download_progress
from .options import Device, Force, checked_seed


def sample(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Known model, bundle, generator or training run."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Image of the grid.")
    ] = Path("samples.png"),
    count: Annotated[int, typer.Option("-n", metavar="N", min=1, help="Number of images.")] = 64,
    truncation: Annotated[
        float,
        typer.Option(metavar="T", min=0, help="Below 1: closer to the mean, cleaner, less varied."),
    ] = 1.0,
    size: Annotated[
        int | None, typer.Option(metavar="PX", min=1, help="Side of each image in the grid.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed.", callback=checked_seed)] = 0,
    class_index: Annotated[
        int | None,
        typer.Option(
            "--class",
            metavar="N",
            help="Class, if the model has classes.",
            show_default="random",
        ),
    ] = None,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Draw random images of a generator as a grid."""
    from ..errors import OutputError

    if reason := obstacle(output, force):
        raise OutputError(reason)
    from ..device import choose_device
    from ..generators.sampling import grid, samples
    from ..lookup import open_generator
    from .images import image_format, write_image

    image_format(output)  # fails on an unknown suffix

    with show.Meter() as meter:
        generator = open_generator(model, download_progress(meter, model)).to(choose_device(device))
        images = []
        for batch in samples(generator, count, seed, truncation, size, class_index):
            images.append(batch)
            done = sum(map(len, images))
            meter.show("samples", done, count, f"{done} of {count}")
    write_image(grid(images), output, force)
    show.result(f"{output}: {count} samples")
