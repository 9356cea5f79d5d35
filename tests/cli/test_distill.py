"""invcomp distill: a proxy of a model, and files that either decodes."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from .conftest import FAST, Invcomp

SMALL = ("--resolution", "16", "--pairs", "20", "--steps", "2", "--device", "cpu")


@pytest.fixture
def proxy(invcomp: Invcomp, tiny_model: Path, tmp_path: Path) -> Path:
    output = tmp_path / "small.ivm"
    outcome = invcomp("distill", tiny_model, "-o", output, *SMALL)
    assert outcome.code == 0, outcome.err
    for word in ("16 px", "M parameters", "LPIPS"):
        assert word in outcome.out
    for stage in ("pairs", "proxy"):
        assert stage in outcome.err
    return output


def test_one_file_two_sizes(
    invcomp: Invcomp, tiny_model: Path, proxy: Path, images: list[Path], tmp_path: Path
) -> None:
    file, small, large = tmp_path / "a.ivc", tmp_path / "small.png", tmp_path / "large.png"
    outcome = invcomp("compress", images[0], "--model", proxy, "-o", file, *FAST)
    assert outcome.code == 0, outcome.err
    assert invcomp("decompress", file, "--model", proxy, "-o", small).code == 0
    assert invcomp("decompress", file, "--model", tiny_model, "-o", large).code == 0
    assert Image.open(small).size == (16, 16)
    assert Image.open(large).size == (64, 64)


def test_bits_per_pixel_are_those_of_the_file(
    invcomp: Invcomp, proxy: Path, images: list[Path], tmp_path: Path
) -> None:
    """A file names the proxied model, whose images it means: `info` counts the same pixels."""
    file = tmp_path / "a.ivc"
    outcome = invcomp("compress", images[0], "--model", proxy, "-o", file, "--bpp", "0.2", *FAST)
    assert outcome.code == 0, outcome.err
    rate = 8 * file.stat().st_size / 64**2
    assert rate <= 0.2
    assert f" {rate:.5f} bpp " in outcome.out
    for model in ((), ("--model", proxy)):
        (entry,) = json.loads(invcomp("info", file, "--json", *model).out)
        assert entry["bits_per_pixel"] == pytest.approx(rate)
        assert entry["width"] == 64


def test_a_preview_of_what_the_cache_has(
    invcomp: Invcomp, tiny_cache: Path, proxy: Path, ivc: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a.ivc").write_bytes(ivc)
    missing = invcomp("decompress", tmp_path / "a.ivc", "--proxy")
    assert missing.code == 1
    assert "a proxy of the bundle" in missing.errors[0]
    kept = tiny_cache / "models" / "small.ivm"
    shutil.copy(proxy, kept)
    try:
        outcome = invcomp("decompress", tmp_path / "a.ivc", "--proxy")
    finally:
        kept.unlink()
    assert outcome.code == 0, outcome.err
    assert Image.open(tmp_path / "a.png").size == (16, 16)


def test_bad_sizes_and_existing_files(
    invcomp: Invcomp, tiny_model: Path, proxy: Path, tmp_path: Path
) -> None:
    before = proxy.read_bytes()
    outcome = invcomp("distill", tiny_model, "-o", proxy, *SMALL)
    assert "--force" in outcome.errors[0]
    outcome = invcomp("distill", tiny_model, "-o", tmp_path / "x.ivm", "--resolution", "100")
    assert "power of two" in outcome.errors[0]
    outcome = invcomp("distill", tiny_model, "-o", tmp_path / "x.ivm", "--resolution", "128")
    assert outcome.code == 1
    assert "at most" in outcome.errors[0]
    assert proxy.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.ivm"]
