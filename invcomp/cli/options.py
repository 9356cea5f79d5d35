"""Arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

DEFAULT_MODEL = "faces-1024"
LARGEST_SEED = 1 << 40


def checked_seed(seed: int | None) -> int | None:
    """A seed that all random generators take.

    Raises:
        BadParameter: it has too many digits.
    """
    if seed is not None and abs(seed) > LARGEST_SEED:
        raise typer.BadParameter(f"at most {LARGEST_SEED}")
    return seed


Output = Annotated[
    str | None,  # not a Path, which would drop the final slash that means a folder
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|DIR",
        help="Output file, or folder if there are several inputs; - for stdout.",
        show_default="next to each input",
    ),
]
Model = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="A known model or a bundle file (.ivm).")
]
FilesModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|FILE",
        help="A known model or a bundle file (.ivm).",
        show_default="the model named in the file",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace existing output.")]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Device to compute on.")]
Compile = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile",
        help="Compile the generator first: takes a minute or two once, then iterations are faster.",
        show_default="on CPUs, from 512 px or 30 images on",
    ),
]
Face = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Which face of a photo, 1 for the largest.", show_default="the largest"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def examples(*lines: str) -> str:
    """The epilog of a command: its examples, one per line."""
    return "\n\n".join(["Examples:", *(f"[cyan]{line}[/cyan]" for line in lines)])
