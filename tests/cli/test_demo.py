"""invcomp demo: its four files and its table."""

import re
import socket
from pathlib import Path

import pytest
from PIL import Image

from invcomp.cli.demo import CAPTION, PANEL

from .conftest import Invcomp


def test_the_demo_writes_and_compares(
    invcomp: Invcomp,
    tiny_model: Path,
    images: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # a second run replaces what the first wrote
        outcome = invcomp("demo", images[1], "--model", tiny_model, "--no-compile")
        assert outcome.code == 0, outcome.err
    folder = tmp_path / "invcomp-demo"
    names = ["b.ivc", "decoded.png", "original.png", "side_by_side.png"]
    assert sorted(path.name for path in folder.iterdir()) == names
    size = (folder / "b.ivc").stat().st_size
    for word in ("invcomp", str(size), "AVIF", "WebP", "JPEG", "equal", "LPIPS", "PSNR", "encode"):
        assert word in outcome.out
    with Image.open(folder / "original.png") as original:
        assert original.size == (64, 64)
    with Image.open(folder / "decoded.png") as decoded:
        assert decoded.size == (90, 90)
    with Image.open(folder / "side_by_side.png") as sheet:
        assert sheet.height == PANEL + CAPTION
        assert sheet.width in (3 * PANEL, 4 * PANEL)  # whether any fits into our bytes


def test_a_image_that_is_not_there(invcomp: Invcomp, tiny_model: Path, tmp_path: Path) -> None:
    outcome = invcomp("demo", tmp_path / "no.jpg", "--model", tiny_model)
    assert outcome.code == 1
    assert "no.jpg" in outcome.errors[0]


@pytest.mark.parametrize(
    ("arguments", "name", "size"),
    [
        ((), "portrait", (128, 128)),
        (("--model", "avatars-64"), "avatar", (64, 64)),
        (("--model", "clothing-256"), "shirt", (192, 256)),
    ],
    ids=["the default", "avatars-64", "clothing-256"],
)
def test_what_ships_needs_no_network(
    invcomp: Invcomp,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    name: str,
    size: tuple[int, int],
) -> None:
    def no_network(*arguments: object) -> None:
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path / "cache"))
    outcome = invcomp("demo", *arguments, "-o", tmp_path / "demo", "--iterations", "20")
    assert outcome.code == 0, outcome.err
    if not arguments:  # it says in one line what is shown in place of the default, and why
        (line,) = [line for line in outcome.err.splitlines() if "in place of" in line]
        assert line.startswith("faces-128")
        assert "cannot download" in line
    with Image.open(tmp_path / "demo" / "decoded.png") as decoded:
        assert decoded.size == size
    ours = (tmp_path / "demo" / f"{name}.ivc").stat().st_size
    rows = re.findall(r"at \d+ px +(bytes|identity|LPIPS) +(\d+) ", outcome.out)
    sizes: dict[str, list[int]] = {}
    for equal, size in rows:
        sizes.setdefault(equal, []).append(int(size))
    assert all(size <= ours for size in sizes.pop("bytes", []))
    assert ("identity" in sizes) == (not arguments)
    assert min(sizes["LPIPS"]) > 2 * ours


def test_the_image_itself_is_never_written_over(
    invcomp: Invcomp, tiny_model: Path, tmp_path: Path
) -> None:
    photo = tmp_path / "original.png"
    Image.new("RGB", (64, 64), "red").save(photo)
    before = photo.read_bytes()
    outcome = invcomp("demo", photo, "--model", tiny_model, "-o", tmp_path)
    assert outcome.code == 1
    assert "original.png" in outcome.errors[0]
    assert photo.read_bytes() == before
