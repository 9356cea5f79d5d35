"""Modes and colour profiles of images: what they become in 8-bit sRGB."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from invcomp.errors import OptionError
from invcomp.preprocessing.colour import colour_of, to_srgb

from .profiles import (
    ADOBE,
    ADOBE_GAMMA,
    DISPLAY_P3,
    SRGB,
    cmyk_profile,
    expected,
    grey_profile,
    rgb_profile,
    srgb_encoded,
    srgb_linear,
)

BLUE = (10, 20, 200)


def ramp(mode: str = "RGB") -> Image.Image:
    """64 x 64, smooth in all channels."""
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    values = np.stack([4 * x, 4 * y, 2 * (x + y)], -1).astype(np.uint8)
    image = Image.fromarray(values)
    return image if mode == "RGB" else image.convert(mode)


def levels(image: Image.Image) -> np.ndarray:
    """[H, W, 3] of the converted image, as integers that can be subtracted."""
    converted, _ = to_srgb(image)
    assert (converted.mode, converted.size, converted.info) == ("RGB", image.size, {})
    return np.asarray(converted).astype(int)


def notes(image: Image.Image) -> list[str]:
    return to_srgb(image)[1]


@pytest.mark.parametrize(
    ("mode", "most"),
    [("RGB", 0), ("RGBA", 0), ("RGBX", 0), ("RGBa", 0), ("CMYK", 0), ("YCbCr", 3), ("HSV", 6)],
)
def test_colour_modes_keep_their_colours(mode: str, most: int) -> None:
    assert np.abs(levels(ramp(mode)) - np.asarray(ramp())).max() <= most


@pytest.mark.parametrize("mode", ["L", "LA", "La"])
def test_grey_modes_keep_their_levels(mode: str) -> None:
    image = ramp("L") if mode == "L" else ramp("LA").convert(mode)
    assert np.array_equal(levels(image), np.asarray(ramp("L").convert("RGB")))


def test_bilevel_and_palettes() -> None:
    bilevel = ramp("1")
    assert np.array_equal(levels(bilevel)[..., 0] > 0, np.asarray(bilevel))
    palette = ramp().quantize(64)
    assert np.array_equal(levels(palette), np.asarray(palette.convert("RGB")))
    assert np.array_equal(levels(palette.convert("PA")), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(("mode", "kind"), [("I;16", "<u2"), ("I;16B", ">u2"), ("I", "<i4")])
def test_16_bits_are_scaled_and_not_clipped(mode: str, kind: str) -> None:
    values = np.linspace(0, 65535, 4096).round().reshape(64, 64)
    image = Image.frombytes(mode, (64, 64), values.astype(kind).tobytes())
    assert np.array_equal(levels(image)[..., 0], np.round(values / 257))
    assert notes(image) == []


def test_larger_integers_and_floats_name_the_range_that_is_assumed() -> None:
    values = np.linspace(-5, 2**30, 4096).reshape(64, 64)
    found = levels(Image.fromarray(values.astype(np.int32)))
    assert np.abs(found[..., 0] - values / 2**30 * 255).max() <= 1
    assert notes(Image.fromarray(values.astype(np.int32))) == [
        "32-bit values: taken as 0 to 1073741824"
    ]
    for top in (1.0, 255.0, 65535.0, 1e6):
        floats = np.linspace(-0.1, 1, 4096, dtype=np.float32).reshape(64, 64) * top
        floats[0, :2] = np.nan, np.inf
        image = Image.fromarray(floats)
        expected = np.nan_to_num(floats, posinf=0).clip(0) / top * 255
        assert np.abs(levels(image)[..., 0] - expected).max() <= 0.51
        assert notes(image) == [f"floating-point values: taken as 0 to {top:g}"]


def test_lab() -> None:
    lab = ImageCms.profileToProfile(
        ramp(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    differences = np.abs(levels(lab) - np.asarray(ramp()))
    assert differences.mean() < 2  # of 8 bits for Lab; most at saturated blue
    assert notes(lab) == []


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB", "I;16"])
def test_transparent_pixels_show_the_background(mode: str) -> None:
    """The left half is transparent, by alpha or by a transparent value."""
    grey = np.full((64, 64), 90, np.uint8)
    grey[:, :32] = 200
    image: Image.Image = Image.fromarray(grey)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode in ("RGBA", "LA"):
        image = image.convert(mode)
        image.putalpha(Image.fromarray(np.where(grey == 200, 0, 255).astype(np.uint8)))
    else:
        image = image.convert(mode)
    buffer = io.BytesIO()
    transparent = {"P": 200, "L": 200, "RGB": (200, 200, 200), "I;16": 200 * 257}.get(mode)
    image.save(buffer, "PNG", **({} if transparent is None else {"transparency": transparent}))
    with Image.open(buffer) as opened:
        opened.load()
        for background in ((255, 255, 255), BLUE):
            found = to_srgb(opened, background)[0]
            assert found.getpixel((5, 5)) == background
            assert found.getpixel((50, 5)) == (90, 90, 90)


def test_half_transparent_pixels_are_mixed_with_the_background() -> None:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 128))
    assert to_srgb(image)[0].getpixel((0, 0)) == (127, 127, 127)
    assert to_srgb(image, BLUE)[0].getpixel((0, 0)) == (5, 10, 100)
    palette = Image.new("P", (20, 20))
    palette.putpalette([200, 0, 0, 0, 200, 0])
    palette.info["transparency"] = b"\x80\xff"
    assert to_srgb(palette)[0].getpixel((0, 0)) == (227, 127, 127)


def patches() -> np.ndarray:
    """All combinations of nine levels, [27, 27, 3]."""
    nine = np.linspace(0, 255, 9).round().astype(np.uint8)
    return np.stack(np.meshgrid(nine, nine, nine), -1).reshape(27, 27, 3)


def with_profile(image: Image.Image, profile: bytes, kind: str = "TIFF") -> Image.Image:
    """The image as a file with this profile, opened."""
    buffer = io.BytesIO()
    image.save(buffer, kind, icc_profile=profile)
    opened = Image.open(buffer)
    opened.load()
    return opened


def test_display_p3_becomes_srgb() -> None:
    image = with_profile(Image.fromarray(patches()), rgb_profile(DISPLAY_P3), "PNG")
    analytic = expected(patches(), DISPLAY_P3, srgb_linear)
    assert np.abs(patches() - analytic).max() > 90  # what ignoring the profile would cost
    assert np.abs(levels(image) - analytic).max() <= 1
    assert notes(image) == []


def test_adobe_rgb_becomes_srgb() -> None:
    image = with_profile(Image.fromarray(patches()), rgb_profile(ADOBE, ADOBE_GAMMA), "PNG")
    analytic = expected(patches(), ADOBE, lambda values: values**ADOBE_GAMMA)
    assert np.abs(patches() - analytic).max() > 120
    assert np.abs(levels(image) - analytic).max() <= 1


@pytest.mark.parametrize("of_lcms", [False, True])
def test_a_profile_of_srgb_changes_no_pixel(of_lcms: bool) -> None:
    lcms = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = lcms if of_lcms else rgb_profile(SRGB)
    assert np.array_equal(levels(with_profile(Image.fromarray(patches()), profile)), patches())
    grey = with_profile(ramp("L"), profile, "PNG")  # as many programs write it
    assert np.array_equal(levels(grey), np.asarray(ramp("L").convert("RGB")))
    assert notes(grey) == []


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_a_grey_profile_is_applied(gamma: float) -> None:
    steps = np.arange(256, dtype=np.uint8).repeat(16).reshape(64, 64)
    image = with_profile(Image.fromarray(steps), grey_profile(round(gamma * 256) / 256))
    analytic = 255 * srgb_encoded((steps / 255) ** (round(gamma * 256) / 256))
    assert np.abs(levels(image) - analytic[..., None]).max() <= 1


def test_a_profile_is_applied_below_transparency() -> None:
    pixels = np.dstack([patches(), np.full((27, 27), 255, np.uint8)])
    pixels[:5, :, 3] = 0
    image = with_profile(Image.fromarray(pixels), rgb_profile(DISPLAY_P3), "PNG")
    found = np.asarray(to_srgb(image, BLUE)[0])
    assert (found[:5] == BLUE).all()
    assert np.abs(found - expected(patches(), DISPLAY_P3, srgb_linear))[5:].max() <= 1


def test_a_cmyk_profile_is_applied() -> None:
    """Of a printer whose inks are all grey: each takes away a share of the lightness."""
    cyan, magenta, yellow, black = np.indices((2, 2, 2, 2))
    lightness = 100 * 0.5**cyan * 0.6**magenta * 0.9**yellow * (1 - black)
    corners = np.stack([np.round(lightness * 2.55), *(np.full((2, 2, 2, 2), 128),) * 2], -1)
    inks = np.array([[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 0, 255]], np.uint8)
    strip = Image.frombytes("CMYK", (4, 1), inks.tobytes())
    image = with_profile(strip.resize((64, 16), 0), cmyk_profile(corners.astype(np.uint8)))
    luminance = ((np.array([100, 50, 60, 0]) + 16) / 116) ** 3
    analytic = 255 * srgb_encoded(np.where(luminance > 0.009, luminance, 0))
    assert np.abs(levels(image)[8, 8::16] - analytic[:, None]).max() <= 2
    assert notes(image) == []


def test_cmyk_without_a_profile_is_approximate() -> None:
    assert notes(ramp("CMYK")) == ["CMYK without a colour profile: the colours are approximate"]


@pytest.mark.parametrize(
    "profile",
    [b"no profile", bytes(200), rgb_profile(DISPLAY_P3)[:300]],
    ids=["text", "zeros", "cut"],
)
def test_a_damaged_profile_is_taken_as_srgb(profile: bytes) -> None:
    image = ramp()
    image.info["icc_profile"] = profile
    assert np.array_equal(levels(image), np.asarray(ramp()))
    assert notes(image) == ["damaged colour profile: taken as sRGB"]


def test_a_profile_of_another_space_is_taken_as_srgb() -> None:
    image = ramp()
    image.info["icc_profile"] = grey_profile(1.8)
    assert np.array_equal(levels(image), np.asarray(ramp()))
    assert notes(image) == ["its colour profile is of another kind: taken as sRGB"]


def test_the_given_image_stays_as_it_was() -> None:
    image = with_profile(ramp(), rgb_profile(DISPLAY_P3))
    before = image.tobytes()
    converted, _ = to_srgb(image)
    assert image.info["icc_profile"]
    assert image.tobytes() == before
    assert np.array_equal(levels(converted), np.asarray(converted))  # not applied twice


def test_colours() -> None:
    assert colour_of("white") == (255, 255, 255)
    assert colour_of("#0a14c8") == BLUE
    assert colour_of("rgb(10, 20, 200)") == BLUE
    with pytest.raises(OptionError, match="'mauvish' is not a colour: try"):
        colour_of("mauvish")
