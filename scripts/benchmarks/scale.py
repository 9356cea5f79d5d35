"""Simulates a cluster from measured times: images per second, and hours and cost of a million.

    python scripts/benchmarks/scale.py FILE.ivc --name "one core" --seconds 45 --price 0.04
    python scripts/benchmarks/scale.py FILE.ivc --name H100 --seconds 1 --batch 16 --price 3

--seconds is what one worker needs for an image, --price what it costs in an hour. The driver's time
for a result is measured here: it is unpickled, with its decoded image, and FILE.ivc is added to an
archive. Workers start when their model is loaded (--load), take batches in order, and wait for the
driver if it is behind; an image's time varies by --spread. A worker ends after --life hours in the
mean: its batch is lost, and it loads its model again. The simulation ends with the last result, so
few images on many workers show what loading costs. Writes scale.csv.
"""

from __future__ import annotations

import argparse
import heapq
import pickle
import random
import tempfile
import time
from pathlib import Path

from PIL import Image
from tables import write

from invcomp.archive.writer import ArchiveWriter
from invcomp.measurement import Encoded
from invcomp.runner import Outcome

RESULTS = 500  # to measure the driver with
WAITING = 1000  # results that may wait for the driver


def driver_seconds(file: bytes, side: int) -> float:
    """What the driver needs for one result."""
    image = Image.effect_noise((side, side), 50).convert("RGB")
    result = pickle.dumps((7, Outcome(None, Encoded(file, image, 0.1, 20.0, 1.0)), []))
    with tempfile.TemporaryDirectory() as folder, ArchiveWriter(Path(folder, "x.ivca")) as writer:
        began = time.perf_counter()
        for number in range(RESULTS):
            writer.add(f"{number:06}", pickle.loads(result)[1].result().data)
        return (time.perf_counter() - began) / RESULTS


def simulated(
    workers: int, images: int, seconds: float, batch: int, driver: float, given: argparse.Namespace
) -> float:
    """Seconds until the archive holds all images."""
    chance = random.Random(1)  # the same run again gives the same figures
    free = [(given.load * chance.uniform(1, 1.5), number) for number in range(workers)]
    heapq.heapify(free)
    busy_until, left = 0.0, images
    while left > 0:
        start, worker = heapq.heappop(free)
        size = min(batch, left)
        length = size * seconds * max(chance.gauss(1, given.spread), 0.1)
        if chance.random() < length / (given.life * 3600):
            heapq.heappush(free, (start + chance.uniform(0, length) + given.load, worker))
            continue
        left -= size
        busy_until = max(busy_until, start + length) + size * driver
        heapq.heappush(free, (max(start + length, busy_until - WAITING * driver), worker))
    return busy_until


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/scale"))
    parser.add_argument("--name", default="faces-1024")
    parser.add_argument("--seconds", type=float, required=True, help="for an image, of one worker")
    parser.add_argument("--price", type=float, required=True, help="of a worker's hour")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--side", type=int, default=1024, help="of the decoded image, in pixels")
    parser.add_argument("--load", type=float, default=30.0, help="seconds until a model is loaded")
    parser.add_argument("--spread", type=float, default=0.1, help="deviation of an image's time")
    parser.add_argument("--life", type=float, default=100.0, help="mean hours until a worker ends")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--images", type=int, default=100_000)
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    driver = driver_seconds(given.file.read_bytes(), given.side)
    rows = []
    for workers in given.workers:
        images = min(given.images, 1000 * workers)
        seconds = simulated(workers, images, given.seconds, given.batch, driver, given)
        speed = images / seconds
        hours = 1e6 / speed / 3600
        rows.append(
            {
                "name": given.name,
                "workers": workers,
                "driver_ms": f"{1000 * driver:.2f}",
                "images_per_second": f"{speed:.3f}",
                "efficiency": f"{speed * given.seconds / workers:.3f}",
                "hours_per_million": f"{hours:.0f}",
                "cost_per_million": f"{hours * workers * given.price:.0f}",
            }
        )
    write(given.output / "scale.csv", rows)


if __name__ == "__main__":
    main()
