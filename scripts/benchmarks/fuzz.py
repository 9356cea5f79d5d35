"""Reads mutated .ivc files: container, entropy decoders and layers, behind a right checksum.

    python scripts/benchmarks/fuzz.py --files 1000000
    python scripts/benchmarks/fuzz.py --guided 600    # seconds, by coverage: pip install atheris

Files are made from the models in pretrained/, without their generators, and then cut, spliced and
altered. Their checksums are repaired, so that what lies behind is reached. Every file must be read
or refused by a documented error, within a second, and with less than 64 MB for what it claims. The
first file that breaks this is written to the folder, and ends the run.
"""

from __future__ import annotations

import argparse
import collections
import resource
import sys
import time
import tracemalloc
from binascii import crc_hqx
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

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
    decode,
)
from invcomp.bitstream.ivc import NO_BUNDLE
from invcomp.entropy.detail import DetailModel
from invcomp.entropy.mixture import LaplaceMixture
from invcomp.errors import BitstreamError, ImageError
from invcomp.photo import FacesLayer, PhotoLayer, own_size, photo_in
from invcomp.photo.layers import CodedFace, Place
from invcomp.stored import json_object

DOCUMENTED = (BitstreamError, ImageError)
MOST_MEMORY = 64 << 20  # bytes for one file
MOST_SECONDS = 1.0
TRACED = 20  # one in so many files has its memory measured by itself
PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"
MODELS = {"faces-1024": 1, "avatars-64": 1, "dcgan-eyes-128": 8}  # classes of each
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


def _payload(entropy: LaplaceMixture, step: int, random: np.random.Generator) -> bytes:
    scales = 2 ** (entropy.tables.scales_at(step) / 16 + step / 16)
    integers = np.rint(random.laplace(0, 1, entropy.count) * scales / 2**0.5)
    return entropy.encode(integers.astype(np.int32), step, int(random.integers(entropy.classes)))


def _version1(data: bytes) -> bytes:
    """The same bytes under the header of version 1, for its own readers."""
    return sealed(data[:2] + bytes([data[2] & 0x0F | 0x10]) + data[3:])


def sealed(data: bytes) -> bytes:
    """The data with its checksum repaired."""
    if len(data) < 10:
        return data
    return data[:8] + crc_hqx(data[:8] + data[10:], 0xFFFF).to_bytes(2, "big") + data[10:]


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


def read(data: bytes, entropies: Entropies, detail: DetailModel, first: int | None = None) -> str:
    """Reads all of a file that needs no generator; how it ends, by a word."""
    try:
        file = IvcFile.unpack(data, first)
        own_size(file)
        faces = photo_in(file)
        entropy = entropies.get(file.fingerprint) or next(iter(entropies.values()))
        if file.needs_bundle:
            decode(file, entropy)
        payload = file.layer(DETAIL)
        if payload is not None:
            detail.decode(payload[2:], file.step_index)
        for face in faces[0].faces[:2] if faces else ():
            entropy.decode(face.payload, face.step_index)
            detail.decode(face.detail[2:], face.step_index)
    except DOCUMENTED as error:
        return type(error).__name__
    return "read"


def endless(files: list[bytes], random: np.random.Generator) -> Iterator[tuple[bytes, int | None]]:
    """Mutated files, and how many bytes of each are read: all, or a beginning."""
    while True:
        data = mutated(files, random)
        yield data, int(random.integers(len(data) + 1)) if random.random() < 0.1 else None


def run(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Reads mutated files.

    Returns:
        How they ended, the worst time of the processor in seconds, and the largest memory in bytes:
        of every twentieth file by itself, and what the process has grown.
    """
    random = np.random.default_rng(seed)
    entropies, detail = models()
    files = seeds(entropies, detail, random)
    for data in files:
        read(data, entropies, detail)  # what is imported or cached by the first is not counted
    ends: collections.Counter[str] = collections.Counter()
    slowest, largest, before = 0.0, 0, _grown()
    for (data, first), number in zip(endless(files, random), range(count), strict=False):
        start, traced = time.process_time(), number % TRACED == 0
        if traced:  # three times slower
            tracemalloc.start()
        try:
            ends[read(data, entropies, detail, first)] += 1
            if traced:
                largest = max(largest, tracemalloc.get_traced_memory()[1])
            else:
                slowest = max(slowest, time.process_time() - start)
            if max(largest, _grown() - before) > MOST_MEMORY:
                raise MemoryError(f"{largest:,} bytes, {_grown() - before:,} grown")
        except BaseException:
            _keep(data, folder, number)
            raise
        finally:
            tracemalloc.stop()
    return {"ends": ends, "slowest": slowest, "largest": largest, "grown": _grown() - before}


def _grown() -> int:
    """The largest memory of this process in bytes, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _keep(data: bytes, folder: Path, number: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number}.ivc"
    path.write_bytes(data)
    return path


def guided(seconds: int, folder: Path) -> None:
    """Runs atheris, which changes files by what they reach in the code; does not return."""
    import atheris

    atheris.instrument_all()
    entropies, detail = models()
    for index, data in enumerate(seeds(entropies, detail, np.random.default_rng(0))):
        _keep(data, folder, index)

    def one(data: bytes) -> None:
        read(sealed(data), entropies, detail)

    limits = [f"-max_total_time={seconds}", "-timeout=1", "-malloc_limit_mb=64", "-max_len=4096"]
    atheris.Setup([sys.argv[0], *limits, str(folder)], one)
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guided", type=int, metavar="SECONDS", help="by coverage, with atheris")
    parser.add_argument("-o", type=Path, default=Path("runs/fuzz"), help="folder for bad files")
    arguments = parser.parse_args()
    if arguments.guided:
        guided(arguments.guided, arguments.o)
        return
    found = run(arguments.files, arguments.seed, arguments.o)
    print(f"{arguments.files:,} files: {dict(found['ends'])}")
    print(f"slowest {found['slowest']:.3f} s of the processor")
    if found["slowest"] > MOST_SECONDS:
        raise SystemExit("too slow")
    print(f"largest {found['largest'] / 1e6:.2f} MB, grown by {found['grown'] / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
