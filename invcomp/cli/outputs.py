"""Where `invcomp compress` writes: a file for each image, or one archive."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..files import cache_directory
from . import show
from .jobs import (
    STREAM,
    Job,
    find_sources,
    is_folder,
    is_url,
    obstacle,
    path_or_url,
    plan,
    resolved,
)

if TYPE_CHECKING:
    from typing_extensions import Self
    from upath import UPath

    from ..archive.writer import ArchiveWriter

ARCHIVE, FILE = ".ivca", ".ivc"


def is_archive(path: str | Path | None) -> bool:
    """Whether a path names an archive, by its suffix."""
    return path is not None and str(path).lower().endswith(ARCHIVE)


def output_of(output: str | None, force: bool) -> Files:
    """The output that -o names."""
    if not output or not is_archive(output):
        return Files(output, force)
    return Uploaded(output, force) if is_url(output) else Members(Path(output), force)


class Files:
    """A file for each image. To be entered while it is written to.

    Args:
        output: a file or a folder; None: next to each image.
        force: whether existing files may be replaced.
    """

    def __init__(self, output: str | None, force: bool) -> None:
        self._output, self._force = output, force
        self._into_folder = False

    @property
    def usable(self) -> bool:
        """Whether more can be written."""
        return True

    @property
    def failed_list(self) -> Path | None:
        """Where inputs that failed are listed if nobody says; None: nowhere."""
        return None

    def plan(
        self, images: list[Path], suffixes: Collection[str], numbered: bool, outcomes: show.Outcomes
    ) -> list[Job]:
        """The jobs that can be done and are not done yet.

        Args:
            images: files and folders.
            suffixes: of the files in folders.
            numbered: whether the targets get numbers; they are checked when these are known.
            outcomes: records why a job cannot be done.
        """
        sources = find_sources(images, suffixes, outcomes)
        self._into_folder = len(images) > 1 or is_folder(images[0])
        force = self._force or numbered
        before = list[Path]()  # written in an earlier run

        def is_done(target: Path) -> bool:
            done = not numbered and self.has(target)
            before.extend([target] * done)
            return done

        into = self._into_folder
        jobs = plan(sources, self._output, into, FILE, force, outcomes, is_done)
        if before:
            count = f"{len(before)} of {len(before) + len(jobs)}"
            show.note(f"{count} images have a file already: --force replaces it")
        return jobs

    def has(self, target: Path) -> bool:
        """Whether a target was written in an earlier run, and stays."""
        from ..bitstream.ivc import MAGIC

        if not self._into_folder or self._force:
            return False
        try:
            with target.open("rb") as file:
                return file.read(len(MAGIC)) == MAGIC
        except OSError:
            return False

    def obstacle(self, target: Path) -> str | None:
        """Why a target cannot be written; None if no reason is known."""
        return obstacle(target, self._force)

    def keep(self, target: Path, data: bytes) -> None:
        """Writes a target.

        Raises:
            OutputError: it cannot be written.
        """
        from .images import write_bytes

        write_bytes(data, target, self._force)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        pass


class Members(Files):
    """The members of one archive. What it has already is not done again.

    A target is a path in the archive, as if it were a folder of .ivc files.

    Args:
        path: of the archive.
        force: whether a file there is replaced.
        shown: what it is called in messages; None: by its path.
    """

    def __init__(self, path: Path, force: bool, shown: Path | None = None) -> None:
        super().__init__(None, force)
        self._path, self._shown = path, shown or path
        self._writer: ArchiveWriter | None = None
        self._new = not path.exists()

    @property
    def usable(self) -> bool:
        """See `Files`."""
        return self._writer is None or self._writer.usable

    @property
    def failed_list(self) -> Path:
        """See `Files`."""
        return self._path.with_name(f"{self._path.name}.failed.tsv")

    def plan(
        self, images: list[Path], suffixes: Collection[str], numbered: bool, outcomes: show.Outcomes
    ) -> list[Job]:
        """See `Files`."""
        if not self._force:
            self._open()
        jobs, done, taken = list[Job](), 0, dict[Path, Path]()
        for source, relative in sources_below(images, suffixes, outcomes):
            target = self._shown / relative.with_suffix(FILE)
            other = taken.setdefault(target, source)
            if other is not source:
                used = f"its name in the archive is already used for {other}"
                outcomes.failed(f"{source}: {used}", source)
            elif reason := self.obstacle(target):
                outcomes.failed(f"{source}: {reason}", source)
            elif self.has(target):
                done += 1
            else:
                jobs.append(Job(source, target))
        if done:
            show.note(f"{self._shown}: {done} of {done + len(jobs)} images are in it already")
        return jobs

    def has(self, target: Path) -> bool:
        """See `Files`."""
        return self._writer is not None and self._name(target) in self._writer

    def obstacle(self, target: Path) -> str | None:
        """See `Files`."""
        from ..bitstream.names import fault_of

        name = self._name(target)
        fault = fault_of(name)
        return f"it cannot have the name {name!r} in an archive: {fault}" if fault else None

    def keep(self, target: Path, data: bytes) -> None:
        """See `Files`."""
        self._open().add(self._name(target), data)

    def _open(self) -> ArchiveWriter:
        from ..archive.writer import ArchiveWriter
        from ..errors import BitstreamError, OutputError

        if self._writer is None:
            if self._force and self._path.is_file():
                self._path.resolve().unlink()
            try:
                self._writer = ArchiveWriter(self._path)
            except BitstreamError as error:
                raise OutputError(f"{self._shown}: {error}: use --force to replace it") from error
        return self._writer

    def _name(self, target: Path) -> str:
        return target.relative_to(self._shown).as_posix()[: -len(FILE)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        """Packs the archive, unless there was an error; an empty one is not left."""
        if self._writer is None:
            return
        from ..errors import InvcompError

        try:
            self._writer.close(pack=kind is None)
            if kind is None and self._writer:
                size = self._path.stat().st_size
                show.result(f"{self._shown}: {len(self._writer)} images, {size} bytes")
        except InvcompError as error:
            show.warning(str(error))
        if self._new and not self._writer:
            self._path.unlink(missing_ok=True)


class Uploaded(Members):
    """An archive at a URL. It is written on this machine, and uploaded when it is complete.

    If the program is stopped, the same command goes on with what lies on this machine, unless the
    archive at the URL has changed since.

    Args:
        url: of the archive.
        force: whether a file there is replaced.

    Raises:
        OptionError: what reads such URLs is not installed.
        OutputError: what is there cannot be read, or has changed since an earlier run began.
    """

    def __init__(self, url: str, force: bool) -> None:
        from ..errors import OutputError

        self._url = path_or_url(url)
        name = hashlib.sha256(url.encode()).hexdigest()[:16]
        self._folder = cache_directory() / "outgoing" / name
        path, state = self._folder / self._url.name, self._folder / "state"
        try:
            if force:
                shutil.rmtree(self._folder, ignore_errors=True)
            self._state = self._state_now()
            self._pending = path.exists() and state.exists()  # members that were never uploaded
            if self._pending and state.read_text() != self._state:
                raise OutputError(self._changed(path))
            if not self._pending:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder.mkdir(parents=True)
                if self._state and not force:
                    path.write_bytes(self._url.read_bytes())
                state.write_text(self._state)
        except OutputError:
            raise
        except Exception as error:  # of what reads the URL
            raise OutputError(f"{url}: cannot be read: {error}") from error
        super().__init__(path, force, self._url)

    @property
    def failed_list(self) -> Path:
        """In the current folder of this machine."""
        return Path(f"{self._url.name}.failed.tsv")

    def keep(self, target: Path, data: bytes) -> None:
        """See `Files`."""
        super().keep(target, data)
        self._pending = True

    def __exit__(self, kind: object, *exception: object) -> None:
        """Uploads the archive if it has new members, unless there was an error."""
        from ..errors import OutputError

        super().__exit__(kind, *exception)
        if kind is not None and self._pending:
            return
        try:
            if self._pending and self._path.exists():
                if self._state_now() != self._state:
                    raise OutputError(self._changed(self._path))
                self._url.write_bytes(self._path.read_bytes())
        except OutputError:
            raise
        except Exception as error:  # of what writes the URL
            kept = f"the archive is in {self._path}"
            raise OutputError(f"{self._url}: cannot be written: {error}: {kept}") from error
        shutil.rmtree(self._folder, ignore_errors=True)

    def _state_now(self) -> str:
        """What tells the file at the URL from others; empty: there is none."""
        path = cast("UPath", self._url)
        path.fs.invalidate_cache()
        return str(path.fs.ukey(path.path)) if path.exists() else ""

    def _changed(self, path: Path) -> str:
        return f"{self._url} has changed since {path} was begun: move one of them away"


def sources_below(
    paths: Iterable[Path], suffixes: Collection[str], outcomes: show.Outcomes
) -> Iterator[tuple[Path, Path]]:
    """Files and their relative paths: the given ones, and all below the given folders.

    Args:
        paths: files and folders; a file may have any suffix.
        suffixes: in lower case, with the dot.
        outcomes: records missing files.
    """
    seen = set[Path]()
    for path in paths:
        if path == STREAM:
            outcomes.failed("standard input has no name in an archive: give a file", path)
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
