"""The original beside the decoded image, and WebP of as many bytes, in a real Chromium."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .browser import PATIENCE, Visitor, visiting

TESTS = Path(__file__).resolve().parents[1]
GOLDEN = TESTS / "golden" / "faces-128.ivc"
PORTRAIT = TESTS.parent / "pretrained" / "portrait.jpg"
BYTES = GOLDEN.stat().st_size
NO_WEBP = """const convert = OffscreenCanvas.prototype.convertToBlob;
OffscreenCanvas.prototype.convertToBlob = function (options) {
  return convert.call(this, options.type === "image/webp" ? { type: "image/png" } : options);
};
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wider than the decoded image, so that its centre is taken."""
    path = tmp_path_factory.mktemp("original") / "original.png"
    wide = Image.new("RGB", (1400, 1024), "black")
    wide.paste(Image.open(PORTRAIT).convert("RGB"), (188, 0))
    wide.save(path)
    return path


@pytest.fixture
def visitor(site: Path) -> Iterator[Visitor]:
    with visiting(site, viewport={"width": 360, "height": 700}) as visitor:
        visitor.go()
        yield visitor


def caption(visitor: Visitor, text: str) -> str:
    visitor.page.locator("#right", has_text=text).wait_for(timeout=PATIENCE)
    return str(visitor.page.locator("#right").text_content())


def test_webp_of_as_many_bytes(visitor: Visitor, original: Path) -> None:
    visitor.drop(original, GOLDEN)  # in any order
    found = re.fullmatch(r"WebP, (\d+) bytes, (\d+) x (\d+) px enlarged", caption(visitor, "WebP"))
    assert found is not None
    size, width, height = map(int, found.groups())
    assert 0.6 * BYTES < size <= BYTES
    assert width == height <= 128
    theirs, portrait = visitor.pixels("veil"), Image.open(PORTRAIT).convert("RGB")
    reference = np.array(portrait.resize((128, 128), Image.Resampling.LANCZOS), int)
    assert theirs.shape == reference.shape
    assert ours_of_pillow(portrait) * 1.15 > squared_error(theirs, reference)
    assert squared_error(np.zeros_like(reference), reference) > 4 * squared_error(theirs, reference)
    assert visitor.page.locator("#left").text_content() == f"invcomp, {BYTES} bytes"
    assert visitor.nothing_unwanted()


def squared_error(one: np.ndarray, other: np.ndarray) -> float:
    return float(((one - other) ** 2).mean())


def ours_of_pillow(portrait: Image.Image) -> float:
    """The least squared error that Pillow's WebP reaches in as many bytes, at any size."""
    small = portrait.resize((128, 128), Image.Resampling.LANCZOS)
    reference, errors = np.array(small, int), []
    for side in range(16, 129, 8):
        for quality in range(0, 96, 5):
            buffer = io.BytesIO()
            small.resize((side, side), Image.Resampling.LANCZOS).save(
                buffer, "WEBP", quality=quality
            )
            if buffer.tell() <= BYTES:
                decoded = (
                    Image.open(buffer).convert("RGB").resize((128, 128), Image.Resampling.LANCZOS)
                )
                errors.append(squared_error(np.array(decoded, int), reference))
    return min(errors)


def test_the_curtain_moves_by_keyboard(visitor: Visitor, original: Path) -> None:
    page = visitor.page
    page.set_input_files("#file", GOLDEN)
    visitor.said("Decoded in")
    assert page.locator("#curtain").is_hidden()
    page.set_input_files("#original", original)
    caption(visitor, "WebP")
    page.locator("#rival").select_option("original")
    assert caption(visitor, "the original") == "the original, 128 x 128 px"
    curtain = page.get_by_role("slider", name="Share of the decoded image")
    for key, percent in (("Home", 0), ("End", 100), ("ArrowLeft", 99)):
        curtain.press(key)
        assert page.evaluate("document.getElementById('curtain').value") == str(percent)
        cut = page.evaluate("getComputedStyle(document.getElementById('veil')).clipPath")
        assert cut.endswith(f" {percent}%)") or (percent == 0 and cut == "inset(0px 0px 0px 0%)")
    assert curtain.get_attribute("aria-valuetext").startswith("99% invcomp, the rest the original")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360  # a telephone's width
    assert visitor.nothing_unwanted()


def test_each_side_shows_its_own_image(visitor: Visitor, original: Path) -> None:
    page = visitor.page
    visitor.drop(GOLDEN, original)
    caption(visitor, "WebP")
    page.locator("#curtain").press("Home")
    theirs = screenshot(visitor)
    page.locator("#curtain").press("End")
    ours = screenshot(visitor)
    page.locator("#curtain").fill("50")
    both = screenshot(visitor)
    middle = both.shape[1] // 2
    assert (both[:, : middle - 8] == ours[:, : middle - 8]).all()
    assert (both[8:-8, middle + 8 : -8] == theirs[8:-8, middle + 8 : -8]).all()
    assert np.abs(ours - theirs).mean() > 3


def screenshot(visitor: Visitor) -> np.ndarray:
    data = visitor.page.locator("#stage").screenshot()
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"), int)


def test_another_file_has_another_original(visitor: Visitor, original: Path) -> None:
    page = visitor.page
    visitor.drop(original)
    visitor.said("is the original for the file that is opened next")
    page.set_input_files("#file", GOLDEN)
    caption(visitor, "WebP")
    page.locator("#bytes").fill("100")
    page.locator("#left", has_text="invcomp, 100 bytes").wait_for(timeout=PATIENCE)
    assert int(re.findall(r"WebP, (\d+)", caption(visitor, "WebP"))[0]) <= 100
    page.set_input_files("#file", GOLDEN)
    page.locator("#compared").wait_for(state="hidden", timeout=PATIENCE)
    visitor.said("Decoded in")
    page.set_input_files("#original", original)
    caption(visitor, "WebP")
    page.get_by_role("button", name="Remove the original").click()
    assert page.locator("#veil").is_hidden()
    assert page.locator("#curtain").is_hidden()


def test_where_nothing_is_so_small_there_is_the_original(visitor: Visitor, original: Path) -> None:
    visitor.drop(GOLDEN, original)
    caption(visitor, "WebP")
    visitor.page.locator("#bytes").fill("30")
    visitor.page.locator("#without", has_text="No WebP of at most 30 bytes").wait_for(
        timeout=PATIENCE
    )
    assert caption(visitor, "original") == "the original, 128 x 128 px"


def test_a_browser_without_webp_says_so(site: Path, tmp_path: Path, original: Path) -> None:
    """Chromium writes WebP; a line before the worker's takes that from it, as Safari lacks it."""
    with visiting(site, service_workers="block") as visitor:

        def answer(route: object) -> None:
            response = route.fetch()  # type: ignore[attr-defined]
            route.fulfill(response=response, body=NO_WEBP + response.text())  # type: ignore[attr-defined]

        visitor.page.context.route("**/conventional.js", answer)
        visitor.page.goto(visitor.address)
        visitor.page.locator("#file").wait_for(state="attached", timeout=PATIENCE)
        visitor.said("Ready")
        visitor.drop(GOLDEN, original)
        note = visitor.page.locator("#without", has_text="This browser writes no WebP")
        note.wait_for(timeout=PATIENCE)
        assert "No JPEG of at most 222 bytes; this is the original." in note.text_content()
