"""Sheets of codes: every code on them is read, in order and under its name."""

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from defusedxml import ElementTree
from PIL import Image

from invcomp.errors import OptionError

from ..chromium import Visit

for module in ("segno", "zxingcpp"):
    pytest.importorskip(module, reason="needs the extra qr")

import zxingcpp  # noqa: E402

from invcomp.qr import Code, make_code, make_sheet  # noqa: E402
from invcomp.qr.sheet import BORDER, MOST_COLUMNS, PAGE, Layout  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


def named(count: int, size: int = 110) -> list[tuple[str, Code]]:
    random = np.random.default_rng(count)
    files = [b"\xc9V" + random.bytes(size - 2) for _ in range(count)]
    return [(f"face <{n}> & co", make_code(data)) for n, data in enumerate(files)]


def read(page: Image.Image) -> list[bytes]:
    """The contents of a page's codes, in the order of reading."""
    wanted = zxingcpp.BarcodeFormat.QRCode
    found = zxingcpp.read_barcodes(page.convert("L"), formats=wanted)
    row = page.height / 40
    found.sort(key=lambda each: (round(each.position.top_left.y / row), each.position.top_left.x))
    return [bytes(each.bytes) for each in found]


def pages_of(pdf: bytes) -> list[Image.Image]:
    """The images of a PDF's pages, which are fax images (CCITT group 4) as in a TIFF."""
    pages = []
    for each in re.finditer(rb"/Filter \[? ?/CCITTFaxDecode.*?stream\r?\n", pdf, re.DOTALL):
        data = pdf[each.end() : pdf.index(b"endstream", each.end())]
        numbers = dict(re.findall(rb"/(Columns|Rows) (\d+)", pdf[: each.end()][-600:]))
        columns, rows = int(numbers[b"Columns"]), int(numbers[b"Rows"])
        fields = {256: columns, 257: rows, 258: 1, 259: 4, 262: 1, 273: 8, 277: 1}
        fields |= {278: rows, 279: len(data)}
        header = struct.pack("<4sI", b"II*\0", 8 + len(data))
        directory = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items()]
        parts = [header, data, struct.pack("<H", len(fields)), *directory, bytes(4)]
        pages.append(Image.open(io.BytesIO(b"".join(parts))))
    return pages


def test_a_pdf_of_several_pages() -> None:
    codes = named(14)
    pdf = make_sheet(codes, ".pdf")
    assert pdf.startswith(b"%PDF")
    pages = pages_of(pdf)
    assert [len(read(page)) for page in pages] == [9, 5]
    assert [data for page in pages for data in read(page)] == [code.data for _, code in codes]
    assert pages[0].width / 600 * 25.4 == pytest.approx(PAGE[0], abs=0.1)
    ink = ~np.array(pages[0])
    border = round((BORDER - 1) / 25.4 * 600)
    assert ink.any()
    assert not ink[:border].any()
    assert not ink[:, :border].any()
    assert not ink[:, -border:].any()


def test_an_svg_in_a_browser(visit: Visit, tmp_path: Path) -> None:
    codes = named(4, 250)
    path = tmp_path / "sheet.svg"
    path.write_bytes(make_sheet(codes, ".svg", 2))
    root = ElementTree.parse(path).getroot()
    assert [each.text for each in root.iter(f"{SVG}text")] == [name for name, _ in codes]
    assert (root.get("width"), root.get("height")) == ("210mm", "297mm")
    visited = visit(path)
    visited.page.set_viewport_size({"width": 800, "height": 1130})
    page = Image.open(io.BytesIO(visited.page.screenshot()))
    assert read(page) == [code.data for _, code in codes]
    assert visited.complaints == []


@pytest.mark.parametrize("columns", range(1, MOST_COLUMNS + 1))
def test_a_layout_stays_on_the_page(columns: int) -> None:
    layout = Layout(columns)
    assert layout.rows >= 1
    for number in range(layout.count):
        left, top = layout.place(number)
        assert BORDER <= left <= left + layout.side <= PAGE[0] - BORDER + 1e-9
        assert BORDER <= top <= top + layout.side <= PAGE[1] - BORDER


def test_long_names_are_cut() -> None:
    ((_, code),) = named(1)
    text = make_sheet([("x" * 200, code)], ".svg").decode()
    assert 10 < len(re.findall(r">(x+\.\.\.)<", text)[0]) < 40


def test_impossible_sheets_are_refused() -> None:
    codes = named(2)
    for arguments in (
        (codes, ".png"),
        ([], ".pdf"),
        (codes, ".pdf", 0),
        (codes, ".svg", MOST_COLUMNS + 1),
        (codes * 50, ".svg"),
    ):
        with pytest.raises(OptionError):
            make_sheet(*arguments)  # type: ignore[arg-type]
