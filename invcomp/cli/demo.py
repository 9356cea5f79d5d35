"""invcomp demo: one portrait there and back, beside the conventional codecs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import show
from .compress import open_codec
from .options import Compile, Device, Model

if TYPE_CHECKING:
    from PIL import Image

    from ..codec import Codec, Encoded
    from ..evaluation.codecs import CodecResult
    from ..inversion.options import SearchOptions

FOLDER = Path("invcomp-demo")
MODEL = "faces-128"  # ships whole: nothing is fetched
STEPS = 60  # of its search: so the whole demo takes less than half a minute on two cores
LABELS = {"avif": "AVIF", "webp": "WebP", "jpeg": "JPEG"}
PANEL = 384  # px of one picture in the side-by-side
CAPTION = 64  # px below it


@dataclass(frozen=True)
class Comparison:
    """Our file and the smallest conventional ones that are as near to the original."""

    original: Image.Image
    encoded: Encoded
    others: list[CodecResult]
    decode_seconds: float

    @property
    def panels(self) -> list[tuple[Image.Image, str, str]]:
        """Picture, name and figures of everything in the side-by-side."""
        ours, others = self.encoded, self.others
        return [
            (self.original, "original", f"{self.original.width} x {self.original.height} px"),
            (ours.decoded, "invcomp", f"{len(ours.data)} bytes"),
            *((other.decoded, LABELS[other.codec], f"{other.bytes} bytes") for other in others),
        ]


def demo(
    photo: Annotated[
        Path | None,
        typer.Argument(metavar="PHOTO", help="A picture; without it, one that ships."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write.")
    ] = FOLDER,
    model: Model = MODEL,
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", help="Gradient steps.", show_default=f"{STEPS}, or the search's"),
    ] = None,
    device: Device = "auto",
    compiled: Compile = None,
) -> None:
    """Compress a picture, decompress it, and compare with AVIF, WebP and JPEG.

    Writes the .ivc file and three pictures: original, decoded, side by side.

    Replaces those of an earlier demo. The default model ships; `--model faces-1024` shows the full
    size, and is fetched on first use (38 MB).
    """
    from ..errors import OutputError
    from ..generators.hub import example_of, pretrained_path
    from ..inversion.options import SearchOptions
    from .pictures import read_photograph, write_bytes, write_picture

    search = SearchOptions(steps=STEPS if steps is None and model == MODEL else steps)
    photo = photo or pretrained_path(example_of(model))
    photograph = read_photograph(photo)
    names = ("original.png", "decoded.png", "side_by_side.png")
    if photo.resolve() in [(output / name).resolve() for name in names]:
        raise OutputError(f"{photo}: the demo would write over it, choose another folder with -o")
    with show.Meter() as meter:
        codec = open_codec(model, device, compiled, meter)
        comparison = compare(codec, photograph, photo.name, meter, search)
    write_bytes(comparison.encoded.data, output / f"{photo.stem}.ivc", force=True)
    write_picture(comparison.original, output / "original.png", force=True)
    write_picture(comparison.encoded.decoded, output / "decoded.png", force=True)
    write_picture(side_by_side(comparison.panels), output / "side_by_side.png", force=True)
    _print(comparison)
    show.result(f"written to {output}: {photo.stem}.ivc, original, decoded, side_by_side (.png)")


def compare(
    codec: Codec, photograph: Image.Image, name: str, meter: show.Meter, search: SearchOptions
) -> Comparison:
    """Encodes, decodes and measures a photograph, then looks for its rivals.

    Args:
        codec: ours.
        photograph: to compress.
        name: of its bar.
        meter: that has the bar.
        search: how much ours tries.
    """
    from ..frame import fit, from_picture

    progress = show.search_progress(meter, name)
    encoded = next(codec.encode([photograph], search=search, progress=progress))
    meter.drop(name)
    start = time.perf_counter()
    codec.decompress(encoded.data)
    seconds = time.perf_counter() - start
    original = from_picture(fit(photograph, codec.generator.resolution)[0])
    others = find_rivals(original, encoded.lpips, codec.device.type, meter)
    return Comparison(original, encoded, others, seconds)


def find_rivals(
    original: Image.Image, target: float, device: str, meter: show.Meter
) -> list[CodecResult]:
    """The smallest AVIF, WebP and JPEG whose LPIPS-Alex at 256 px is at most `target`."""
    from ..evaluation.codecs import available_codecs, sizes_for, smallest_reaching
    from ..evaluation.metrics import Metrics
    from ..frame import to_picture

    metrics, reference = Metrics(device, ["lpips_alex"]), (to_picture(original) + 1) / 2
    sizes = sizes_for(original.width)
    found: list[CodecResult] = []
    names = available_codecs()
    for index, name in enumerate(names):
        meter.show("conventional codecs", index, len(names), name)
        found += smallest_reaching(
            original,
            lambda picture: float(metrics.distances("lpips_alex", reference, picture)),
            target,
            [name],
            sizes,
        )
    meter.drop("conventional codecs")
    return found


def side_by_side(panels: list[tuple[Image.Image, str, str]]) -> Image.Image:
    """Square pictures in a row, each over its name and figures.

    Args:
        panels: picture, name and figures of each.
    """
    from PIL import Image, ImageDraw, ImageFont

    sheet = Image.new("RGB", (PANEL * len(panels), PANEL + CAPTION), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (picture, name, figures) in enumerate(panels):
        sheet.paste(picture.resize((PANEL, PANEL), Image.Resampling.LANCZOS), (index * PANEL, 0))
        middle = (index + 0.5) * PANEL
        draw.text((middle, PANEL + 20), name, "black", ImageFont.load_default(24), anchor="mm")
        draw.text((middle, PANEL + 46), figures, "black", ImageFont.load_default(20), anchor="mm")
    return sheet


def _print(comparison: Comparison) -> None:
    """The figures of all as a table."""
    from rich import box
    from rich.table import Table

    ours, pixels = comparison.encoded, comparison.original.width * comparison.original.height
    table = Table(title="the smallest file of each at invcomp's LPIPS or better", box=box.SIMPLE)
    table.add_column(no_wrap=True)
    for heading in ("bytes", "times", "bpp", "LPIPS", "PSNR", "encode", "decode"):
        table.add_column(heading, justify="right")
    table.add_row(
        "invcomp",
        str(len(ours.data)),
        "1.0",
        f"{8 * len(ours.data) / pixels:.5f}",
        f"{ours.lpips:.3f}",
        f"{ours.psnr:.1f} dB",
        f"{ours.seconds:.3g} s",
        f"{comparison.decode_seconds:.2f} s",
        style="bold",
    )
    for other in comparison.others:
        table.add_row(
            f"{LABELS[other.codec]} at {other.size} px",
            str(other.bytes),
            f"{other.bytes / len(ours.data):.1f}",
            f"{8 * other.bytes / pixels:.5f}",
            f"{other.value:.3f}",
            f"{_psnr(comparison.original, other.decoded):.1f} dB",
            "",
            "",
        )
    show.table(table)


def _psnr(original: Image.Image, decoded: Image.Image) -> float:
    from torchmetrics.functional.image import peak_signal_noise_ratio

    from ..frame import to_picture

    return float(peak_signal_noise_ratio(to_picture(decoded), to_picture(original), data_range=2.0))
