"""Writes archives: each member at once to the end of the file; all of them packed at the end."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from ..bitstream.ivca import (
    LEAST_BLOCK,
    Block,
    Contents,
    Digest,
    Member,
    header,
    pack_directory,
    read_file,
)
from ..bitstream.names import fault_of
from ..bitstream.pages import Outline
from ..bitstream.source import Source
from ..bitstream.times import is_time
from ..errors import BitstreamError, OutputError
from ..files import atomic_write

if TYPE_CHECKING:
    from typing_extensions import Self

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows keeps others from replacing an open file
    flock = None  # type: ignore[assignment]

SYNC_SECONDS = 1.0  # at most so long a member is only in the system's memory


class ArchiveWriter:
    """Creates an archive, or appends to one.

    The file is readable at any time: if the program is killed or the disk is full, it holds all
    members that were added. What was not written to its end is dropped when the archive is opened
    again. `close` packs: it writes a new file, with one directory for all members, and puts it in
    place of the old one.

    Args:
        path: of the archive; missing folders are created.

    Raises:
        BitstreamError: the file is no archive, or a damaged one.
        OutputError: it cannot be written, or another process writes it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).resolve()  # a link stays, what it leads to is written
        self.names = set[str]()
        self.usable = True
        self._blocks, self._end, self._synced = 0, 0, monotonic()
        try:
            self._open()
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self._file = os.fdopen(handle, "r+b", buffering=0)
        try:
            self._lock()
            contents = Contents(Source(self._file))
            self._recover(contents)
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        if flock is None:
            return
        try:
            flock(self._file, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"{self.path}: another process is writing it") from error

    def _recover(self, contents: Contents) -> None:
        """Drops what was not written to its end."""
        blocks = contents.blocks
        source = Source(self._file)
        self._end = source.size
        while blocks and _is_unfinished(source, blocks[-1]):
            self._end = blocks.pop().start
        if contents.damage:
            what = contents.damage[0]
            raise BitstreamError(f"{self.path}: damaged, so nothing is added to it: {what}")
        members = contents.members
        if blocks and blocks[-1].cut:  # a large block of which the beginning is here
            self._pack(source, members)
            self._open()
            return
        self._blocks, self.names = len(blocks), {member.name for member in members}
        if self._end < source.size:  # a whole archive keeps its time of writing
            self._file.truncate(self._end)
        if self._end < len(header()):
            self._end = 0
            self._file.truncate(0)
            self._append(header())

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str, file: bytes, time: int | None = None) -> None:
        """Appends a member.

        Args:
            name: a relative path with slashes, without a suffix by custom.
            file: the bytes of an .ivc file.
            time: when the original was changed last, in seconds since 1970; None: it is not stored.

        Raises:
            BitstreamError: not an .ivc file, or a damaged one.
            OutputError: the name is not allowed or taken, the time is not between 1970 and 9999, or
                the archive cannot be written. In the latter case nothing can be added any more;
                the archive holds what it held.
        """
        if fault := fault_of(name):
            raise OutputError(f"{self.path}: no member can have the name {name!r}: {fault}")
        if name in self.names:
            raise OutputError(f"{self.path}: there is a member {name!r} already")
        if time is not None and not is_time(time):
            raise OutputError(f"{self.path}: {name}: a time is between the years 1970 and 9999")
        outline, digest = Outline.of(name, file, time), Digest()
        digest.add(name, file)
        directory, (cut,) = pack_directory([outline], digest.value())
        self._append(directory + file[cut:])
        self.names.add(name)
        self._blocks += 1

    def _append(self, data: bytes) -> None:
        if not self.usable:
            raise OutputError(f"{self.path}: could not be written before: nothing can be added")
        try:
            self._file.seek(self._end)
            left = memoryview(data)
            while left:
                left = left[self._file.write(left) :]
            if monotonic() > self._synced + SYNC_SECONDS:
                self._sync()
        except OSError as error:
            self.usable = False
            with suppress(OSError):
                self._file.truncate(self._end)
            what = error.strerror or error
            raise OutputError(f"{self.path}: cannot be written: {what}") from error
        self._end += len(data)

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = monotonic()

    def close(self, pack: bool = True) -> None:
        """Packs the archive and closes the file.

        Args:
            pack: if there is no time for it, the archive stays as it is: larger, and readable.

        Raises:
            OutputError: there is no space for the packed archive; it stays as it is.
            BitstreamError: a member has been damaged since; the archive stays as it is.
        """
        if self._file.closed:
            return
        try:
            if pack and self._blocks > 1 and self.usable:
                source = Source(self._file)
                self._pack(source, Contents(source).members)
            elif self.usable:
                self._sync()
        except OutputError as error:
            raise OutputError(f"{error}; all members are kept, but not packed") from error
        finally:
            self._file.close()

    def _pack(self, source: Source, members: list[Member]) -> None:
        """Puts an archive of one block in place of this one, and closes the file."""
        outlines, digest = list[Outline](), Digest()
        for member in members:
            file = read_file(source, member)
            outlines.append(Outline.of(member.name, file, member.time))
            digest.add(member.name, file)
        directory, cuts = pack_directory(outlines, digest.value())
        with atomic_write(self.path, force=True) as temporary:
            with temporary.open("wb") as packed:
                packed.write(header() + directory)
                for member, cut in zip(members, cuts, strict=True):
                    packed.write(read_file(source, member)[cut:])
                packed.flush()
                os.fsync(packed.fileno())
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        self.close(pack=kind is None)


def _is_unfinished(source: Source, block: Block) -> bool:
    """Whether a last block is what a stop in the middle of writing a member leaves."""
    if not block.members:
        rest = source.read(block.start, source.size - block.start)
        begun = len(rest.rstrip(b"\0")) < LEAST_BLOCK  # with zeros after a loss of power
        return bool(block.cut) or block.count == 1 or begun
    if block.count > 1:
        return False
    try:
        read_file(source, block.members[0])
    except BitstreamError:
        return True
    return bool(block.damage)
