"""invcomp qr: files in QR codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show
from .decompress import open_decoder
from .encode_options import open_codec, search_options
from .jobs import obstacle
from .options import DEFAULT_MODEL, Device, FilesModel, Force, Model, examples

DEFAULT_BYTES = 250  # version 11 with error correction M: see docs/qr.md

qr = typer.Typer(no_args_is_help=True, help="Write and read QR codes that hold .ivc files.")


@qr.command(
    epilog=examples(
        "invcomp qr encode portrait.jpg -o code.png",
        "invcomp qr encode portrait.jpg -o code.svg --version 10 --error-correction L",
        "invcomp qr encode portrait.ivc -o code.pdf --base45",
    )
)
def encode(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="An image, or an .ivc file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Code: .png, .svg or .pdf.")
    ],
    most_bytes: Annotated[
        int | None,
        typer.Option(
            "--bytes",
            metavar="N",
            help="Largest file in the code.",
            show_default=f"what the version holds, or {DEFAULT_BYTES}",
        ),
    ] = None,
    version: Annotated[
        int | None,
        typer.Option(
            metavar="1-40",
            help="Size of the code: 17 + 4 times the version modules a side.",
            show_default="the smallest that fits",
        ),
    ] = None,
    level: Annotated[
        str,
        typer.Option(
            "--error-correction",
            metavar="L|M|Q|H",
            help="How much of the code may be damaged: 7, 15, 25 or 30%.",
        ),
    ] = "M",
    base45: Annotated[
        bool,
        typer.Option("--base45", help="As text, for scanners that return text; 3% larger."),
    ] = False,
    scale: Annotated[int, typer.Option(metavar="N", help="Pixels of a module's side.")] = 8,
    model: Model = DEFAULT_MODEL,
    fast: Annotated[
        bool,
        typer.Option("--fast", help="Search two to three times faster; slightly higher LPIPS."),
    ] = False,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Compress an image into a QR code, or put a file into one.

    The file is as large as the code allows.
    """
    from ..errors import OptionError, OutputError

    show.needs("qr", "segno", "zxingcpp")
    from ..qr import capacity, make_code
    from ..qr.codes import FORMATS
    from .images import write_bytes

    if reason := obstacle(output, force):
        raise OutputError(reason)
    if output.suffix.lower() not in FORMATS:
        raise OptionError(f"{output}: a QR code is written as {', '.join(FORMATS)}")
    room = capacity(version or 40, level, base45)
    limit = min(room, most_bytes or (room if version else DEFAULT_BYTES))
    data = _file_of(image, limit, model, fast, device)
    code = make_code(data, level, version, base45)
    write_bytes(code.file(output.suffix, scale), output, force)
    form = "base45" if base45 else "binary"
    show.result(
        f"{output}: {len(data)} bytes, {form}, version {code.version} "
        f"({code.modules} x {code.modules} modules), error correction {code.level}"
    )


def _file_of(image: Path, limit: int, model: str, fast: bool, device: str) -> bytes:
    """The file to put into a code: a given one as it is, an image compressed.

    Raises:
        InvcompError: it cannot be read or compressed.
    """
    from ..bitstream import IvcFile
    from ..bitstream.ivc import read_ivc
    from ..errors import ImageError
    from ..inversion.options import Goal
    from ..preprocessing.reading import read_image

    if image.suffix.lower() == ".ivc":
        try:
            data = read_ivc(image)
        except OSError as error:
            raise ImageError(f"{image}: cannot be read: {error.strerror or error}") from error
        IvcFile.unpack(data)
        return data
    original = read_image(image)
    with show.Meter() as meter:
        codec = open_codec(model, device, None, meter)
        search, progress = search_options(fast=fast), show.search_progress(meter, image.name)
        goal = Goal(bytes=limit)
        return codec.compress(original, goal=goal, search=search, progress=progress)


@qr.command(
    epilog=examples(
        "invcomp qr decode code.png -o portrait.png",
        "invcomp qr decode photo-of-a-code.jpg -o portrait.ivc",
        "invcomp qr decode code.png -o portrait.png --model faces-128",
    )
)
def decode(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A code, or a photo of one.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="Decoded image, or .ivc for the file."),
    ],
    model: FilesModel = None,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Read the file in a QR code and decompress it."""
    from ..bitstream import IvcFile
    from ..errors import OutputError

    show.needs("qr", "segno", "zxingcpp")
    from ..decoder import decode_conventional
    from ..lookup import find_bundle
    from ..preprocessing.reading import read_image
    from ..qr import read_code
    from .images import image_format, write_bytes, write_image

    if reason := obstacle(output, force):
        raise OutputError(reason)
    is_file = output.suffix.lower() == ".ivc"
    if not is_file:
        image_format(output)  # fails on an unknown suffix
    data = read_code(read_image(image))
    if is_file:
        write_bytes(data, output, force)
    else:
        decoded = decode_conventional(data)
        if decoded is None:
            name = model or find_bundle(IvcFile.unpack(data).fingerprint)
            with show.Meter() as meter:
                decoder = open_decoder(name, device, meter)
            decoded = decoder.decompress(data)
        write_image(decoded, output, force)
    show.result(f"{output}: from a code of {len(data)} bytes")
