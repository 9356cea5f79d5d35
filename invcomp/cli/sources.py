"""Finds what goes into an archive: files, and all below folders, with their names in it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from . import show
from .jobs import STDIN, STREAM, is_folder, is_url, resolved

if TYPE_CHECKING:
    from upath import UPath

ARCHIVE, FILE = ".ivca", ".ivc"
NAMELESS = "standard input has no name in an archive: compress takes one by --name, others a file"


def is_archive(path: str | Path | None) -> bool:
    """Whether a path names an archive, by its suffix."""
    return path is not None and str(path).lower().endswith(ARCHIVE)


def sources_below(
    paths: Iterable[Path],
    suffixes: Collection[str],
    outcomes: show.Outcomes,
    stdin: str | None = None,
) -> Iterator[tuple[Path, Path]]:
    """Files and their relative paths: the given ones, and all below the given folders.

    Args:
        paths: files and folders; a file may have any suffix.
        suffixes: in lower case, with the dot.
        outcomes: records missing files.
        stdin: name of standard input; None: it is refused.
    """
    seen = set[Path]()
    for path in paths:
        if path == STREAM:
            if stdin is None:
                outcomes.failed(NAMELESS, path)
            else:
                yield STDIN, Path(f"{stdin}{FILE}")
            continue
        found = _below(path, suffixes, outcomes) if is_folder(path) else [path] * _is_there(path)
        if not found:
            reason = "the folder has no files of a supported type"
            outcomes.failed(f"{path}: {reason if is_folder(path) else 'no such file'}", path)
        for file in found:
            if resolved(file) not in seen:
                seen.add(resolved(file))
                inner = str(file.relative_to(path)) if is_folder(path) else file.name
                yield file, Path(inner)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, links in a circle
        return False
    except Exception:  # of what reads a URL
        if not is_url(path):
            raise
        return False


def _below(folder: Path, suffixes: Collection[str], outcomes: show.Outcomes) -> list[Path]:
    """All files in a folder and its folders, in the order of their names; nothing hidden."""
    found = []

    def unreadable(error: Exception) -> None:
        place, reason = getattr(error, "filename", folder), getattr(error, "strerror", error)
        outcomes.failed(f"{place}: {reason}", place)

    walk: Any = os.walk(folder, onerror=unreadable)
    if is_url(folder):
        walk = cast("UPath", folder).walk(on_error=unreadable)
    for place, folders, files in walk:
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = place if is_url(folder) else Path(place)
        visible = (here / name for name in sorted(files) if not name.startswith("."))
        found += [file for file in visible if file.suffix.lower() in suffixes and file.is_file()]
    return found
