"""Writes images with Pillow; errors name the file."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from ..errors import OutputError
from ..files import atomic_write

LOSSY = {"AVIF": 90, "JPEG": 95, "WEBP": 95}  # qualities without visible further loss


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
