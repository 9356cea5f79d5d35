"""Writes images with Pillow; errors name the file."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

from PIL import Image

from ..errors import OutputError
from ..files import atomic_write
from . import show
from .jobs import STREAM

LOSSY = {"AVIF": 90, "JPEG": 95, "WEBP": 95}  # qualities without visible further loss


def image_format(path: Path) -> str:
    """Pillow's name of the format of a suffix; PNG on standard output.

    Raises:
        OutputError: Pillow cannot write such a format.
    """
    if path == STREAM:
        return "PNG"
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


def set_time(path: Path, time: int) -> None:
    """Sets when a file was changed last, in seconds since 1970; says so if that cannot be."""
    try:
        os.utime(path, (time, time))
    except (OSError, OverflowError) as error:
        show.warning(f"{path}: its time cannot be set: {error}")


def write_bytes(data: bytes, path: Path, force: bool) -> None:
    """Writes a file atomically, or to standard output.

    Raises:
        OutputError: it cannot be written.
    """
    if path == STREAM:
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OSError as error:
            raise OutputError(f"standard output: {error.strerror}") from error
        return
    with atomic_write(path, force=force) as temporary:
        temporary.write_bytes(data)
