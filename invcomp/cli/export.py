"""invcomp export: a model's decoder for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show
from .jobs import obstacle
from .models import fetch_bundle
from .options import Force

FORMATS = ("onnx",)


def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A known model or a bundle file (.ivm).")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write to.")
    ],
    form: Annotated[
        str, typer.Option("--format", metavar="onnx", help="Format of the network.")
    ] = FORMATS[0],
    half: Annotated[
        bool,
        typer.Option("--half", help="Round weights to float16 and int8: a smaller file."),
    ] = False,
    force: Force = False,
) -> None:
    """Write a model's decoder for other programs: a network and the tables of the bitstream.

    The network takes the integers of a file and returns the image. It is compared with torch.
    """
    from ..errors import OptionError, OutputError

    if form not in FORMATS:
        raise OptionError(f"--format {form}: must be {', '.join(FORMATS)}")
    show.needs("onnx", "onnx", "onnxscript", "onnxruntime")
    from ..export import MANIFEST, NETWORK, TABLES, export_bundle

    for name in (NETWORK, TABLES, MANIFEST):
        if reason := obstacle(output / name, force):
            raise OutputError(reason)
    with show.Meter() as meter:
        bundle = fetch_bundle(model, meter, aids=False)
        found = export_bundle(bundle, output, half, force)
    largest = found.difference.largest
    show.result(
        f"{output}: {found.manifest['resolution']} px, {found.size / 1e6:.1f} MB, "
        f"at most {largest}/255 from torch (mean {found.difference.mean:.2g}/255)"
    )
