"""Measures what archives cost besides the files that they hold.

    python scripts/benchmarks/archives.py runs/archives "portraits=runs/final40" "avatars=a.ivca"
    python scripts/benchmarks/archives.py runs/archives "portraits=runs/final40" --times 100

Each set is a folder of .ivc files, a pattern of such files, or an archive. Columns of archives.csv,
in bytes:

- files: the .ivc files by themselves, whose names are not counted
- archive: a finished archive of them, with their names
- payloads: of the archive, what members have for themselves: their files without header, and
  without the options that they share
- names: of the archive, the coded names
- fixed: of the archive, what it would cost for one member alone
- a_member: all that is left, for each member: checksum, number of bytes, step index

--times adds a row: the files of the last set so many times, under numbers as names.

    python scripts/benchmarks/archives.py runs/archives --gaps 0 10 600

prints what the times of a page cost: of 256 images that follow each other after so many seconds in
the mean, by an exponential distribution; and of images in any order, all over a year.
"""

from __future__ import annotations

import argparse
import glob
import os
import random
import tempfile
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

from tables import write

from invcomp.archive.reader import Archive
from invcomp.archive.writer import ArchiveWriter
from invcomp.bitstream.names import pack_names
from invcomp.bitstream.times import pack_times

PAGE = 256  # members
CHECKSUM = 2  # bytes
NOW, YEAR = 1_700_000_000, 365 * 86400  # seconds


def files_of(place: str) -> dict[str, bytes]:
    """The .ivc files of a folder, a pattern or an archive by name."""
    if place.endswith(".ivca"):
        with Archive(place) as archive:
            return {name: archive.file(name) for name in archive}
    pattern = os.path.join(place, "*.ivc") if os.path.isdir(place) else place
    return {Path(path).stem: Path(path).read_bytes() for path in sorted(glob.glob(pattern))}


def written(files: Mapping[str, bytes]) -> Archive:
    """An archive of files, in memory's reach until it is closed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.ivca"
        with ArchiveWriter(path) as writer:
            for name, file in files.items():
                writer.add(name, file)
        archive = Archive(path)
        assert {name: archive.file(name) for name in archive} == files
        assert not [*archive.verify()]
        return archive


def besides(archive: Archive) -> tuple[int, int, int]:
    """Bytes of payloads, of names, and of what is left."""
    payloads = sum(member.length for member in archive.members)
    names = [*archive]
    coded = sum(len(pack_names(names[at : at + PAGE])) for at in range(0, len(names), PAGE))
    return payloads, coded, archive.file_size - payloads - coded


def measured(label: str, files: Mapping[str, bytes]) -> dict[str, object]:
    archive = written(files)
    payloads, names, rest = besides(archive)
    first = next(iter(files))
    fixed = besides(written({first: files[first]}))[2] - CHECKSUM
    return {
        "set": label,
        "images": len(files),
        "files": sum(map(len, files.values())),
        "archive": archive.file_size,
        "payloads": payloads,
        "names": names,
        "fixed": fixed,
        "a_member": f"{(rest - fixed) / len(files):.2f}",
    }


def cost_of_times(gap: float | None) -> float:
    """Bytes for each time of a page, with what the field costs once. None: of any in a year."""
    source = random.Random(1)
    gaps = (source.expovariate(1 / gap) if gap else 0.0 for _ in range(PAGE))
    seconds = accumulate(gaps) if gap is not None else (source.uniform(0, YEAR) for _ in gaps)
    return len(pack_times([NOW + int(second) for second in seconds])) / PAGE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("sets", nargs="*", metavar="LABEL=PLACE")
    parser.add_argument("--times", type=int, default=0, metavar="N")
    parser.add_argument("--gaps", type=float, nargs="*", default=[], metavar="SECONDS")
    arguments = parser.parse_args()
    for gap in [*arguments.gaps, None] if arguments.gaps else []:
        which = "in any order, over a year" if gap is None else f"{gap:g} s apart"
        print(f"times {which}: {cost_of_times(gap):.2f} bytes each")
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows, files = [], dict[str, bytes]()
    for given in arguments.sets:
        label, _, place = given.partition("=")
        files = files_of(place)
        rows.append(measured(label, files))
    if arguments.times:
        many = {f"{n:06}": file for n, file in enumerate([*files.values()] * arguments.times)}
        rows.append(measured(f"{label}, {arguments.times} times", many))
    if rows:
        write(arguments.output / "archives.csv", rows)


if __name__ == "__main__":
    main()
