"""Images of any mode, with any colour profile, as 8-bit sRGB."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageColor

from ..errors import OptionError

Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
BITS_PER_SAMPLE, SAMPLE_FORMAT, SIGNED = 258, 339, 2  # of TIFF
GREYS = ("1", "L", "LA")
PROFILED = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # Pillow's mode for a profile's space
FROM_16_BITS = np.round(np.arange(65536) / 257).astype(np.uint8)


def colour_of(text: str) -> Colour:
    """The sRGB colour of a name or of "#rrggbb", as CSS writes them.

    Raises:
        OptionError: not a colour.
    """
    try:
        red, green, blue, *_ = ImageColor.getrgb(text)
    except ValueError as error:
        raise OptionError(f"{text!r} is not a colour: try white or #808080") from error
    return red, green, blue


def to_srgb(image: Image.Image, background: Colour = WHITE) -> tuple[Image.Image, list[str]]:
    """A new image in 8-bit sRGB without metadata, and what is worth knowing about it.

    Args:
        image: loaded, of any mode of Pillow. Its `info` has the profile, if there is one.
        background: sRGB, behind transparent pixels.

    Raises:
        ValueError: Pillow cannot convert the mode.
    """
    given, notes = image, list[str]()
    profile = image.info.get("icc_profile")
    if image.mode[0] in "IF":
        image = _eight_bits(image, notes)
    if image.mode == "La":  # premultiplied; Pillow converts it to nothing else
        image = image.convert("LA")
    alpha = None
    if image.has_transparency_data:
        is_grey = image.mode in GREYS
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.getchannel("R") if is_grey else image.convert("RGB")
    if image.mode == "LAB":
        image, profile = _transformed(image, ImageCms.createProfile("LAB")), None
    elif image.mode not in PROFILED.values():
        image = image.convert("L" if image.mode == "1" else "RGB")
    if profile:
        image = _of_profile(image, profile, notes)
    elif image.mode == "CMYK":
        notes.append("CMYK without a colour profile: the colours are approximate")
    if image.mode != "RGB" or image is given:
        image = image.convert("RGB")  # a copy
    if alpha is not None:
        image = Image.composite(image, Image.new("RGB", image.size, background), alpha)
    image.info.clear()  # nothing may apply a profile or an orientation twice
    return image, notes


def _eight_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    """Integers of 16 or 32 bits, or floats, scaled to mode L; LA if one value is transparent."""
    values, wide = np.asarray(image), _has_32_bits(image)
    if wide and SIGNED not in image.tag_v2.get(SAMPLE_FORMAT, ()):  # type: ignore[attr-defined]
        values = values.view(np.uint32)  # Pillow reads them as signed
    if image.mode == "F":
        values = np.nan_to_num(values, posinf=0, neginf=0)
        greatest = float(values.max())
        top = next((limit for limit in (1.0, 255.0, 65535.0) if greatest <= limit), greatest)
        notes.append(f"floating-point values: taken as 0 to {top:g}")
        scaled = _scaled(values, top)
    elif not wide and (values.dtype == np.uint16 or 0 <= values.min() <= values.max() <= 65535):
        scaled = FROM_16_BITS[values]
    else:
        greatest = max(int(values.max()), 1)
        top = next((limit for limit in (255, 65535) if greatest <= limit), greatest)
        notes.append(f"32-bit values: taken as 0 to {top}")
        scaled = _scaled(values, top)
    eight = Image.fromarray(scaled)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        eight.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return eight


def _has_32_bits(image: Image.Image) -> bool:
    """Whether it is a TIFF of 32-bit integers, which may say no more than 8 or 16 bits do."""
    tags = getattr(image, "tag_v2", {})
    return image.mode == "I" and tags.get(BITS_PER_SAMPLE) == (32,)


def _scaled(values: Any, top: float) -> Any:
    return np.round(np.clip(values, 0, top) * (255 / top)).astype(np.uint8)


def _of_profile(image: Image.Image, data: bytes, notes: list[str]) -> Image.Image:
    """The image in sRGB; unchanged if its profile is sRGB, unusable, or of another kind."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        mode = PROFILED.get(profile.profile.xcolor_space.strip())
        if mode == "RGB" and image.mode == "L":
            image = image.convert("RGB")
        if mode == "L" == image.mode:  # the curve alone, exactly: in images it is sampled coarsely
            curve = _transformed(Image.frombytes("L", (256, 1), bytes(range(256))), profile)
            return image.point(list(curve.tobytes()[::3]))
        if mode == image.mode:
            return _transformed(image, profile)
        notes.append("its colour profile is of another kind: taken as sRGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, ImportError):
        notes.append("damaged colour profile: taken as sRGB")
    return image


def _transformed(image: Image.Image, profile: Any) -> Image.Image:
    transform = ImageCms.buildTransform(
        profile,
        ImageCms.createProfile("sRGB"),
        image.mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION | (image.mode == "L" and ImageCms.Flags.NOOPTIMIZE),
    )
    if image.mode == "RGB" and _changes_nothing(transform):
        return image
    result = ImageCms.applyTransform(image, transform)
    assert result is not None  # it is None where the image is changed in place
    return result


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether no colour moves by more than rounding: one of the many profiles of sRGB."""
    levels = np.linspace(0, 255, 18).astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(18, -1, 3)
    moved = np.asarray(ImageCms.applyTransform(Image.fromarray(grid), transform))
    return bool(np.abs(moved.astype(int) - grid).max() <= 1)
