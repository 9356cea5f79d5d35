"""Where `invcomp compress` writes: a file for each image, or one archive."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..files import cache_directory
from . import show
from .jobs import (
    STDIN,
    STREAM,
    Job,
    find_sources,
    is_folder,
    is_url,
    modified,
    obstacle,
    path_or_url,
    plan,
)
from .sources import FILE, is_archive, sources_below

if TYPE_CHECKING:
    from typing_extensions import Self
    from upath import UPath

    from ..archive.writer import ArchiveWriter


@dataclass(frozen=True)
class MemberOptions:
    """What an archive holds of its members besides their files.

    Attributes:
        times: whether the times of their originals are stored.
        name: of what is read from standard input; None: that is refused.
    """

    times: bool = False
    name: str | None = None


def output_of(output: str | None, force: bool, members: MemberOptions) -> Files:
    """The output that -o names.

    Raises:
        OptionError: it is no archive, and there are options of archives; or no member can have the
            name.
    """
    from ..bitstream.names import fault_of
    from ..errors import OptionError

    if not output or not is_archive(output):
        if members != MemberOptions():
            raise OptionError("--times and --name are options of archives: choose -o SET.ivca")
        return Files(output, force)
    if members.name is not None and (fault := fault_of(members.name)):
        raise OptionError(f"--name {members.name!r}: no member can have this name: {fault}")
    if is_url(output):
        return Uploaded(output, force, members)
    return Members(Path(output), force, members)


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

    def keep(self, job: Job, data: bytes) -> None:
        """Writes the target of a job.

        Raises:
            OutputError: it cannot be written.
        """
        from .images import write_bytes

        write_bytes(data, job.target, self._force)

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
        options: of the members.
        shown: what it is called in messages; None: by its path.
    """

    def __init__(
        self,
        path: Path,
        force: bool,
        options: MemberOptions = MemberOptions(),
        shown: Path | None = None,
    ) -> None:
        super().__init__(None, force)
        self._path, self._shown, self._options = path, shown or path, options
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
        from ..errors import OptionError

        if self._options.name is not None and STREAM not in images:
            raise OptionError("--name is for standard input, and no - is among the images")
        if not self._force:
            self._open()
        jobs, done, taken = list[Job](), 0, dict[Path, Path]()
        given = sources_below(images, suffixes, outcomes, self._options.name)
        for source, relative in given:
            target = self._shown / relative.with_suffix(FILE)
            other = taken.setdefault(target, source)
            if other is not source:
                used = f"its name in the archive is already used for {other}"
                outcomes.failed(f"{source}: {used}", source)
            elif reason := self.obstacle(target):
                outcomes.failed(f"{source}: {reason}", source)
            elif source == STDIN and self.has(target):  # it may be another image
                outcomes.failed(f"{source}: there is such a member already", source)
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

    def keep(self, job: Job, data: bytes) -> None:
        """See `Files`."""
        time = modified(job.source) if self._options.times else None
        self._open().add(self._name(job.target), data, time)
        if self._options.times and time is None:
            show.warning(f"{job.source}: it has no time between 1970 and 9999: none is stored")

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
        options: of the members.

    Raises:
        OptionError: what reads such URLs is not installed.
        OutputError: what is there cannot be read, or has changed since an earlier run began.
    """

    def __init__(
        self,
        url: str,
        force: bool,
        options: MemberOptions = MemberOptions(),
    ) -> None:
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
        super().__init__(path, force, options, self._url)

    @property
    def failed_list(self) -> Path:
        """In the current folder of this machine."""
        return Path(f"{self._url.name}.failed.tsv")

    def keep(self, job: Job, data: bytes) -> None:
        """See `Files`."""
        super().keep(job, data)
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
