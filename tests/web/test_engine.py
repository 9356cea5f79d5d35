"""The page's engine: where there is no graphics card; details; each against Python."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from invcomp.bitstream import IvcFile, encode
from invcomp.bundle import Bundle
from invcomp.decoder import Decoder
from invcomp.errors import InvcompError
from invcomp.lookup import load_bundle

from ..tiny import tiny_bundle
from .browser import Visitor, visiting

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
HAS_CARD = "navigator.gpu?.requestAdapter().then(Boolean) ?? false"
SOFTWARE_CARD = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")


def decoded_as_python_does(visitor: Visitor, bundle: Bundle, file: Path) -> bool:
    expected = Decoder(bundle, "cpu").decompress(file.read_bytes())
    visitor.page.set_input_files("#file", file)
    visitor.said("Decoded in")
    return bool(np.abs(visitor.pixels() - np.array(expected, int)).max() <= 2)


@pytest.mark.parametrize("name", ["clothing-256", "faces-1024"])
def test_a_detail(name: str, packages: None, tmp_path: Path) -> None:
    from invcomp.web import write_site

    try:
        bundle = load_bundle(name, aids=False)
    except InvcompError as error:
        pytest.skip(f"needs the generator of {name}, which is fetched on its first use: {error}")
    file = GOLDEN / f"{name}.detail.ivc"
    detail = Decoder(bundle, "cpu").detail_of(IvcFile.unpack(file.read_bytes()))
    assert detail is not None
    assert detail.any()
    write_site([bundle], tmp_path)
    with visiting(tmp_path) as visitor:
        visitor.go()
        assert decoded_as_python_does(visitor, bundle, file)
        assert visitor.nothing_unwanted()


@pytest.fixture(scope="module")
def site_for_cards(packages: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from invcomp.web import write_site

    folder = tmp_path_factory.mktemp("cards")
    write_site([tiny_bundle()], folder, webgpu=True)
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    bundle = tiny_bundle()
    integers = np.random.default_rng(3).integers(-9, 10, bundle.coordinates.count)
    path = tmp_path / "tiny.ivc"
    path.write_bytes(encode(integers, 60, bundle.entropy, bundle.fingerprint[:4]))
    return path


def test_without_a_card_the_processor_decodes(site_for_cards: Path, file: Path) -> None:
    with visiting(site_for_cards) as visitor:
        visitor.go()
        assert decoded_as_python_does(visitor, tiny_bundle(), file)
        assert "graphics card" not in visitor.page.locator("#status").text_content()
        assert visitor.page.locator("#notes").text_content() == ""
        assert not any("ort-webgpu.wasm" in request for request in visitor.requests)
        assert visitor.nothing_unwanted()


def test_where_the_card_fails_the_processor_decodes(
    site_for_cards: Path, file: Path, tmp_path: Path
) -> None:
    """A card in software, where Chromium has one; its runtime is broken."""
    folder = tmp_path / "site"
    shutil.copytree(site_for_cards, folder)
    (folder / "runtime" / "ort-webgpu-wasm.js").write_text("throw new Error('broken');")
    with visiting(folder, SOFTWARE_CARD) as visitor:
        visitor.go()
        if not visitor.page.evaluate(HAS_CARD):
            pytest.skip("this Chromium has no WebGPU in software")
        assert decoded_as_python_does(visitor, tiny_bundle(), file)
        assert "graphics card" not in visitor.page.locator("#status").text_content()
        assert any("ort-webgpu.wasm" in request for request in visitor.requests)
        assert visitor.page.get_by_role("alert").count() == 0


def test_a_card_in_software(site_for_cards: Path, file: Path) -> None:
    with visiting(site_for_cards, SOFTWARE_CARD) as visitor:
        visitor.go()
        if not visitor.page.evaluate(HAS_CARD):
            pytest.skip("this Chromium has no WebGPU in software")
        assert decoded_as_python_does(visitor, tiny_bundle(), file)
        assert "graphics card" in visitor.page.locator("#status").text_content()
