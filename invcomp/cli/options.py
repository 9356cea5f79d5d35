"""The arguments that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT_MODEL = "faces-1024"

Output = Annotated[
    str | None,  # a string, as a path would lose the slash that makes it a folder
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|DIR",
        help="Where to write: a folder for several files.",
        show_default="beside each input",
    ),
]
Model = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="A known model or a bundle's file (.ivm).")
]
FilesModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|FILE",
        help="A known model or a bundle's file (.ivm).",
        show_default="what the file names",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace existing output.")]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where to compute.")]
Compile = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile",
        help="Compile the generator first: a minute once, then faster iterations.",
        show_default="where it pays",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def examples(*lines: str) -> str:
    """A verb's epilog: its examples, one a line."""
    return "\n\n".join(["Examples:", *(f"[cyan]{line}[/cyan]" for line in lines)])
