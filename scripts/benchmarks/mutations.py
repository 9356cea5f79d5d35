"""Files that a hostile sender could write: .ivc files and archives, altered behind right checksums.

`fuzz.py` reads them. They are made from the models in pretrained/, without their generators.
"""

from __future__ import annotations

import zlib
from binascii import crc_hqx
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import safe_open

from invcomp.bitstream import (
    CONVENTIONAL,
    DETAIL,
    FACES,
    MORE_DETAILS,
    PHOTO,
    IvcFile,
    Layer,
)
from invcomp.bitstream.ivc import NO_BUNDLE
from invcomp.bitstream.ivca import MAGIC, Digest, header, pack_directory
from invcomp.bitstream.pages import Outline
from invcomp.entropy.detail import DetailModel
from invcomp.entropy.mixture import LaplaceMixture
from invcomp.photo import FacesLayer, PhotoLayer
from invcomp.photo.layers import CodedFace, Place
from invcomp.stored import json_object

PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"
MODELS = {"faces-1024": 1, "avatars-64": 1, "dcgan-eyes-128": 8}  # classes of each
MEMBERS = (1, 2, 5, 20, 60, 300)  # of the archives
MOST_PAGES = 64  # of an archive's block that get right checksums
Entropies = Mapping[bytes, LaplaceMixture]
ENDS = bytes([0, 1, 2, 3, 4, 127, 128, 129, 254, 255])  # bytes at the ends of ranges


def models() -> tuple[dict[bytes, LaplaceMixture], DetailModel]:
    """Entropy models by the beginning of their fingerprints, and the model of a detail."""
    found, detail = {}, None
    for name, classes in MODELS.items():
        with safe_open(PRETRAINED / f"{name}.safetensors", "numpy") as file:
            said = file.metadata() or {}
            arrays = {
                key: file.get_tensor(key)
                for key in file.keys()  # noqa: SIM118
                if key.startswith(("tables.", "detail."))
            }
        settings = {"shape": json_object(said["settings"])["shape"]}
        prefix = bytes.fromhex(said["fingerprint"])[:4]
        found[prefix] = LaplaceMixture.of(arrays, settings, classes)
        if any(key.startswith("detail.") for key in arrays):
            detail = DetailModel.of(arrays)
    assert detail is not None
    return found, detail


def seeds(entropies: Entropies, detail: DetailModel, random: np.random.Generator) -> list[bytes]:
    """Whole files of every kind, by each model at several q_steps."""
    files = []
    for prefix, entropy in entropies.items():
        for step in (20, 60, 82, 140):
            payload = _payload(entropy, step, random)
            files.append(IvcFile(prefix, step, (payload,)).pack())
            size = tuple(int(side) for side in random.integers(1, 65536, 2))
            files.append(IvcFile(prefix, step, (payload,), (size[0], size[1]), padded=True).pack())
            coefficients = np.rint(random.laplace(0, 0.2, detail.count)).astype(np.int32)
            layer = random.bytes(2) + detail.encode(coefficients, step)
            files.append(IvcFile(prefix, step, (payload,), layers=(Layer(DETAIL, layer),)).pack())
            faces = [CodedFace(step, _payload(entropy, step, random), layer[:9]) for _ in range(3)]
            places = tuple(Place(*map(int, random.integers(1, 65536, 4))) for _ in range(4))
            more = FacesLayer(tuple(faces))
            photo = PhotoLayer((640, 480), places, b"\x40\x27\xf1\xdf" + random.bytes(60))
            layers = [Layer(FACES, more.pack()), Layer(PHOTO, photo.pack()), Layer(DETAIL, layer)]
            layers.append(Layer(MORE_DETAILS, more.pack_details()))
            files.append(IvcFile(prefix, step, (payload,), layers=tuple(layers)).pack())
            for codec in (b"\x00", b"\x40", b"\x80"):
                stream = Layer(CONVENTIONAL, codec + random.bytes(80))
                files.append(IvcFile(NO_BUNDLE, 0, (b"",), None, (stream,)).pack())
            files.append(_version1(files[-7]))
    return files


def archives(files: list[bytes], random: np.random.Generator) -> list[bytes]:
    """Finished and unfinished archives of some of the files."""
    made = [header()]
    for count in MEMBERS:
        chosen = [files[at] for at in random.integers(len(files), size=count)]
        words = ("a", "holiday/day 1/c.d", "Zoë", "face")  # the names of some begin alike
        named = {f"{words[at % 4]}{at}": file for at, file in enumerate(chosen)}
        made.append(header() + _block(named))
        if count < 60:
            made.append(header() + b"".join(_block({name: named[name]}) for name in named))
    return made


def _block(named: Mapping[str, bytes]) -> bytes:
    """A block of an archive."""
    digest = Digest()
    for name, file in named.items():
        digest.add(name, file)
    timed = [None if at % 5 else 1_700_000_000 + 9 * at**2 for at in range(len(named))]
    if len(named) % 2:
        timed = [None] * len(named)
    outlines = [Outline.of(*each, time) for each, time in zip(named.items(), timed, strict=True)]
    directory, cuts = pack_directory(outlines, digest.value())
    rests = (file[cut:] for file, cut in zip(named.values(), cuts, strict=True))
    return directory + b"".join(rests)


def _payload(entropy: LaplaceMixture, step: int, random: np.random.Generator) -> bytes:
    scales = 2 ** (entropy.tables.scales_at(step) / 16 + step / 16)
    integers = np.rint(random.laplace(0, 1, entropy.count) * scales / 2**0.5)
    return entropy.encode(integers.astype(np.int32), step, int(random.integers(entropy.classes)))


def _version1(data: bytes) -> bytes:
    """The same bytes under the header of version 1, for its own readers."""
    return sealed(data[:2] + bytes([data[2] & 0x0F | 0x10]) + data[3:])


def sealed(data: bytes) -> bytes:
    """The data with its checksums repaired."""
    if data.startswith(MAGIC):
        return _sealed_archive(data)
    if len(data) < 10:
        return data
    return data[:8] + crc_hqx(data[:8] + data[10:], 0xFFFF).to_bytes(2, "big") + data[10:]


def _sealed_archive(data: bytes) -> bytes:
    """An archive with right checksums, as far as its sizes lead from one to the next."""
    fixed = bytearray(data)

    def seal(at: int, size: int) -> int:
        end = at + size
        fixed[end : end + 4] = zlib.crc32(fixed[at:end]).to_bytes(4, "big")
        return end + 4

    at = seal(0, 4)
    while at < len(data):
        pages = min(int.from_bytes(fixed[at + 2 : at + 5], "big"), MOST_PAGES)
        table = seal(at, 21)
        at = seal(table, 7 * pages)
        payloads = 0
        for row in range(table, table + 7 * pages, 7):
            at = seal(at, int.from_bytes(fixed[row + 1 : row + 3], "big"))
            payloads += int.from_bytes(fixed[row + 3 : row + 7], "big")
        at += payloads
    return bytes(fixed[: len(data)])


def mutated(files: list[bytes], random: np.random.Generator) -> bytes:
    """One of the files after one to five changes, most of them with a right checksum."""
    data = bytearray(files[random.integers(len(files))])
    for _ in range(random.integers(1, 6)):
        at = int(random.integers(max(len(data), 1)))
        if random.random() < 0.5:  # the header is short, and decides most
            at = min(at, int(random.integers(2, 40)))
        run, kind = int(random.geometric(0.2)), random.integers(8)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << random.integers(8)
        elif kind == 1 and at < len(data):
            data[at] = ENDS[random.integers(len(ENDS))]
        elif kind == 2 and at < len(data):
            data[at] = random.integers(256)
        elif kind == 3:
            data[at:at] = random.bytes(run)
        elif kind == 4:
            del data[at : at + run]
        elif kind == 5:
            data[at:at] = b"\xff" * run * int(random.integers(1, 200))
        elif kind == 6:
            other = files[random.integers(len(files))]
            data[at:] = other[random.integers(len(other)) :]
        else:
            data[at:at] = data[at : at + 10 * run]
    return sealed(bytes(data)) if random.random() < 0.97 else bytes(data)
