"""Reads archives: a mapping of names to images, which are decoded when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from ..bitstream.ivc import NO_BUNDLE
from ..bitstream.ivca import Contents, Digest, Member, read_file
from ..bitstream.source import Source
from ..errors import BitstreamError, MissingBundleError

if TYPE_CHECKING:
    from PIL import Image
    from typing_extensions import Self

    from ..decoder import Decoder


class Fault(NamedTuple):
    """What is wrong with an archive.

    Attributes:
        name: of the member that is damaged; None: it is not one member.
        reason: one line.
    """

    name: str | None
    reason: str


class Archive(Mapping[str, Any]):
    """The images of an .ivca file by name and, for a torch DataLoader, by number.

    Opening reads the directory, in one or two ranges of a packed archive. Each image takes one
    range more. Models are loaded when an image first needs them. It may be used in several threads
    and, opened by a path, in processes that are forked or to which it is pickled.

    Args:
        source: a path, or a seekable file open for reading in binary mode (of fsspec, for example).
        model: a known model or a bundle's file (.ivm) that decodes all members; None: each is
            decoded by the model that it names.
        device: "cpu", "cuda", "mps" or "auto".
        size: longer side of the images in pixels; None: that of the originals.
        proxy: whether a model's small proxy decodes its images where there is one: rough, fast, and
            without the model's weights.
        transform: makes of each image what is returned.

    Raises:
        BitstreamError: not an archive, or one that is to be refused.
        VersionError: it has a newer version.
        OSError: the file cannot be read.
    """

    def __init__(
        self,
        source: str | Path | BinaryIO,
        *,
        model: str | Path | None = None,
        device: str = "auto",
        size: int | None = None,
        proxy: bool = False,
        transform: Callable[[Image.Image], Any] | None = None,
    ) -> None:
        self._opened = Path(source) if isinstance(source, (str, Path)) else source
        self._model, self._device, self._size = model, device, size
        self._proxy, self._transform = proxy, transform
        self._decoders: dict[bytes, Decoder] = {}
        self._source: Source | None = None
        self._pid = os.getpid()
        self._contents = Contents(self._ranges())
        self.members = tuple(self._contents.members)
        self._numbers = {member.name: number for number, member in enumerate(self.members)}

    @property
    def damage(self) -> tuple[str, ...]:
        """What is wrong with the directory, one line each."""
        return tuple(self._contents.damage)

    @property
    def cut(self) -> int:
        """How many members at least were not written to their end."""
        return self._contents.cut

    @property
    def digest(self) -> bytes | None:
        """Of names and files of all members, 16 bytes; None while the archive is unfinished."""
        return self._contents.digest

    @property
    def file_size(self) -> int:
        """Bytes of the archive."""
        return self._ranges().size

    def member(self, key: str | int) -> Member:
        """A member by name or number.

        Raises:
            KeyError, IndexError: there is none.
        """
        return self.members[self._numbers[key] if isinstance(key, str) else key]

    def file(self, key: str | int) -> bytes:
        """The .ivc file of a member by name or number.

        Raises:
            KeyError, IndexError: there is none.
            BitstreamError: it is damaged.
        """
        return read_file(self._ranges(), self.member(key))

    def time(self, key: str | int) -> int | None:
        """When the original of a member was changed last, in seconds since 1970.

        None: the archive does not say.

        Raises:
            KeyError, IndexError: there is none.
        """
        return self.member(key).time

    def __getitem__(self, key: str | int) -> Any:
        """The decoded image by name or number; for its errors see `Decoder.decompress`."""
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[str | int]) -> list[Any]:
        """Several images, decoded together; a DataLoader asks for a batch like this."""
        files = [self.file(key) for key in keys]
        groups: dict[bytes, list[int]] = {}
        for at, key in enumerate(keys):
            groups.setdefault(self.member(key).fingerprint, []).append(at)
        found: dict[int, Image.Image] = {}
        for fingerprint, places in groups.items():
            images = self._decoded(fingerprint, [files[at] for at in places])
            found.update(zip(places, images, strict=True))
        images = (found[at] for at in range(len(keys)))
        return [*images] if self._transform is None else [*map(self._transform, images)]

    def _decoded(self, fingerprint: bytes, files: list[bytes]) -> Iterator[Image.Image]:
        """The images of files of one bundle."""
        if fingerprint == NO_BUNDLE:
            from ..bitstream import IvcFile
            from ..photo import conventional_image

            for file in files:
                yield conventional_image(IvcFile.unpack(file), self._size)
            return
        decoder = self._decoder(fingerprint)
        for first in range(0, len(files), decoder.batch_size):
            batch = files[first : first + decoder.batch_size]
            yield from decoder.decompress_batch(batch, size=self._size)

    def _decoder(self, fingerprint: bytes) -> Decoder:
        from ..decoder import Decoder

        if fingerprint not in self._decoders:
            name = self._model or self._find(fingerprint)
            self._decoders[fingerprint] = Decoder.load(name, self._device)
        return self._decoders[fingerprint]

    def _find(self, fingerprint: bytes) -> str:
        from ..lookup import find_bundle

        if self._proxy:
            with suppress(MissingBundleError):
                return find_bundle(fingerprint, proxy=True)
        return find_bundle(fingerprint)

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self.members)

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def verify(self) -> Iterator[Fault]:
        """Reads everything and tells what is damaged."""
        yield from (Fault(None, damage) for damage in self._contents.damage)
        if self.cut:
            yield Fault(None, f"cut short: {self.cut} members or more have no end")
        source = self._ranges()
        for block in self._contents.blocks:
            digest, whole = Digest(), len(block.members) == block.count > 0
            for member in block.members:
                try:
                    digest.add(member.name, read_file(source, member))
                except BitstreamError as error:
                    whole = False
                    yield Fault(member.name, str(error))
            if whole and digest.value() != block.digest:
                yield Fault(None, f"the digest of the block at byte {block.start} does not match")

    def _ranges(self) -> Source:
        """The open file; opened again in another process, which may not share a position."""
        if self._source is None or (isinstance(self._opened, Path) and self._pid != os.getpid()):
            opened = self._opened
            self._source = Source(opened.open("rb") if isinstance(opened, Path) else opened)
            self._pid = os.getpid()
        return self._source

    def close(self) -> None:
        """Closes the file, if it was opened by its path."""
        if self._source is not None and isinstance(self._opened, Path):
            self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_source": None, "_decoders": {}}
