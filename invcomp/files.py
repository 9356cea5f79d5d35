"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError


@contextmanager
def atomic_write(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Gives a temporary path beside `path`, renamed to it when the block ends well.

    Whatever ends the block otherwise, Ctrl-C too, leaves nothing behind.

    Args:
        path: of the file to write; missing folders are made.
        force: whether an existing file may be replaced.

    Raises:
        OutputError: it exists and `force` is not given, or it cannot be written.
    """
    if path.exists() and not force:
        raise OutputError(f"{path} exists: use --force to replace it")
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
