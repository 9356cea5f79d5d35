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

MostBytes = Annotated[
    int | None,
    typer.Option(
        "--bytes",
        metavar="N",
        help="Largest file in a code.",
        show_default=f"what the version holds, or {DEFAULT_BYTES}",
    ),
]
Version = Annotated[
    int | None,
    typer.Option(
        metavar="1-40",
        help="Size of the code: 17 + 4 times the version modules a side.",
        show_default="the smallest that fits",
    ),
]
Level = Annotated[
    str,
    typer.Option(
        "--error-correction",
        metavar="L|M|Q|H",
        help="How much of the code may be damaged: 7, 15, 25 or 30%.",
    ),
]
Base45 = Annotated[
    bool,
    typer.Option("--base45", help="As text, for scanners that return text; 3% larger."),
]
Fast = Annotated[
    bool,
    typer.Option("--fast", help="Search two to three times faster; slightly higher LPIPS."),
]

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
    most_bytes: MostBytes = None,
    version: Version = None,
    level: Level = "M",
    base45: Base45 = False,
    scale: Annotated[int, typer.Option(metavar="N", help="Pixels of a module's side.")] = 8,
    model: Model = DEFAULT_MODEL,
    fast: Fast = False,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Compress an image into a QR code, or put a file into one.

    The file is as large as the code allows.
    """
    from ..errors import OptionError, OutputError

    show.needs("qr", "segno", "zxingcpp")
    from ..qr import make_code
    from ..qr.codes import FORMATS
    from .images import write_bytes

    if reason := obstacle(output, force):
        raise OutputError(reason)
    if output.suffix.lower() not in FORMATS:
        raise OptionError(f"{output}: a QR code is written as {', '.join(FORMATS)}")
    limit = _limit(most_bytes, version, level, base45)
    (data,) = _files_of([image], limit, model, fast, device)
    code = make_code(data, level, version, base45)
    write_bytes(code.file(output.suffix, scale), output, force)
    form = "base45" if base45 else "binary"
    show.result(
        f"{output}: {len(data)} bytes, {form}, version {code.version} "
        f"({code.modules} x {code.modules} modules), error correction {code.level}"
    )


@qr.command(
    epilog=examples(
        "invcomp qr sheet portraits/*.jpg -o sheet.pdf",
        "invcomp qr sheet a.ivc b.ivc -o sheet.svg --columns 2",
    )
)
def sheet(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES", help="Images, or .ivc files.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Sheet: .pdf or .svg.")
    ],
    most_bytes: MostBytes = None,
    version: Version = None,
    level: Level = "M",
    base45: Base45 = False,
    columns: Annotated[int, typer.Option(metavar="1-6", help="Codes beside each other.")] = 3,
    model: Model = DEFAULT_MODEL,
    fast: Fast = False,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Write a sheet for printing: A4, with a code and the name of the file for each image.

    An SVG has one page, a PDF as many as it needs.
    """
    from ..errors import OptionError, OutputError

    show.needs("qr", "segno", "zxingcpp")
    from ..qr import SHEETS, make_code, make_sheet
    from ..qr.sheet import Layout
    from .images import write_bytes

    if reason := obstacle(output, force):
        raise OutputError(reason)
    layout, suffix = Layout(columns), output.suffix.lower()
    if suffix not in SHEETS:
        raise OptionError(f"{output}: a sheet is written as {', '.join(SHEETS)}")
    pages = -(-len(images) // layout.count)
    if suffix == ".svg" and pages > 1:
        raise OptionError(f"{output}: an SVG has one page, of {layout.count} codes; write a PDF")
    limit = _limit(most_bytes, version, level, base45)
    files = _files_of(images, limit, model, fast, device)
    codes = [make_code(data, level, version, base45) for data in files]
    names = [image.stem for image in images]
    write_bytes(make_sheet(list(zip(names, codes, strict=True)), suffix, columns), output, force)
    versions = sorted({code.version for code in codes})
    show.result(
        f"{output}: {len(codes)} codes, pages: {pages}, "
        f"version {' to '.join(str(each) for each in dict.fromkeys((versions[0], versions[-1])))}"
    )


def _limit(most_bytes: int | None, version: int | None, level: str, base45: bool) -> int:
    """Bytes of a file: what a code of the version holds, unless fewer are asked for."""
    from ..qr import capacity

    room = capacity(version or 40, level, base45)
    return min(room, most_bytes or (room if version else DEFAULT_BYTES))


def _files_of(images: list[Path], limit: int, model: str, fast: bool, device: str) -> list[bytes]:
    """The files to put into codes: given ones as they are, images compressed.

    Raises:
        InvcompError: one cannot be read or compressed.
    """
    from ..inversion.options import Goal
    from ..preprocessing.reading import read_image

    given = {path: _file_in(path) for path in images if path.suffix.lower() == ".ivc"}
    found, codec = [], None
    for path in images:
        if path in given:
            found.append(given[path])
            continue
        original = read_image(path)
        with show.Meter() as meter:
            codec = codec or open_codec(model, device, None, meter)
            search, progress = search_options(fast=fast), show.search_progress(meter, path.name)
            goal = Goal(bytes=limit)
            found.append(codec.compress(original, goal=goal, search=search, progress=progress))
    return found


def _file_in(path: Path) -> bytes:
    """A file that is known to be one.

    Raises:
        InvcompError: it cannot be read.
    """
    from ..bitstream import IvcFile
    from ..bitstream.ivc import read_ivc
    from ..errors import ImageError

    try:
        data = read_ivc(path)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from error
    IvcFile.unpack(data)
    return data


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
