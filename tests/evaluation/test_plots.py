"""The plots: every codec by its name, readable on light and on dark."""

import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from invcomp.evaluation.plots import INK, draw, write_plots

from .points import report


def test_an_svg_names_codecs_and_axes() -> None:
    for metric, name in (("lpips_alex", "LPIPS-Alex (lower"), ("psnr", "PSNR, dB (higher")):
        root = ElementTree.fromstring(draw(report(), metric, "svg"))
        words = " ".join(text for text in root.itertext())
        for word in ("invcomp", "WebP", "bytes", name):
            assert word in words


def test_dark_ground_has_light_ink() -> None:
    light, dark = (draw(report(), "psnr", "svg", dark).decode() for dark in (False, True))
    for text, ink, other in ((light, INK[False], INK[True]), (dark, INK[True], INK[False])):
        assert ink in text
        assert other not in text


def test_the_same_report_gives_the_same_file() -> None:
    assert draw(report(), "psnr", "svg") == draw(report(), "psnr", "svg")


def test_writes_both_kinds_of_every_metric(tmp_path: Path) -> None:
    for _ in range(2):
        write_plots(report(), tmp_path)
    names = ["lpips_alex.png", "lpips_alex.svg", "psnr.png", "psnr.svg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    image = np.array(Image.open(io.BytesIO((tmp_path / "psnr.png").read_bytes())).convert("RGB"))
    assert image[0, 0].tolist() == [255, 255, 255]
    assert (np.abs(image - [0xD5, 0x5E, 0x00]).sum(-1) < 30).sum() > 500  # our line
