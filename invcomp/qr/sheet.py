"""Sheets of QR codes with their names, for printing: A4, as PDF or SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import OptionError
from .codes import MARGIN, Code

SHEETS = (".pdf", ".svg")
PAGE = (210, 297)  # mm, A4
BORDER = 15  # mm on each side, which every printer can print within
GAP, NAME = 8, 7  # mm between codes, and for the name under each
LETTERS = 3.5  # mm, their height
DPI = 600
MOST_COLUMNS = 6


@dataclass(frozen=True)
class Layout:
    """Where codes are on a page, in mm.

    Attributes:
        columns: codes beside each other, 1 to `MOST_COLUMNS`.
    """

    columns: int

    def __post_init__(self) -> None:
        if not 1 <= self.columns <= MOST_COLUMNS:
            raise OptionError(f"{self.columns} columns on a sheet: must be 1 to {MOST_COLUMNS}")

    @property
    def side(self) -> float:
        """Of a code with its margin."""
        width = PAGE[0] - 2 * BORDER
        return (width - GAP * (self.columns - 1)) / self.columns

    @property
    def rows(self) -> int:
        """Codes below each other."""
        return int((PAGE[1] - 2 * BORDER + GAP) // (self.side + NAME + GAP))

    @property
    def count(self) -> int:
        """Codes of a page."""
        return self.columns * self.rows

    def place(self, number: int) -> tuple[float, float]:
        """Left and top of a page's code."""
        row, column = divmod(number, self.columns)
        return (
            BORDER + column * (self.side + GAP),
            BORDER + row * (self.side + NAME + GAP),
        )


def make_sheet(named: Sequence[tuple[str, Code]], suffix: str, columns: int = 3) -> bytes:
    """The file of a sheet.

    Args:
        named: names and codes, in order.
        suffix: of the file, one of `SHEETS`. An SVG has one page only.
        columns: codes beside each other, 1 to 6.

    Raises:
        OptionError: there is no such format, no code, or more than the format takes.
    """
    layout = Layout(columns)
    if suffix.lower() not in SHEETS:
        raise OptionError(f"a sheet is written as {', '.join(SHEETS)}, not {suffix!r}")
    if not named:
        raise OptionError("a sheet needs at least one code")
    if suffix.lower() == ".svg":
        if len(named) > layout.count:
            raise OptionError(
                f"an SVG has one page, of {layout.count} codes in {columns} columns: "
                f"{len(named)} need a PDF"
            )
        return _svg(named, layout).encode()
    drawn = [
        _page(named[first : first + layout.count], layout)
        for first in range(0, len(named), layout.count)
    ]
    buffer = io.BytesIO()
    drawn[0].save(buffer, "PDF", resolution=DPI, save_all=True, append_images=drawn[1:])
    return buffer.getvalue()


def _svg(named: Sequence[tuple[str, Code]], layout: Layout) -> str:
    parts = []
    for number, (name, code) in enumerate(named):
        left, top = layout.place(number)
        buffer = io.BytesIO()
        code.symbol.save(
            buffer, kind="svg", border=MARGIN, xmldecl=False, svgns=False, omitsize=True
        )
        place = f'x="{left:.3f}" y="{top:.3f}" width="{layout.side:.3f}" height="{layout.side:.3f}"'
        parts.append(buffer.getvalue().decode().strip().replace("<svg ", f"<svg {place} ", 1))
        middle, below = left + layout.side / 2, top + layout.side + LETTERS
        shown = _fitted(name, layout.side)
        parts.append(f'<text x="{middle:.3f}" y="{below:.3f}">{escape(shown)}</text>')
    width, height = PAGE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm" '
        f'viewBox="0 0 {width} {height}">\n<rect width="{width}" height="{height}" fill="#fff"/>\n'
        f'<g font-family="sans-serif" font-size="{LETTERS}" text-anchor="middle">\n'
        + "\n".join(parts)
        + "\n</g>\n</svg>\n"
    )


def _page(named: Sequence[tuple[str, Code]], layout: Layout) -> Image.Image:
    """A page in black and white, each module a whole number of pixels wide, so with sharp edges."""
    page = Image.new("1", (_pixels(PAGE[0]), _pixels(PAGE[1])), 1)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(_pixels(LETTERS))
    for number, (name, code) in enumerate(named):
        left, top = layout.place(number)
        modules = ~np.array([[bool(dot) for dot in row] for row in code.symbol.matrix])
        scale = _pixels(layout.side) // (len(modules) + 2 * MARGIN)
        drawn = Image.fromarray(np.kron(modules, np.ones((scale, scale), bool)))
        inset = (_pixels(layout.side) - drawn.width) // 2
        page.paste(drawn, (_pixels(left) + inset, _pixels(top) + inset))
        middle, below = _pixels(left + layout.side / 2), _pixels(top + layout.side)
        draw.text((middle, below), _fitted(name, layout.side), fill=0, font=font, anchor="ma")
    return page


def _fitted(name: str, side: float) -> str:
    """A name that is no wider than its code, by the mean width of letters."""
    most = int(side / (0.55 * LETTERS))
    return name if len(name) <= most else f"{name[: most - 3]}..."


def _pixels(length: float) -> int:
    return round(length / 25.4 * DPI)
