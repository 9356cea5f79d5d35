"""The site in a real Chromium: it decodes as Python does, also without a network."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from invcomp.decoder import Decoder
from invcomp.errors import DownloadError, OptionError, OutputError
from invcomp.lookup import load_bundle

from ..chromium import find_chromium
from ..tiny import tiny_bundle

for module in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(module, reason="needs the extra onnx")
pytest.importorskip("playwright", reason="playwright is not installed")

from invcomp.web import write_site  # noqa: E402
from invcomp.web.runtime import runtime_files  # noqa: E402
from invcomp.web.site import folder_name, page_files  # noqa: E402

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "faces-128.ivc"
ARGUMENTS = ["--no-sandbox"] if os.getuid() == 0 else []
ARGUMENTS += ["--disable-gpu", "--disable-background-networking"]
PATIENCE = 240_000  # ms: machines are busy


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


@dataclass
class Visitor:
    """A browser's page of the site, and what it complained of and asked for."""

    page: Any
    address: str
    server: ThreadingHTTPServer
    complaints: list[str]
    requests: list[str]

    def go(self) -> None:
        self.page.goto(self.address)
        self.page.locator("#status", has_text="Ready").wait_for(timeout=PATIENCE)

    def said(self, text: str) -> None:
        self.page.locator("#status", has_text=text).wait_for(timeout=PATIENCE)

    def pixels(self) -> np.ndarray[Any, Any]:
        script = """() => { const canvas = document.getElementById("image");
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return [canvas.width, canvas.height, ...data]; }"""
        width, height, *values = self.page.evaluate(script)
        return np.array(values).reshape(height, width, 4)[..., :3]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        runtime_files()
    except DownloadError as error:
        pytest.skip(f"needs onnxruntime-web: {error}")
    folder = tmp_path_factory.mktemp("site")
    write_site([load_bundle("faces-128", aids=False)], folder)
    return folder


@pytest.fixture(scope="module")
def visitor(site: Path) -> Iterator[Visitor]:
    from playwright.sync_api import sync_playwright

    executable = find_chromium()
    if executable is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        context = browser.new_context(reduced_motion="reduce", color_scheme="dark")
        address = f"http://127.0.0.1:{server.server_port}/"
        visitor = Visitor(context.new_page(), address, server, [], [])
        visitor.page.on("console", lambda message: visitor.complaints.append(message.text))
        visitor.page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
        context.on("request", lambda request: visitor.requests.append(request.url))
        yield visitor
        browser.close()
    server.server_close()


@pytest.fixture(scope="module")
def expected() -> np.ndarray[Any, Any]:
    decoder = Decoder(load_bundle("faces-128", aids=False), "cpu")
    return np.array(decoder.decompress(GOLDEN.read_bytes()), int)


def test_it_decodes_as_python_does(visitor: Visitor, expected: np.ndarray[Any, Any]) -> None:
    visitor.go()
    visitor.page.set_input_files("#file", GOLDEN)
    visitor.said("Decoded in")
    assert np.abs(visitor.pixels() - expected).max() <= 2
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


def test_it_works_without_a_network_after_the_first_visit(
    visitor: Visitor, expected: np.ndarray[Any, Any]
) -> None:
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
    for name in (*page_files(), "models.json", "runtime/ort.js"):
        assert name == "service_worker.js" or f'"{name}"' in text
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
