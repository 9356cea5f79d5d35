"""Reading images and writing images through Pillow, with errors that name the file."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ..errors import ImageError, InvcompError, OutputError
from ..files import atomic_write

LOSSY = {"AVIF": 90, "JPEG": 95, "WEBP": 95}  # qualities that show no second loss


def readable_suffixes() -> set[str]:
    """Suffixes of the images that Pillow reads, in lower case."""
    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}


def read_image(path: Path) -> Image.Image:
    """The whole image, upright and RGB.

    Raises:
        ImageError: it is not there, not an image, or truncated.
    """
    from ..preprocessing.frame import to_pil

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata
            with Image.open(path) as file:
                return to_pil(file)
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not an image that Pillow can read") from error
    except InvcompError as error:
        raise ImageError(f"{path}: {error}") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # on damaged files Pillow's plug-ins raise all sorts
        raise ImageError(f"{path}: damaged image: {error}") from error


def image_format(path: Path) -> str:
    """Pillow's name of the format that a suffix stands for.

    Raises:
        OutputError: there is none that Pillow can write.
    """
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise OutputError(f"{path}: no image format has the suffix {path.suffix!r}: try .png")
    return kind


def write_image(image: Image.Image, path: Path, force: bool) -> None:
    """Writes an image in the format of the path's suffix, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    kind = image_format(path)
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, **({"quality": LOSSY[kind]} if kind in LOSSY else {}))
    except (OSError, ValueError, KeyError) as error:
        raise OutputError(f"{path}: {kind} cannot hold the image: {error}") from error
    write_bytes(buffer.getvalue(), path, force)


def write_bytes(data: bytes, path: Path, force: bool) -> None:
    """Writes a file, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    with atomic_write(path, force=force) as temporary:
        temporary.write_bytes(data)
