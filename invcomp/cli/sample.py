"""invcomp sample: images that a generator makes of nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show
from .jobs import obstacle
from .models import download_progress
from .options import Device, Force


def sample(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A known model, a bundle, a generator, or a run."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The grid to write.")
    ] = Path("samples.png"),
    count: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many images.")] = 64,
    truncation: Annotated[
        float,
        typer.Option(metavar="T", min=0, help="Below 1: nearer to the mean, cleaner, more alike."),
    ] = 1.0,
    size: Annotated[
        int | None, typer.Option(metavar="PX", min=1, help="Side of each image in the grid.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the images.")] = 0,
    class_index: Annotated[
        int | None,
        typer.Option(
            "--class", metavar="N", help="Of a class-conditional model.", show_default="random"
        ),
    ] = None,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Draw samples of a generator as a grid."""
    from ..errors import OutputError

    if reason := obstacle(output, force):
        raise OutputError(reason)
    from ..bundle import open_generator
    from ..device import choose_device
    from ..generators.sampling import grid, samples
    from .images import image_format, write_image

    image_format(output)  # refuses a suffix that means nothing

    with show.Meter() as meter:
        generator = open_generator(model, download_progress(meter, model)).to(choose_device(device))
        images = []
        for batch in samples(generator, count, seed, truncation, size, class_index):
            images.append(batch)
            done = sum(map(len, images))
            meter.show("samples", done, count, f"{done} of {count}")
    write_image(grid(images), output, force)
    show.result(f"{output}: {count} samples")
