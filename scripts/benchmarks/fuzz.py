"""Reads mutated .ivc files and archives: containers, entropy decoders, layers, directories.

    python scripts/benchmarks/fuzz.py --files 1000000
    python scripts/benchmarks/fuzz.py --guided 600    # seconds, by coverage: pip install atheris

Files are made from the models in pretrained/, without their generators, and then cut, spliced and
altered (`mutations.py`). Their checksums are repaired, so that what lies behind is reached. Every
file must be read or refused by a documented error, within a second, and with less than 64 MB for
what it claims. The first file that breaks this is written to the folder, and ends the run.

Files are read in blocks of 10,000, each with a seed of its own. blocks.jsonl in the folder has a
line for each block that was read, and the next run goes on with the next seed: runs add up. Delete
it after a change of the readers.
"""

from __future__ import annotations

import argparse
import collections
import io
import itertools
import json
import resource
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mutations import Entropies, archives, models, mutated, sealed, seeds

from invcomp.archive.reader import Archive
from invcomp.bitstream import DETAIL, IvcFile, decode
from invcomp.bitstream.ivca import MAGIC, SUFFIX
from invcomp.entropy.detail import DetailModel
from invcomp.errors import BitstreamError, ImageError
from invcomp.photo import own_size, photo_in

DOCUMENTED = (BitstreamError, ImageError)
MOST_MEMORY = 64 << 20  # bytes for one file
MOST_SECONDS = 1.0
TRACED = 20  # one in so many files has its memory measured by itself
BLOCK = 10_000  # files of one seed
RECORD = "blocks.jsonl"


def read(data: bytes, entropies: Entropies, detail: DetailModel, first: int | None = None) -> str:
    """Reads all of a file that needs no generator; how it ends, by a word."""
    try:
        if data.startswith(MAGIC):
            return _read_archive(data[:first])
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


def _read_archive(data: bytes) -> str:
    """Reads all of an archive."""
    with Archive(io.BytesIO(data)) as archive:
        faults = [*archive.verify()]
        damaged = {fault.name for fault in faults}
        for name in archive.keys() - damaged:
            archive.file(name)
    return "archive with damage" if faults else "archive read"


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
    files += archives(files, random)
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
    path = folder / f"{number}{SUFFIX if data.startswith(MAGIC) else '.ivc'}"
    path.write_bytes(data)
    return path


def guided(seconds: int, folder: Path) -> None:
    """Runs atheris, which changes files by what they reach in the code; does not return."""
    import atheris

    atheris.instrument_all()
    entropies, detail = models()
    random = np.random.default_rng(0)
    files = seeds(entropies, detail, random)
    for index, data in enumerate(files + archives(files, random)):
        _keep(data, folder, index)

    def one(data: bytes) -> None:
        read(sealed(data), entropies, detail)

    limits = [f"-max_total_time={seconds}", "-timeout=1", "-malloc_limit_mb=64", "-max_len=4096"]
    atheris.Setup([sys.argv[0], *limits, str(folder)], one)
    atheris.Fuzz()


def blocks(count: int, folder: Path) -> dict[str, Any]:
    """Reads blocks of mutated files until there are so many with those of earlier runs.

    Returns:
        As `run`, of all of them, with their number as "files".
    """
    record = folder / RECORD
    lines = record.read_text().splitlines() if record.is_file() else []
    found = [json.loads(line) for line in lines]
    for seed in itertools.count(len(found)):
        left = count - sum(block["files"] for block in found)
        if left <= 0:
            break
        block = run(min(BLOCK, left), seed, folder)
        found.append({"seed": seed, "files": min(BLOCK, left), **block})
        folder.mkdir(parents=True, exist_ok=True)
        with record.open("a") as file:
            file.write(json.dumps(found[-1]) + "\n")
    ends: collections.Counter[str] = collections.Counter()
    for block in found:
        ends.update(block["ends"])
    worst = {key: max(block[key] for block in found) for key in ("slowest", "largest", "grown")}
    return {"files": sum(block["files"] for block in found), "ends": ends, **worst}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000, help="in all, with earlier runs'")
    parser.add_argument("--guided", type=int, metavar="SECONDS", help="by coverage, with atheris")
    parser.add_argument("-o", type=Path, default=Path("runs/fuzz"), help="folder for bad files")
    arguments = parser.parse_args()
    if arguments.guided:
        guided(arguments.guided, arguments.o)
        return
    found = blocks(arguments.files, arguments.o)
    print(f"{found['files']:,} files: {dict(found['ends'])}")
    print(f"slowest {found['slowest']:.3f} s of the processor")
    if found["slowest"] > MOST_SECONDS:
        raise SystemExit("too slow")
    print(f"largest {found['largest'] / 1e6:.2f} MB, grown by {found['grown'] / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
