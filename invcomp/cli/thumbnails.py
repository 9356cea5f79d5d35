"""invcomp archive thumbnails: small images of an archive's members, as files or on one sheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import show
from .archive import Path_, chosen, names_file, open_archive
from .jobs import obstacle
from .options import Device, FilesModel, Force

if TYPE_CHECKING:
    from PIL import Image

    from ..archive.reader import Archive

DEFAULT_SIZE = 128  # pixels: what the proxy of faces-1024 makes
LARGEST_SHEET = 1 << 27  # pixels
GAP = 4  # pixels between the images of a sheet


def thumbnails(
    path: Path_,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|DIR",
            help="A folder for an image of each member, or the file of one sheet with all.",
            show_default="a folder next to the archive",
        ),
    ] = None,
    size: Annotated[
        int, typer.Option("--size", metavar="N", min=1, help="Longer side in pixels.")
    ] = DEFAULT_SIZE,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="NAME",
            help="Only this member. May be repeated, and have a * in it.",
            show_default="all",
        ),
    ] = None,
    model: FilesModel = None,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Decode small images of the members.

    A model's small proxy makes them where there is one, without the model's weights: they are
    rough. Other members are decoded by their model and reduced.
    """
    from ..errors import OutputError
    from .images import image_format, write_image

    outcomes = show.Outcomes()
    opened = open_archive(path, model=model, device=device, size=size, proxy=True)
    for line in opened.damage:
        outcomes.failed(f"{path}: {line}")
    names = chosen(opened, only or [], path, outcomes)
    folder = path.with_name(f"{path.stem}-thumbnails") if output is None else Path(output)
    if not names_file(output):
        targets = {name: folder / f"{name}.png" for name in names}
        free = [name for name in names if not _in_the_way(path, name, targets, force, outcomes)]
        for name, image in _decoded(opened, path, free, outcomes):
            write_image(image, targets[name], force)
            show.result(f"{path}/{name} -> {targets[name]}  {image.width} x {image.height}")
        outcomes.finish()
        return
    image_format(folder)  # fails on an unknown suffix
    if reason := obstacle(folder, force):
        raise OutputError(reason)
    if len(names) * (size + GAP) ** 2 > LARGEST_SHEET:
        raise OutputError(f"{folder}: {len(names)} images of {size} px are too many for one sheet")
    images = [image for _, image in _decoded(opened, path, names, outcomes)]
    if images:
        write_image(_sheet(images, size), folder, force)
        show.result(f"{folder}: {len(images)} images")
    outcomes.finish()


def _in_the_way(
    path: Path, name: str, targets: dict[str, Path], force: bool, outcomes: show.Outcomes
) -> bool:
    """Whether an image of a member cannot be written, which is recorded."""
    reason = obstacle(targets[name], force)
    if reason:
        outcomes.failed(f"{path}/{name}: {reason}")
    return bool(reason)


def _decoded(
    opened: Archive, path: Path, names: Sequence[str], outcomes: show.Outcomes
) -> Iterator[tuple[str, Any]]:
    """Names and images of the members that can be decoded."""
    from ..errors import InvcompError

    with show.Meter() as meter:
        for done, name in enumerate(names):
            meter.show("decoding", done, len(names), f"{done} of {len(names)} images")
            try:
                yield name, opened[name]
            except InvcompError as error:
                outcomes.failed(f"{path}/{name}: {error}")


def _sheet(images: Sequence[Image.Image], size: int) -> Image.Image:
    """Images in rows, each in the middle of a white square."""
    from PIL import Image

    columns, cell = ceil(sqrt(len(images))), size + GAP
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * cell, rows * cell), "white")
    for at, image in enumerate(images):
        left, top = at % columns * cell, at // columns * cell
        place = (left + (cell - image.width) // 2, top + (cell - image.height) // 2)
        sheet.paste(image.convert("RGB"), place)
    return sheet
