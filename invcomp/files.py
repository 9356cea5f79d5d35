"""Where downloads and compiled code are kept; writes files atomically."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from .errors import OutputError


def cache_directory() -> Path:
    """Folder of what can be had again: $INVCOMP_CACHE, or else the user's cache directory."""
    override = os.environ.get("INVCOMP_CACHE")
    return Path(override).expanduser() if override else platformdirs.user_cache_path("invcomp")


@contextmanager
def atomic_write(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Yields a temporary path next to `path`, renamed to it if the block succeeds.

    If the block ends in any other way, including Ctrl-C, nothing is left behind.

    Args:
        path: of the file to write; missing folders are created.
        force: whether an existing file may be replaced.

    Raises:
        OutputError: the file exists and `force` is False, or it cannot be written.
    """
    if path.exists() and not force:
        raise OutputError(f"{path} already exists")
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
