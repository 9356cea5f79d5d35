"""QR codes before the camera, and in images, reach the page as the files that they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from invcomp.decoder import Decoder
from invcomp.lookup import load_bundle

from .browser import Visitor, visiting

pytest.importorskip("segno", reason="needs the extra qr")
pytest.importorskip("zxingcpp", reason="needs the extra qr")

from invcomp.qr import make_code

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "faces-128.ivc"
FRAME = (640, 480)  # px of the camera
FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def expected() -> np.ndarray[Any, Any]:
    decoder = Decoder(load_bundle("faces-128", aids=False), "cpu")
    return np.array(decoder.decompress(GOLDEN.read_bytes()), int)


def picture_of(data: bytes, path: Path, as_text: bool = False, scale: int = 6) -> Path:
    path.with_suffix(".png").write_bytes(make_code(data, as_text=as_text).file(".png", scale))
    return path.with_suffix(".png")


def camera_of(picture: Path) -> Path:
    """A film of one frame (YUV4MPEG2) that shows a code on a table, turned."""
    code = Image.open(picture).convert("L").resize((330, 330), Image.Resampling.LANCZOS)
    code = code.rotate(8, Image.Resampling.BICUBIC, expand=True, fillcolor=150)
    frame = Image.new("L", FRAME, 150)
    frame.paste(code, ((FRAME[0] - code.width) // 2, (FRAME[1] - code.height) // 2))
    grey = bytes([128]) * (FRAME[0] * FRAME[1] // 2)
    path = picture.with_suffix(".y4m")
    header = f"YUV4MPEG2 W{FRAME[0]} H{FRAME[1]} F10:1 Ip A1:1 C420jpeg\n".encode()
    path.write_bytes(header + b"FRAME\n" + frame.tobytes() + grey)
    return path


def shows(visitor: Visitor, expected: np.ndarray[Any, Any]) -> bool:
    visitor.said("Decoded in")
    return bool(np.abs(visitor.pixels() - expected).max() <= 2)


@pytest.mark.parametrize("as_text", [False, True], ids=["bytes", "base45"])
def test_a_code_before_the_camera(
    as_text: bool, site: Path, tmp_path: Path, expected: np.ndarray[Any, Any]
) -> None:
    film = camera_of(picture_of(GOLDEN.read_bytes(), tmp_path / "code", as_text))
    arguments = [*FAKE_CAMERA, f"--use-file-for-fake-video-capture={film}"]
    with visiting(site, arguments, ["camera"]) as visitor:
        visitor.go()
        visitor.page.get_by_role("button", name="Scan a QR code").press("Enter")
        assert shows(visitor, expected)
        assert visitor.page.locator("#camera").is_hidden()
        assert visitor.page.evaluate("document.getElementById('camera').srcObject") is None
        assert visitor.nothing_unwanted()


def test_a_camera_that_sees_no_code_is_stopped(site: Path) -> None:
    with visiting(site, FAKE_CAMERA, ["camera"]) as visitor:
        visitor.go()
        visitor.page.locator("#scan").click()
        visitor.said("Hold a QR code before the camera")
        assert visitor.page.locator("#camera").is_visible()
        visitor.page.get_by_role("button", name="Stop the camera").click()
        visitor.said("The camera is off")
        assert visitor.page.locator("#camera").is_hidden()
        assert visitor.nothing_unwanted()


def test_without_a_camera_or_permission_there_is_one_line(site: Path) -> None:
    with visiting(site) as visitor:
        visitor.go()
        visitor.page.locator("#scan").click()
        visitor.failed("No camera: ")
        assert visitor.page.locator("#scan").is_enabled()
        assert visitor.nothing_unwanted()


def test_codes_in_images(site: Path, tmp_path: Path, expected: np.ndarray[Any, Any]) -> None:
    data = GOLDEN.read_bytes()
    with visiting(site) as visitor:
        visitor.go()
        for number, (as_text, scale) in enumerate([(False, 6), (True, 40), (False, 2)]):
            visitor.page.evaluate("document.getElementById('status').textContent = ''")
            picture = picture_of(data, tmp_path / f"code{number}", as_text, scale)
            if number:
                visitor.page.set_input_files("#code", picture)
            else:
                visitor.drop(picture)
            assert shows(visitor, expected), picture
        visitor.page.set_input_files("#code", picture_of(b"HELLO", tmp_path / "other"))
        visitor.failed("other.png: the QR code holds no .ivc file")
        Image.new("RGB", (300, 200), "white").save(tmp_path / "white.png")
        visitor.page.set_input_files("#code", tmp_path / "white.png")
        visitor.failed("white.png: no QR code that can be read was found")
        (tmp_path / "broken.png").write_bytes(b"no image")
        visitor.page.set_input_files("#code", tmp_path / "broken.png")
        visitor.failed("broken.png: not an image that this browser reads")
        assert visitor.nothing_unwanted()


def test_it_scans_without_a_network(
    site: Path, tmp_path: Path, expected: np.ndarray[Any, Any]
) -> None:
    with visiting(site) as visitor:
        visitor.go()
        visitor.page.evaluate("navigator.serviceWorker.ready.then(() => true)")  # all is kept
        visitor.page.set_input_files("#file", GOLDEN)  # the model is there then
        assert shows(visitor, expected)
        visitor.server.shutdown()
        visitor.server.server_close()
        visitor.go()
        visitor.page.set_input_files("#code", picture_of(GOLDEN.read_bytes(), tmp_path / "code"))
        assert shows(visitor, expected)
        assert visitor.nothing_unwanted()
