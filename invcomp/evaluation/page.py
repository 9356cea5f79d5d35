"""A self-contained page of a comparison: images under a slider, curves, tables; no network.

Its Content-Security-Policy lets it load nothing and run only its own script.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from .curves import METRIC_NAMES, MORE_IS_BETTER, NAMES, OURS
from .plots import draw
from .report import Report, write_text
from .results import Measured

NAME = "index.html"
PREVIEW = 512  # px: images in the page are reduced to this
LOSSLESS = 128  # px: images up to this are stored losslessly
SHOWN = 12  # images in the page, by default

Original = Callable[[str], Image.Image]  # an image by its name
Decoded = Callable[[str, str, int, float], Image.Image]  # by name, codec, size, quality


def write_page(
    report: Report, folder: Path, original: Original, decoded: Decoded, shown: int = SHOWN
) -> Path:
    """Writes index.html, replacing an existing one, and returns its path.

    Args:
        report: the results.
        folder: of the page.
        original: returns an image as all codecs encoded it.
        decoded: returns the decoded image of a file, of the same size.
        shown: number of images in the page.

    Raises:
        OutputError: it cannot be written.
    """
    images = [_image(report, name, original, decoded) for name in report.images[: max(shown, 0)]]
    write_text(render(report, images), folder / NAME)
    return folder / NAME


def render(report: Report, images: list[dict[str, Any]]) -> str:
    """The HTML of the page.

    Args:
        report: the results.
        images: as `_image` returns them.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("invcomp.evaluation"), autoescape=True, undefined=StrictUndefined
    )
    style, script = (
        Path(__file__).with_name("templates").joinpath(name).read_text(encoding="utf-8")
        for name in ("page.css", "page.js")
    )
    return environment.get_template("page.html.jinja").render(
        report=report,
        ours=OURS,
        rivals=", ".join(NAMES[codec] for codec in report.codecs[1:]),
        names=NAMES,
        metric_names=METRIC_NAMES,
        more_is_better=[METRIC_NAMES[m] for m in report.metrics if m in MORE_IS_BETTER],
        bd_rates={(rate.codec, rate.metric): rate for rate in report.bd_rates},
        plots={metric: _plots(report, metric) for metric in report.metrics},
        data={"images": images},
        style=style,
        script=script,
        policy=f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'",
    )


def _digest(text: str) -> str:
    """The hash of a script or style for the policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _plots(report: Report, metric: str) -> dict[str, str]:
    """The plot of a metric as data URLs, for light and dark mode."""
    return {
        ground: data_address(draw(report, metric, "svg", ground == "dark"), "image/svg+xml")
        for ground in ("light", "dark")
    }


def _image(report: Report, name: str, original: Original, decoded: Decoded) -> dict[str, Any]:
    """One image and its files, for the page's script.

    Shows all our files, and those of other codecs on the hull for the first metric.
    """
    hulls = report.curves[report.metrics[0]]
    shown = {(p.codec, p.size, p.quality) for hull in hulls.values() for p in hull}
    files = [
        file
        for file in report.files
        if file.image == name
        and (file.codec == OURS or (file.codec, file.size, file.quality) in shown)
    ]
    files.sort(key=lambda file: (report.codecs.index(file.codec), file.bytes))
    return {
        "name": name,
        "original": preview(original(name)),
        "files": [
            {
                "codec": NAMES[file.codec],
                "label": _label(file),
                "figures": _figures(file),
                "image": preview(decoded(name, file.codec, file.size, file.quality)),
            }
            for file in files
        ],
    }


def _label(file: Measured) -> str:
    return f"{file.bytes} bytes: {file.size} px, quality {file.quality:g}"


def _figures(file: Measured) -> str:
    return "; ".join(f"{METRIC_NAMES[name]}: {value:.4g}" for name, value in file.values.items())


def preview(image: Image.Image) -> str:
    """An image as a WebP data URL, reduced to PREVIEW px; small ones are lossless."""
    image = image.copy()
    image.thumbnail((PREVIEW, PREVIEW), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if max(image.size) <= LOSSLESS:
        image.save(buffer, "WEBP", lossless=True)
    else:
        image.save(buffer, "WEBP", quality=90)
    return data_address(buffer.getvalue(), "image/webp")


def data_address(data: bytes, kind: str) -> str:
    """Bytes as a data URL."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
