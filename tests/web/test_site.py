"""The site in a real Chromium: it decodes as Python does, also without a network."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from invcomp.decoder import Decoder
from invcomp.errors import OptionError, OutputError
from invcomp.lookup import load_bundle

from ..tiny import tiny_bundle
from .browser import PATIENCE, Visitor, visiting

for module in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(module, reason="needs the extra onnx")

from invcomp.web import write_site  # noqa: E402
from invcomp.web.site import folder_name, package_files, page_files  # noqa: E402

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "faces-128.ivc"


@pytest.fixture(scope="module")
def visitor(site: Path) -> Iterator[Visitor]:
    with visiting(site, color_scheme="dark") as visitor:
        yield visitor


@pytest.fixture(scope="module")
def expected() -> np.ndarray[Any, Any]:
    decoder = Decoder(load_bundle("faces-128", aids=False), "cpu")
    return np.array(decoder.decompress(GOLDEN.read_bytes()), int)


def test_it_decodes_as_python_does(visitor: Visitor, expected: np.ndarray[Any, Any]) -> None:
    visitor.go()
    visitor.page.set_input_files("#file", GOLDEN)
    visitor.said("Decoded in")
    assert np.abs(visitor.pixels() - expected).max() <= 2
    assert "faces-128 is a small proxy" in visitor.page.locator("#notes").text_content()
    assert visitor.page.evaluate("getComputedStyle(document.body).color") == "rgb(230, 230, 230)"


def test_what_is_pasted_by_keyboard(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.page
    visitor.go()
    page.locator("#text").fill("bm90IGFuIGltYWdl")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("not an .ivc file").wait_for(timeout=PATIENCE)
    page.locator("#text").fill(base64.b64encode(GOLDEN.read_bytes()).decode())
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    visitor.said("Decoded in")
    assert page.get_by_role("alert").count() == 0
    with page.expect_download(timeout=PATIENCE) as download:
        page.get_by_role("button", name="Save as PNG").press("Enter")
    download.value.save_as(tmp_path / "saved.png")
    with Image.open(tmp_path / "saved.png") as saved:
        assert (np.array(saved.convert("RGB")) == visitor.pixels()).all()


def test_fewer_bytes_make_a_coarser_image(visitor: Visitor, expected: np.ndarray[Any, Any]) -> None:
    visitor.page.locator("#bytes").fill("60")
    visitor.page.locator("#used", has_text="60 of 222").wait_for(timeout=PATIENCE)
    decoder = Decoder(load_bundle("faces-128", aids=False), "cpu")
    beginning = np.array(decoder.decompress(GOLDEN.read_bytes(), 60), int)
    assert np.abs(visitor.pixels() - beginning).max() <= 2
    assert np.abs(beginning - expected).mean() > 2


def test_a_file_that_cannot_be_shown_leaves_the_one_before(visitor: Visitor) -> None:
    visitor.page.set_input_files("#file", GOLDEN.with_name("avatars-64.ivc"))
    visitor.failed("avatars-64.ivc: made with a model that this page lacks (97c783b4)")
    visitor.page.locator("#bytes").fill("222")
    visitor.said("Decoded in")
    assert visitor.page.locator("#facts").text_content() == "222 bytes"
    visitor.page.locator("#used", has_text="222 of 222").wait_for(timeout=PATIENCE)


def test_it_works_without_a_network_after_the_first_visit(
    visitor: Visitor, expected: np.ndarray[Any, Any]
) -> None:
    visitor.page.evaluate("navigator.serviceWorker.ready.then(() => true)")  # all is kept
    visitor.server.shutdown()
    visitor.server.server_close()
    visitor.go()
    visitor.page.set_input_files("#file", GOLDEN)
    visitor.said("Decoded in")
    assert np.abs(visitor.pixels() - expected).max() <= 2
    assert visitor.page.evaluate("crossOriginIsolated")  # so that it may use threads


def test_no_complaint_and_no_request_to_another_host(visitor: Visitor) -> None:
    assert visitor.complaints == []
    others = [each for each in visitor.requests if not each.startswith(visitor.address)]
    assert {each.partition(":")[0] for each in others} <= {"blob", "data"}


def test_the_service_worker_keeps_files_that_are_there(site: Path) -> None:
    text = (site / "service_worker.js").read_text()
    for name in (*page_files(), *package_files(), "models.json"):
        assert name in ("service_worker.js", "runtime/ort.wasm") or f'"{name}"' in text
        assert (site / name).is_file()
    assert "$" not in text.replace("${VERSION}", "")


def test_a_site_is_not_replaced_by_accident(site: Path) -> None:
    with pytest.raises(OutputError, match="exists"):
        write_site([tiny_bundle()], site)


def test_models_have_names_of_their_own(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="names of their own"):
        write_site([tiny_bundle(), tiny_bundle()], tmp_path)
    with pytest.raises(OptionError, match="names of their own"):
        write_site([], tmp_path)


def test_a_name_becomes_a_folder() -> None:
    assert folder_name("../../etc") == "etc"
    assert folder_name("meine Gesichter") == "meine-Gesichter"
    assert folder_name("..") == "model"
