"""invcomp web: a static site that shows .ivc files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show
from .jobs import obstacle
from .models import fetch_bundle
from .options import DEFAULT_MODEL, Force


def web(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="SITE", help="Folder of the site.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Model that the site decodes with; may be given several times.",
            show_default=DEFAULT_MODEL,
        ),
    ] = None,
    half: Annotated[
        bool | None,
        typer.Option(
            "--half/--no-half",
            help="Round weights to float16 and int8: smaller files.",
            show_default="without --model",
        ),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            help="npm's package onnxruntime-web, packed or unpacked.",
            show_default="fetched by npm",
        ),
    ] = None,
    qr_reader: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            help="npm's package zxing-wasm, packed or unpacked.",
            show_default="fetched by npm",
        ),
    ] = None,
    webgpu: Annotated[
        bool,
        typer.Option("--webgpu", help="Use graphics cards, where browsers do; adds 27 MB."),
    ] = False,
    force: Force = False,
) -> None:
    """Write a static site that shows .ivc files in a browser, also without a network.

    Any file server can serve it. It asks no other host for anything.
    """
    from ..errors import OutputError

    show.needs("onnx", "onnx", "onnxscript", "onnxruntime")
    if reason := obstacle(output / "index.html", force):
        raise OutputError(reason)
    from ..web import write_site

    with show.Meter() as meter:
        names, half = model or [DEFAULT_MODEL], not model if half is None else half
        bundles = [fetch_bundle(name, meter, aids=False) for name in names]
        manifests = write_site(bundles, output, half, runtime, qr_reader, webgpu, force)
    listed = ", ".join(manifest["name"] for manifest in manifests)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    show.result(f"{output}: {size / 1e6:.1f} MB, decodes with {listed}")
    show.result(f"to see it: python -m http.server --directory {output}")
