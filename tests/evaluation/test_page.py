"""The page in a real Chromium: it works, it is readable in the dark, and nothing leaves it."""

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from invcomp.evaluation.page import PREVIEW, preview, write_page
from invcomp.evaluation.report import Report

from ..chromium import Visit
from .points import report

COLOURS = {34.0: (0, 0, 255), 50.0: (0, 255, 255), 82.0: (255, 255, 0), 0.0: (0, 255, 0)}
RED = (255, 0, 0)


def made(folder: Path, found: Report | None = None, shown: int = 12) -> Path:
    """A page of red originals, and of files of a colour of their own."""
    return write_page(
        found or report(),
        folder,
        lambda name: Image.new("RGB", (64, 64), RED),
        lambda name, codec, size, quality: Image.new(
            "RGB", (64, 64), COLOURS.get(quality, (255, 255, 255))
        ),
        shown,
    )


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return made(tmp_path)


def colour_at(screenshot: bytes, share: float) -> tuple[int, ...]:
    """Of an image's pixel, so far from the left."""
    image = Image.open(io.BytesIO(screenshot)).convert("RGB")
    return tuple(image.getpixel((int(share * image.width), image.height // 3)))  # type: ignore


def test_no_complaint_and_no_request(page: Path, visit: Visit) -> None:
    for scheme in ("light", "dark"):
        visited = visit(page, scheme)
        visited.page.get_by_label("codec").select_option("WebP")
        visited.page.get_by_role("button", name="bytes").click()
        assert visited.complaints == []
        assert visited.requests == [page.resolve().as_uri()]
        broken = "[...document.images].filter((image) => !image.naturalWidth).length"
        assert visited.page.evaluate(broken) == 0


def test_the_slider_moves(page: Path, visit: Visit) -> None:
    visited = visit(page)
    stage = visited.page.locator("#stage")
    decoded = COLOURS[50.0]  # the middle one of three
    shot = stage.screenshot()
    assert (colour_at(shot, 0.3), colour_at(shot, 0.7)) == (RED, decoded)
    box = stage.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    visited.page.mouse.move(box["x"] + box["width"] * 0.5, middle)
    visited.page.mouse.down()
    visited.page.mouse.move(box["x"] + box["width"] * 0.2, middle, steps=5)
    visited.page.mouse.up()
    shot = stage.screenshot()
    assert (colour_at(shot, 0.1), colour_at(shot, 0.3)) == (RED, decoded)
    visited.page.locator("#slider").focus()
    visited.page.keyboard.press("End")
    assert colour_at(stage.screenshot(), 0.9) == RED
    assert visited.complaints == []


def test_another_file_is_another_image(page: Path, visit: Visit) -> None:
    visited = visit(page)
    stage, figures = visited.page.locator("#stage"), visited.page.locator("#figures")
    assert figures.inner_text().startswith("100 bytes")
    visited.page.get_by_label("file", exact=True).select_option(index=2)
    assert colour_at(stage.screenshot(), 0.7) == COLOURS[82.0]
    assert "LPIPS-Alex: 0.15" in figures.inner_text()
    visited.page.get_by_label("codec").select_option("WebP")
    visited.page.get_by_label("file", exact=True).select_option(index=0)
    assert colour_at(stage.screenshot(), 0.7) == COLOURS[0.0]
    options = visited.page.get_by_label("file", exact=True).locator("option").all_inner_texts()
    assert [text.split()[0] for text in options] == ["400", "1000"]  # those on the hull
    visited.page.get_by_label("image", exact=True).select_option("b.png")
    assert "400 bytes" in figures.inner_text()
    assert visited.complaints == []


def test_the_table_sorts_by_number(page: Path, visit: Visit) -> None:
    visited = visit(page)
    column = visited.page.locator("#points tbody td:nth-child(4)")
    header = visited.page.locator("#points th:nth-child(4)")
    for direction, last in (("ascending", 1000.0), ("descending", 50.0)):
        header.get_by_role("button").click()
        values = [float(text) for text in column.all_inner_texts()]
        assert values == sorted(values, reverse=direction == "descending")
        assert values[-1] == last
        assert header.get_attribute("aria-sort") == direction
    visited.page.get_by_role("button", name="codec").click()
    assert header.get_attribute("aria-sort") == "none"
    assert visited.page.locator("#points tbody td").first.inner_text() == "invcomp"


def test_points_off_every_hull_can_be_hidden(page: Path, visit: Visit) -> None:
    visited = visit(page)
    rows = visited.page.locator("#points tbody tr:visible")
    assert rows.count() == 6
    visited.page.get_by_label("only points on a hull").check()
    assert rows.count() == 5


def test_light_and_dark(page: Path, visit: Visit) -> None:
    grounds, plots = {}, {}
    for scheme in ("light", "dark"):
        opened = visit(page, scheme).page
        grounds[scheme] = opened.evaluate("getComputedStyle(document.body).backgroundColor")
        plots[scheme] = opened.evaluate("document.querySelector('.plot').currentSrc")
    assert grounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 22, 22)"}
    for scheme, ink, other in (("light", b"#1a1a1a", b"#e6e6e6"), ("dark", b"#e6e6e6", b"#1a1a1a")):
        drawn = base64.b64decode(plots[scheme].split(",", 1)[1])
        assert ink in drawn
        assert other not in drawn


def test_the_page_may_load_nothing(page: Path, visit: Visit) -> None:
    """Not even what a script of its own would ask for; the address is of this machine."""
    visited = visit(page)
    blocked = visited.page.evaluate(
        """() => new Promise((resolve) => {
            document.addEventListener("securitypolicyviolation", (e) => resolve(e.blockedURI));
            const image = new Image();
            image.src = "http://127.0.0.1:9/pixel.png";
        })"""
    )
    assert blocked == "http://127.0.0.1:9/pixel.png"
    inline = """() => {
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
        return window.ran === true;
    }"""
    assert visited.page.evaluate(inline) is False


def test_odd_names_are_text(tmp_path: Path, visit: Visit) -> None:
    name = "</script><img src=x onerror=alert(1)>&quot;.png"
    visited = visit(made(tmp_path, report(name)))
    assert visited.page.locator("#image option").all_inner_texts() == [name]
    assert visited.page.evaluate("document.images.length") == 4  # two under the slider, two plots
    assert visited.complaints == []


def test_a_narrow_window_does_not_scroll_sideways(page: Path, visit: Visit) -> None:
    opened = visit(page).page
    opened.set_viewport_size({"width": 360, "height": 700})
    assert opened.evaluate("document.documentElement.scrollWidth") <= 360


def test_only_so_many_images_are_in_the_page(tmp_path: Path, visit: Visit) -> None:
    visited = visit(made(tmp_path, shown=1))
    assert visited.page.locator("#image option").count() == 1
    assert visited.page.get_by_text("The first 1 of 2 images.").count() == 1
    without = visit(made(tmp_path, shown=0))
    assert without.page.locator("#stage").count() == 0
    without.page.get_by_role("button", name="bytes").click()
    assert without.complaints == []


def test_every_address_in_the_page_holds_its_data(page: Path) -> None:
    text = page.read_text()
    addresses = re.findall(r'(?:src|href|srcset|action)="([^"]*)"', text)
    assert len(addresses) == 5
    assert all(address.startswith("data:") for address in addresses)
    assert "http:" not in text.replace("http-equiv", "")
    assert "https:" not in text


def test_previews_are_small_and_small_ones_exact() -> None:
    noise = Image.effect_noise((100, 60), 80).convert("RGB")
    address = preview(noise)
    kept = Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1]))).convert("RGB")
    assert kept.tobytes() == noise.tobytes()
    large = Image.new("RGB", (1024, 512), "red")
    reduced = Image.open(io.BytesIO(base64.b64decode(preview(large).split(",", 1)[1])))
    assert reduced.size == (PREVIEW, PREVIEW // 2)
    assert large.size == (1024, 512)
