"""invcomp distill: a small proxy of a large model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show
from .jobs import obstacle
from .models import fetch_bundle
from .options import Device, Force


def distill(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A known model or a bundle file (.ivm).")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT.ivm", help="Bundle of the proxy.")
    ],
    resolution: Annotated[
        int, typer.Option(metavar="PX", help="Resolution of the proxy, a power of two.")
    ] = 128,
    pairs: Annotated[
        int, typer.Option(metavar="N", help="Number of generated images to train on.")
    ] = 8000,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Training steps.",
            show_default="1500, or 3600 from random weights",
        ),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of training pairs and checkpoints.",
            show_default="next to the output, deleted at the end",
        ),
    ] = None,
    device: Device = "auto",
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Compile the generator (takes a minute).")
    ] = False,
    force: Force = False,
) -> None:
    """Train a small proxy of a model. Both decode the same files.

    The proxy makes small images without the model's weights.

    Takes an hour or two on a CPU. A stopped run continues when it is started again.
    """
    from ..errors import OutputError
    from ..training.proxy import distill as train

    if reason := obstacle(output, force):
        raise OutputError(reason)
    with show.Meter() as meter:
        bundle = fetch_bundle(model, meter)
        proxy, lpips = train(
            bundle,
            output,
            resolution,
            pairs,
            steps,
            work,
            device,
            compiled,
            lambda stage, done, total: meter.show(stage, done, total, f"{done} of {total}"),
        )
    parameters = sum(value.numel() for value in proxy.generator.parameters())
    show.result(
        f"{output}: {proxy.generator.resolution} px, {parameters / 1e6:.1f} M parameters, "
        f"{output.stat().st_size / 1e6:.1f} MB, LPIPS {lpips:.3f} against {model}"
    )
