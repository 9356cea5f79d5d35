"""Where downloads and compiled code are kept; writes files atomically."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs
from safetensors import SafetensorError

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
    temporary: Path | None = None
    try:
        if os.path.lexists(path) and not force:  # a link that leads nowhere is there, too
            raise OutputError(f"{path} already exists")
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_name(path)
        # a name of its own: with the file's in it, it might be too long
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".invcomp-")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{path}: cannot be written: {reason_of(error)}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def check_room(folder: Path, size: int) -> None:
    """Checks that `size` bytes can be written to a folder, which is made if it is missing.

    For work that would be lost. It writes them to a file without a name.

    Raises:
        OutputError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(size))
            file.flush()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {reason_of(error)}") from error


def reason_of(error: OSError | SafetensorError) -> str:
    """Why a file cannot be read or written. safetensors says it in its own words."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    found = re.search(r"os error (\d+)", str(error))
    return os.strerror(int(found[1])) if found else str(error)


def _check_name(path: Path) -> None:
    """Raises the error of a name that is too long before anything is written."""
    with suppress(FileNotFoundError):
        path.lstat()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
