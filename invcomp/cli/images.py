"""Reads and writes images with Pillow; errors name the file."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ..errors import ImageError, InvcompError, OutputError
from ..files import atomic_write

LOSSY = {"AVIF": 90, "JPEG": 95, "WEBP": 95}  # qualities without visible further loss


def readable_suffixes() -> set[str]:
    """Suffixes of the image formats that Pillow reads, in lower case."""
    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}


def read_image(path: Path) -> Image.Image:
    """The whole image, upright and RGB.

    Raises:
        ImageError: the file is missing, not an image, or truncated.
    """
    from ..preprocessing.frame import to_pil

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unusual metadata
            with Image.open(path) as file:
                return to_pil(file)
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not an image that Pillow can read") from error
    except InvcompError as error:
        raise ImageError(f"{path}: {error}") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # Pillow's plug-ins raise any exception on damaged files
        raise ImageError(f"{path}: damaged image: {error}") from error


def image_format(path: Path) -> str:
    """Pillow's name of the format of a suffix.

    Raises:
        OutputError: Pillow cannot write such a format.
    """
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise OutputError(f"{path}: unknown image format {path.suffix!r}: try .png")
    return kind


def write_image(image: Image.Image, path: Path, force: bool) -> None:
    """Writes an image atomically, in the format of the path's suffix.

    Raises:
        OutputError: it cannot be written.
    """
    kind = image_format(path)
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, **({"quality": LOSSY[kind]} if kind in LOSSY else {}))
    except (OSError, ValueError, KeyError) as error:
        raise OutputError(f"{path}: {kind} cannot store the image: {error}") from error
    write_bytes(buffer.getvalue(), path, force)


def write_bytes(data: bytes, path: Path, force: bool) -> None:
    """Writes a file atomically.

    Raises:
        OutputError: it cannot be written.
    """
    with atomic_write(path, force=force) as temporary:
        temporary.write_bytes(data)
