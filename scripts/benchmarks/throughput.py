"""Measures sets: speed and memory of `invcomp compress` by number of processes.

    python scripts/benchmarks/throughput.py PORTRAITS --count 6 --workers 1 2 -- --fast
    python scripts/benchmarks/throughput.py AVATARS -o runs/memory --model avatars-64 \
        --count 100 10000 -- --iterations 2 --starts 1

Each run makes an archive of --count images: those of the folder, again and again under other names.
Options after -- go to `invcomp compress`. Seconds are of the whole program; "first" is when the
archive has its first member. Images per second are those of all but the first of each process, from
then on: without loading and compiling. Peak memory is the sum over the processes of the largest
resident size of each, from /proc (Linux). Writes throughput.csv, with a row for each run as soon as
it is done.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tables import write

from invcomp.preprocessing.reading import readable_suffixes


def linked(images: list[Path], count: int, folder: Path) -> Path:
    """A folder with so many names of the images."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, image in zip(range(count), itertools.cycle(images)):
        link = folder / f"{number:06}{image.suffix}"
        link.hardlink_to(image)  # a symbolic link would be the same image
    return folder


def processes(root: int) -> list[int]:
    """A process and those that it began, by /proc."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(
                    (entry / "stat").read_text().rsplit(")")[1].split()[1]
                )
            except (OSError, IndexError):
                continue  # it ended meanwhile
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def peak(pid: int) -> int:
    """Largest resident size of a process so far, in bytes; 0: it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def measure(command: list[str], archive: Path) -> tuple[float, float, int]:
    """Runs a command: its seconds, those until the archive has a member, and its peak memory."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peaks, first = dict[int, int](), 0.0
    while process.poll() is None:
        for pid in processes(process.pid):
            peaks[pid] = max(peaks.get(pid, 0), peak(pid))
        if not first and archive.is_file() and archive.stat().st_size > 20:
            first = time.monotonic() - began
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return time.monotonic() - began, first, sum(peaks.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/throughput"))
    parser.add_argument("--model", default="faces-1024")
    parser.add_argument("--count", type=int, nargs="+", default=[6])
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    own = [*itertools.takewhile(lambda word: word != "--", sys.argv[1:])]
    options = sys.argv[2 + len(own) :]  # of invcomp compress
    arguments = parser.parse_args(own)
    suffixes = readable_suffixes()
    images = sorted(p for p in arguments.folder.iterdir() if p.suffix.lower() in suffixes)
    rows: list[dict[str, object]] = []
    for count, workers in itertools.product(arguments.count, arguments.workers):
        source = linked(images, count, arguments.output / f"images-{count}")
        archive = arguments.output / f"{count}-{workers}.ivca"
        archive.unlink(missing_ok=True)
        command = [sys.executable, "-m", "invcomp", "compress", str(source), "-o", str(archive)]
        command += ["--model", arguments.model, "--workers", str(workers), *options]
        seconds, first, memory = measure(command, archive)
        row = {
            "model": arguments.model,
            "options": " ".join(options),
            "images": count,
            "workers": workers,
            "seconds": f"{seconds:.1f}",
            "first": f"{first:.1f}",
            "images_per_second": f"{(count - workers) / (seconds - first):.4f}",
            "peak_mb": f"{memory / 1e6:.0f}",
            "archive_bytes": os.path.getsize(archive),
        }
        rows.append(row)
        write(arguments.output / "throughput.csv", rows)


if __name__ == "__main__":
    main()
