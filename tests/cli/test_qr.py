"""invcomp qr as users see it."""

from pathlib import Path

import pytest
from PIL import Image

from invcomp.decoder import Decoder

from .conftest import Invcomp

for module in ("segno", "zxingcpp"):
    pytest.importorskip(module, reason="needs the extra qr")

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def test_a_file_goes_through_a_code(invcomp: Invcomp, tmp_path: Path) -> None:
    given = GOLDEN / "avatars-64.ivc"
    code, back, image = (tmp_path / name for name in ("code.png", "back.ivc", "image.png"))
    outcome = invcomp("qr", "encode", str(given), "-o", str(code), "--base45")
    assert outcome.code == 0, outcome.err
    assert f"{given.stat().st_size} bytes, base45, version" in outcome.out
    assert invcomp("qr", "decode", str(code), "-o", str(back)).code == 0
    assert back.read_bytes() == given.read_bytes()
    assert invcomp("qr", "decode", str(code), "-o", str(image)).code == 0
    expected = Decoder.load("avatars-64", "cpu").decompress(given.read_bytes())
    with Image.open(image) as decoded:
        assert decoded.convert("RGB").tobytes() == expected.tobytes()


def test_an_image_fills_the_version_asked_for(
    invcomp: Invcomp, tiny_model: Path, images: list[Path], tmp_path: Path
) -> None:
    code = tmp_path / "code.svg"
    arguments = ["-o", str(code), "--version", "5", "--model", str(tiny_model), "--fast"]
    outcome = invcomp("qr", "encode", str(images[0]), *arguments)
    assert outcome.code == 0, outcome.err
    assert "version 5 (37 x 37 modules)" in outcome.out
    assert code.read_text().startswith("<?xml")


def test_what_cannot_be_done_is_said_in_one_line(invcomp: Invcomp, tmp_path: Path) -> None:
    given = str(GOLDEN / "avatars-64.ivc")
    target = str(tmp_path / "code.png")
    for arguments, said in (
        ([given, "-o", target, "--version", "1"], "do not fit"),
        ([given, "-o", target, "--error-correction", "Z"], "not one of"),
        ([given, "-o", str(tmp_path / "code.gif")], "is written as"),
        ([str(tmp_path / "missing.ivc"), "-o", target], "cannot be read"),
    ):
        outcome = invcomp("qr", "encode", *arguments)
        assert outcome.code == 1
        assert said in outcome.err
    Image.new("RGB", (99, 99)).save(tmp_path / "black.png")
    outcome = invcomp("qr", "decode", str(tmp_path / "black.png"), "-o", str(tmp_path / "x.png"))
    assert outcome.code == 1
    assert "no QR code" in outcome.err


def test_a_sheet_of_files_and_images(
    invcomp: Invcomp, tiny_model: Path, images: list[Path], tmp_path: Path
) -> None:
    target, given = tmp_path / "sheet.svg", [str(GOLDEN / "avatars-64.ivc"), str(images[0])]
    arguments = ["-o", str(target), "--model", str(tiny_model), "--fast", "--bytes", "60"]
    outcome = invcomp("qr", "sheet", *given, *arguments)
    assert outcome.code == 0, outcome.err
    assert "2 codes, pages: 1, version" in outcome.out
    text = target.read_text()
    assert ">avatars-64<" in text
    assert f">{images[0].stem}<" in text


def test_a_sheet_that_cannot_be_made(invcomp: Invcomp, tmp_path: Path) -> None:
    given = str(GOLDEN / "avatars-64.ivc")
    for arguments, said in (
        ([given, "-o", str(tmp_path / "sheet.png")], "is written as .pdf, .svg"),
        ([given] * 10 + ["-o", str(tmp_path / "sheet.svg")], "one page, of 9 codes"),
        ([given, "-o", str(tmp_path / "sheet.pdf"), "--columns", "9"], "must be 1 to 6"),
        ([given, "missing.ivc", "-o", str(tmp_path / "sheet.pdf")], "missing.ivc: cannot be read"),
    ):
        outcome = invcomp("qr", "sheet", *arguments)
        assert outcome.code == 1
        assert said in outcome.err
        assert not (tmp_path / "sheet.pdf").exists()
