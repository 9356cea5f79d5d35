"""The page of a run: KID and losses, and the grids of samples over time, for a browser."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from ..files import atomic_write
from .record import Line, measured

NAME = "index.html"
COLUMNS = {
    "images": "images",
    "kid": "KID",
    "kid_features": "KID's features",
    "generator": "generator's loss",
    "discriminator": "discriminator's loss",
    "augmentation_p": "augmentation",
    "images_per_second": "images/s",
}
MEANING = (
    "KID is the distance from samples to images that were held out: it should fall. Losses say "
    "little about quality. Samples are noise at first, then blots, then shapes. Reload this page "
    "while the training runs."
)
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem;
       padding: 0 1rem; }
img { max-width: 100%; }
table { border-collapse: collapse; }
td, th { padding: .1rem .8rem; text-align: right; border-bottom: 1px solid #8885; }
"""


def write_page(folder: Path, lines: list[Line], options: dict[str, Any]) -> None:
    """Writes index.html, which shows the images that lie beside it: samples, losses.png.

    Args:
        folder: of the run.
        lines: of metrics.jsonl.
        options: of the training.
    """
    with atomic_write(folder / NAME, force=True) as temporary:
        temporary.write_text(render(folder, lines, options), encoding="utf-8")


def render(folder: Path, lines: list[Line], options: dict[str, Any]) -> str:
    """The HTML of the page. It loads nothing but images of its folder, and runs no script."""
    name = escape(folder.resolve().name)
    with_kid = [line for line in lines if "kid" in line]
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'\">",
        f"<title>{name}</title><style>{STYLE}</style><h1>{name}</h1>",
        f"<p>{escape(_summary(lines))}</p><p>{escape(MEANING)}</p>",
    ]
    if (folder / "losses.png").is_file():
        parts.append('<img src="losses.png" alt="Losses and KID by images seen">')
    parts.append(_table(with_kid or lines[-1:]))
    grids = [path for path in folder.glob("samples/*.png") if path.stem.isdecimal()]
    for path in sorted(grids, reverse=True):
        title = f"After {int(path.stem):,} images"
        parts.append(
            f'<h2>{title}</h2><img loading="lazy" src="samples/{path.name}" alt="{title}">'
        )
    told = "\n".join(f"{key}: {value}" for key, value in options.items())
    parts.append(f"<h2>Options</h2><pre>{escape(told)}</pre></html>\n")
    return "\n".join(parts)


def _summary(lines: list[Line]) -> str:
    if not lines:
        return "No line of metrics yet."
    told = f"{lines[-1]['images']:,} images seen."
    if own := measured(lines):
        best = min(own, key=lambda line: float(line["kid"]))
        told += (
            f" Lowest KID: {best['kid']:.4f} ({best['kid_features']} features) after "
            f"{best['images']:,} images: best.safetensors."
        )
    return told


def _table(lines: list[Line]) -> str:
    """A table of some lines, newest first."""
    names = [name for name in COLUMNS if any(name in line for line in lines)]
    rows = ["".join(f"<th>{escape(COLUMNS[name])}</th>" for name in names)]
    for line in reversed(lines):
        cells = (_cell(line.get(name, "")) for name in names)
        rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return escape(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
