"""invcomp demo: compresses and decompresses one image and compares conventional codecs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import show
from .encode_options import open_codec
from .options import DEFAULT_MODEL, Compile, Device

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..codec import Codec
    from ..evaluation.codecs import CodecResult
    from ..inversion.options import SearchOptions
    from ..measurement import Encoded

FOLDER = Path("invcomp-demo")
WITHOUT_NETWORK = "faces-128"  # a proxy of the default model; its weights ship
ITERATIONS = 60  # iterations of search with the proxy
LABELS = {"avif": "AVIF", "webp": "WebP", "jpeg": "JPEG"}
ROOM = 4 << 20  # bytes that its files take, at most
PANEL = 384  # px of one image in the side-by-side image
CAPTION = 90  # px of text below it


@dataclass(frozen=True)
class Rival:
    """A file of a conventional codec, and in what it equals ours.

    Attributes:
        equal: "bytes", "identity" or "LPIPS".
        result: the file.
        lpips, psnr: of its decoded image.
        identity: distance of dlib's face descriptors; None if the model has no faces.
    """

    equal: str
    result: CodecResult
    lpips: float
    psnr: float
    identity: float | None


@dataclass(frozen=True)
class Demonstration:
    """Our file and its rivals.

    Attributes:
        original: in the shape of the decoded image.
        rivals: compared in the model's frame, which is square.
    """

    original: Image.Image
    encoded: Encoded
    rivals: list[Rival]
    decode_seconds: float

    @cached_property
    def panels(self) -> list[tuple[Image.Image, str, str, str]]:
        """Image, name and two lines of figures for each panel of the side-by-side image.

        For each kind of equality it shows the best rival: at equal bytes the one with the lowest
        metric, else the smallest.
        """
        ours = self.encoded
        size = f"{self.original.width} x {self.original.height} px"
        panels = [
            (self.original, "original", size, ""),
            (ours.decoded, "invcomp", f"{len(ours.data)} bytes", _nearness(ours)),
        ]
        for equal in dict.fromkeys(rival.equal for rival in self.rivals):
            of_this = [rival for rival in self.rivals if rival.equal == equal]
            if equal == "bytes":
                best = min(of_this, key=lambda rival: rival.result.value)
            else:
                best = min(of_this, key=lambda rival: rival.result.bytes)
            name = f"{LABELS[best.result.codec]}, equal {equal}"
            panels.append(
                (
                    in_shape(best.result.decoded, ours.decoded.size),
                    *(name, f"{best.result.bytes} bytes", _nearness(best)),
                )
            )
        return panels


def _nearness(of: Encoded | Rival) -> str:
    identity = "" if of.identity is None else f", identity {of.identity:.2f}"
    return f"LPIPS {of.lpips:.3f}{identity}"


def demo(
    photo: Annotated[
        Path | None,
        typer.Argument(metavar="IMAGE", help="An image; by default one that ships."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write to.")
    ] = FOLDER,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A known model or a bundle file (.ivm).",
            show_default=f"{DEFAULT_MODEL}; {WITHOUT_NETWORK} if that cannot be downloaded",
        ),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(
            "--iterations",
            "--steps",
            metavar="N",
            help="Iterations of the search.",
            show_default="those of --fast",
        ),
    ] = None,
    device: Device = "auto",
    compiled: Compile = None,
) -> None:
    """Compress an image, decompress it, and compare with AVIF, WebP and JPEG.

    Shows the other codecs at equal bytes, at equal identity of the face and at equal LPIPS.

    Writes the .ivc file and three images: original, decoded, side by side. Replaces those of an
    earlier demo. Downloads the default model on first use (38 MB).
    """
    from ..errors import OutputError
    from ..files import check_room
    from ..inversion.options import SearchOptions
    from ..model_zoo.catalogue import example_of, pretrained_path
    from ..preprocessing.reading import read_image
    from .images import write_bytes, write_image

    photo = photo or pretrained_path(example_of(model or DEFAULT_MODEL))
    original = read_image(photo)
    names = ("original.png", "decoded.png", "side_by_side.png")
    if photo.resolve() in [(output / name).resolve() for name in names]:
        raise OutputError(f"{photo}: the demo would overwrite it: choose another folder with -o")
    check_room(output, ROOM)
    with show.Meter() as meter:
        codec, model = open_model(model, device, compiled, meter)
        if iterations is None and model == DEFAULT_MODEL:
            search = SearchOptions(fast=True)  # a time limit shows somebody else on a busy machine
        elif iterations is None and model == WITHOUT_NETWORK:
            search = SearchOptions(iterations=ITERATIONS)
        else:
            search = SearchOptions(iterations=iterations)
        demonstration = compare(codec, original, photo.name, meter, search)
    write_bytes(demonstration.encoded.data, output / f"{photo.stem}.ivc", force=True)
    write_image(demonstration.original, output / "original.png", force=True)
    write_image(demonstration.encoded.decoded, output / "decoded.png", force=True)
    write_image(side_by_side(demonstration.panels), output / "side_by_side.png", force=True)
    _print(demonstration)
    show.result(f"written to {output}: {photo.stem}.ivc, original, decoded, side_by_side (.png)")


def open_model(
    model: str | None, device: str, compiled: bool | None, meter: show.Meter
) -> tuple[Codec, str]:
    """The codec and name of a model; None: the default, or the proxy without a network."""
    from ..errors import DownloadError

    if model is not None:
        return open_codec(model, device, compiled, meter), model
    try:
        return open_codec(DEFAULT_MODEL, device, compiled, meter), DEFAULT_MODEL
    except DownloadError as error:
        meter.note(f"{WITHOUT_NETWORK}, a small proxy, in place of {DEFAULT_MODEL}: {error}")
        return open_codec(WITHOUT_NETWORK, device, compiled, meter), WITHOUT_NETWORK


def compare(
    codec: Codec, image: Image.Image, name: str, meter: show.Meter, search: SearchOptions
) -> Demonstration:
    """Encodes, decodes and measures an image, then finds its rivals.

    Args:
        codec: ours.
        image: to compress.
        name: of the progress bar.
        meter: shows the progress bar.
        search: options of our search.
    """
    from ..generators.base import reduce_images
    from ..preprocessing.frame import from_tensor

    progress = show.search_progress(meter, name)
    fitted = codec.encoder.fit(image)
    encoded = next(codec.encode([fitted], search=search, progress=progress))
    meter.drop(name)
    start = time.perf_counter()
    codec.decompress(encoded.data)
    seconds = time.perf_counter() - start
    original = from_tensor(reduce_images(fitted.tensor, codec.decoder.generator.resolution))
    rivals = find_rivals(original, encoded, codec, meter)
    return Demonstration(in_shape(original, encoded.decoded.size), encoded, rivals, seconds)


def in_shape(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A square image in the shape of another: a frame may stretch what it fits."""
    from PIL import Image

    longest = max(size)
    width, height = (max(round(image.width * side / longest), 1) for side in size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def find_rivals(
    original: Image.Image, encoded: Encoded, codec: Codec, meter: show.Meter
) -> list[Rival]:
    """AVIF, WebP and JPEG at our bytes, our identity (if measured) and our LPIPS."""
    from ..evaluation.codecs import available_codecs, best_within, sizes_for, smallest_reaching
    from ..evaluation.metrics import Metrics, tensor_of

    face = codec.bundle.settings.face
    metrics = Metrics(codec.device, ["lpips_alex", *(["identity"] if face else [])], face)
    pixels = tensor_of(original)

    def distance(name: str, decoded: Tensor) -> float:
        return float(metrics.distances(name, pixels, decoded))

    def rival(equal: str, result: CodecResult) -> Rival:
        decoded = tensor_of(result.decoded)
        identity = distance("identity", decoded) if face else None
        psnr = float(-10 * (pixels - decoded).square().mean().log10())
        return Rival(equal, result, distance("lpips_alex", decoded), psnr, identity)

    aims = {"LPIPS": ("lpips_alex", encoded.lpips)}
    if encoded.identity is not None:
        aims = {"identity": ("identity", encoded.identity), **aims}
    found: list[Rival] = []
    names, sizes = available_codecs(), sizes_for(original.width)
    for done, name in enumerate(names):
        meter.show("conventional codecs", done, len(names), LABELS[name])
        nearest = "identity" if face else "lpips_alex"
        of_our_size = best_within(original, partial(distance, nearest), len(encoded.data), [name])
        found += [rival("bytes", result) for result in of_our_size]
        for equal, (metric, target) in aims.items():
            reaching = smallest_reaching(original, partial(distance, metric), target, [name], sizes)
            found += [rival(equal, result) for result in reaching]
    meter.drop("conventional codecs")
    order = ("bytes", *aims)
    return sorted(found, key=lambda rival: order.index(rival.equal))


def side_by_side(panels: list[tuple[Image.Image, str, str, str]]) -> Image.Image:
    """Images in a row, each in a square, with their names and figures below.

    Args:
        panels: image, name and two lines of figures for each.
    """
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    sheet = Image.new("RGB", (PANEL * len(panels), PANEL + CAPTION), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (image, *lines) in enumerate(panels):
        square = ImageOps.pad(image, (PANEL, PANEL), Image.Resampling.LANCZOS, "white")
        sheet.paste(square, (index * PANEL, 0))
        middle = (index + 0.5) * PANEL
        for text, size, below in zip(lines, (24, 20, 16), (20, 46, 70), strict=True):
            font = ImageFont.load_default(size)
            draw.text((middle, PANEL + below), text, "black", font, anchor="mm")
    return sheet


def _print(demonstration: Demonstration) -> None:
    """Prints all figures as a table."""
    from rich import box
    from rich.table import Table

    ours = demonstration.encoded
    table = Table(
        title="invcomp, and the other codecs at equal values", box=box.SIMPLE, padding=(0, 1)
    )
    headings = ["", "equal", "bytes", "times", "LPIPS", "PSNR, dB"]
    if ours.identity is not None:
        headings.insert(5, "identity")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index > 1 else "left", no_wrap=True)

    def identity(value: float | None) -> list[str]:
        return [] if value is None else [f"{value:.2f}"]

    table.add_row(
        "invcomp",
        "",
        str(len(ours.data)),
        "1.0",
        f"{ours.lpips:.3f}",
        *identity(ours.identity),
        f"{ours.psnr:.1f}",
        style="bold",
    )
    for rival in demonstration.rivals:
        table.add_row(
            f"{LABELS[rival.result.codec]} at {rival.result.size} px",
            rival.equal,
            str(rival.result.bytes),
            f"{rival.result.bytes / len(ours.data):.1f}",
            f"{rival.lpips:.3f}",
            *identity(rival.identity),
            f"{rival.psnr:.1f}",
        )
    show.table(table)
    show.result(f"encoded in {ours.seconds:.1f} s, decoded in {demonstration.decode_seconds:.2f} s")
    if ours.identity is not None:
        show.result(
            "identity: distance of dlib's face descriptors, which invcomp optimises; by dlib's own "
            "limit, 0.6 or more is another person"
        )
