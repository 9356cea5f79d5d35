"""Pairs input and output files before any long work begins."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, cast

from . import show
from .show import Outcomes

if TYPE_CHECKING:
    from upath import UPath

STREAM = Path("-")  # as a source standard input, as a target standard output
STDIN = Path("/dev/stdin")
NO_URL = "only an archive (.ivca) can be written to a URL: choose another -o"


@dataclass(frozen=True)
class Job:
    """One input file and its output file.

    Attributes:
        source: what is read.
        target: what is written.
        time: that the target gets, in seconds since 1970; None: that of writing.
    """

    source: Path
    target: Path
    time: int | None = None


def is_url(text: str | Path) -> bool:
    """Whether a text names a file by a URL, such as s3://bucket/name."""
    return "://" in str(text)


def path_or_url(text: str) -> Path:
    """A path of this machine, or one of fsspec (a `UPath`), which is used like it.

    Raises:
        OptionError: what reads such URLs is not installed.
    """
    if not is_url(text):
        return Path(text)
    show.needs("remote", "upath")
    return cast(Path, url_path(text))


def url_path(text: str) -> UPath:
    """The path of a URL.

    Raises:
        OptionError: what reads such URLs is not installed, or it has no such protocol.
    """
    from upath import UPath

    from ..errors import OptionError

    try:
        path = UPath(text)
        _ = path.fs
    except (ImportError, ValueError) as error:
        raise OptionError(f"{text}: {error}") from error
    return path


def find_sources(
    paths: Iterable[Path], suffixes: Collection[str], outcomes: Outcomes
) -> list[Path]:
    """The given files, and all files in the given folders that have one of the suffixes.

    Args:
        paths: files and folders; a file may have any suffix.
        suffixes: in lower case, with the dot.
        outcomes: records missing files.
    """
    found: dict[Path, Path] = {}  # by resolved path, so that each is read once
    for path in (STDIN if path == STREAM else path for path in paths):
        if reason := _unreadable(path):
            files = []
            outcomes.failed(f"{path}: {reason}", path)
        elif path.is_dir():
            files = [file for file in _listing(path, outcomes) if file.suffix.lower() in suffixes]
            if not files:
                outcomes.failed(f"{path}: the folder has no files of a supported type", path)
        else:
            files = [path]
        for file in files:
            found.setdefault(resolved(file), file)
    return list(found.values())


def _unreadable(path: Path) -> str | None:
    """Why there is nothing at a path; None if there is something."""
    try:
        path.stat()
    except FileNotFoundError:
        return "no such file"
    except OSError as error:  # a name that is too long, links in a circle
        return str(error.strerror or error)
    except Exception as error:  # of what reads a URL: no credentials, for example
        if not is_url(path):
            raise
        return f"cannot be read: {error}"
    return None


def modified(path: Path) -> int | None:
    """When a file was changed last, in seconds since 1970; None: no archive can hold it."""
    from ..bitstream.times import is_time

    try:
        state = path.stat()
        seconds = state.st_mtime_ns // 10**9  # which is exact
    except OSError:
        return None
    except Exception:  # of what reads a URL, or it does not know
        if not is_url(path):
            raise
        return None
    known = S_ISREG(state.st_mode) and is_time(seconds)  # a pipe has the time of its making
    return seconds if known and (seconds or not is_url(path)) else None


def is_folder(path: Path) -> bool:
    """Whether there is a folder at a path, which may be no path at all."""
    return _unreadable(path) is None and path.is_dir()


def resolved(path: Path) -> Path:
    """The path without links; as it is where they lead in a circle."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # the latter before Python 3.13
        return path.absolute()


def _listing(folder: Path, outcomes: Outcomes) -> list[Path]:
    try:
        files = (file for file in folder.iterdir() if not file.name.startswith("."))
        return sorted(file for file in files if file.is_file())
    except OSError as error:
        outcomes.failed(f"{folder}: {error.strerror or error}", folder)
        return []
    except Exception as error:  # of what reads a URL
        if not is_url(folder):
            raise
        outcomes.failed(f"{folder}: cannot be read: {error}", folder)
        return []


def plan(
    sources: list[Path],
    output: str | None,
    into_folder: bool,
    suffix: str,
    force: bool,
    outcomes: Outcomes,
    is_done: Callable[[Path], bool] = lambda target: False,
) -> list[Job]:
    """The jobs that can be done.

    Args:
        sources: input files.
        output: a file or a folder; None means next to each source.
        into_folder: whether the output must be a folder, because there are several sources.
        suffix: of the output files.
        force: whether existing output may be replaced.
        outcomes: records why a job cannot be done.
        is_done: whether a target was written in an earlier run, so that there is no job.
    """
    jobs: list[Job] = []
    taken = {resolved(source): source for source in sources}  # no source may be overwritten
    for source in sources:
        target = target_of(source, output, into_folder, suffix)
        if is_url(output or target):
            outcomes.failed(f"{source}: {NO_URL}", source)
            continue
        if target == STREAM and not into_folder:
            show.data_on_stdout()
            jobs.append(Job(source, target))
            continue
        other = taken.setdefault(resolved(target), source)
        if resolved(target) == resolved(source):
            outcomes.failed(f"{source}: would overwrite itself: choose another -o", source)
        elif other is not source:
            used = f"{target} is already used for {other}: choose another -o"
            outcomes.failed(f"{source}: {used}", source)
        elif is_done(target):
            pass
        elif reason := obstacle(target, force):
            outcomes.failed(f"{source}: {reason}", source)
        else:
            jobs.append(Job(source, target))
    return jobs


def target_of(source: Path, output: str | None, into_folder: bool, suffix: str) -> Path:
    """The output path of a source."""
    if output == str(STREAM) or (output is None and source == STDIN):
        return STREAM
    if output is None:
        return source.with_suffix(suffix)
    path = Path(output)
    if into_folder or is_folder(path) or output.endswith(("/", os.sep)):
        return path / source.with_suffix(suffix).name
    return path


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def obstacle(target: Path, force: bool) -> str | None:
    """Why `target` cannot be written; None if no reason is known."""
    if target == STREAM:
        return "several files cannot be written to standard output"
    try:
        is_there = _is_there(target)  # a link that leads nowhere is there, too
        if is_there and target.exists() and not target.is_file():
            return f"{target} is not a file that can be written"
        folder = next(parent for parent in target.absolute().parents if parent.exists())
    except OSError as error:  # a name that is too long
        return f"{target}: cannot be written: {error.strerror}"
    if is_there and not force:
        return f"{target} exists: use --force to replace it"
    if not folder.is_dir():
        return f"{target}: cannot be written: {folder} is not a folder"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{target}: cannot be written: no permission in {folder}"
    return None
