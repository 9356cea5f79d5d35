"""Sets of .ivc files, whose payloads are random bytes: no archive looks into them."""

import io
import random
from binascii import crc_hqx
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from PIL import Image

from invcomp.archive.writer import ArchiveWriter
from invcomp.bitstream import DETAIL, IvcFile, Layer
from invcomp.bitstream.ivca import Contents, Digest, header, pack_directory
from invcomp.bitstream.pages import Outline
from invcomp.bitstream.source import Source
from invcomp.photo import conventional_file

NONE: Mapping[str, int] = MappingProxyType({})
BUNDLES = (b"\x0b\xad\xca\xfe", b"tiny", b"\xff\0\xff\0")


def file_of(
    number: int,
    bundle: bytes = BUNDLES[0],
    size: tuple[int, int] | None = None,
    detail: bool = False,
) -> bytes:
    """A file of about 60 bytes; the same for the same number."""
    source = random.Random(number)
    payload = source.randbytes(source.randrange(30, 60))
    layers = (Layer(DETAIL, source.randbytes(20)),) if detail else ()
    return IvcFile(bundle, 70 + number % 9, (payload,), size, layers).pack()


def conventional() -> bytes:
    """A file that needs no bundle."""
    return conventional_file(Image.new("RGB", (24, 16), "teal"), "webp", 300)


def version1(number: int) -> bytes:
    """A file of version 1 with two segments."""
    source = random.Random(number)
    fixed = b"\xc9V\x11" + BUNDLES[1] + b"\x40"
    rest = b"\x07" + source.randbytes(30)
    return fixed + crc_hqx(fixed + rest, 0xFFFF).to_bytes(2, "big") + rest


def mixed(count: int) -> dict[str, bytes]:
    """Files of all sorts, in folders."""
    made = {"fallback/Ünï": conventional(), "old": version1(1), "older": version1(2)}
    for number in range(count):
        size = (512, 512) if number % 3 else (600 + number, 40) if number % 2 else None
        bundle = BUNDLES[number % 3 % 2]
        made[f"part {number // 50}/face_{number:05}"] = file_of(
            number, bundle, size, detail=number % 5 == 0
        )
    return made


def packed(files: dict[str, bytes], times: Mapping[str, int] = NONE) -> bytes:
    """A finished archive."""
    digest = Digest()
    for name, file in files.items():
        digest.add(name, file)
    outlines = [Outline.of(name, file, times.get(name)) for name, file in files.items()]
    directory, cuts = pack_directory(outlines, digest.value())
    rests = (file[cut:] for file, cut in zip(files.values(), cuts, strict=True))
    return header() + directory + b"".join(rests)


def unfinished(files: dict[str, bytes], times: Mapping[str, int] = NONE) -> bytes:
    """An archive that is being written."""
    start = len(header())
    return header() + b"".join(packed({name: file}, times)[start:] for name, file in files.items())


def write(path: Path, files: dict[str, bytes], times: Mapping[str, int] = NONE) -> Path:
    with ArchiveWriter(path) as writer:
        for name, file in files.items():
            writer.add(name, file, times.get(name))
    return path


def opened(data: bytes) -> tuple[Source, Contents]:
    source = Source(io.BytesIO(data))
    return source, Contents(source)
