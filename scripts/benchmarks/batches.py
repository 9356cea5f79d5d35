"""Measures the search on a GPU: seconds for an image, by images in a batch.

    python scripts/benchmarks/batches.py PORTRAITS... -o runs/batches
    python scripts/benchmarks/batches.py IMAGES... -o runs/batches --model avatars-64 --batches 1 64

IMAGES, or folders of .jpg and .png files, are compressed at the default quality, in whole batches.
Each of --batches and --compiled-batches is a process of its own, and the last of them is measured
with --fast too. Its first batch, which includes compiling, is timed alone. Then its files are
decoded in one batch. Appends to batches.csv.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from PIL import Image

from invcomp.codec import Codec
from invcomp.inversion.options import SearchOptions

COLUMNS = (
    *("device", "model", "search", "batch", "compiled", "images", "start_seconds", "seconds"),
    *("images_per_second", "memory_mb", "bytes", "lpips_alex", "psnr", "decoded_per_second"),
)


def images_in(paths: list[Path]) -> list[Path]:
    kinds = (".jpg", ".png")
    return [
        image
        for path in paths
        for image in (
            sorted(each for each in path.iterdir() if each.suffix in kinds)
            if path.is_dir()
            else [path]
        )
    ]


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    torch.cuda.synchronize()
    started = time.perf_counter()
    found = call()
    torch.cuda.synchronize()
    return found, time.perf_counter() - started


def measure(arguments: argparse.Namespace, batch: int, compiled: bool, fast: bool) -> None:
    """Appends a row; called in a process of its own."""
    codec = Codec.load(arguments.model, "cuda", compiled=compiled)
    paths = images_in(arguments.images)
    count = min(len(paths) // batch * batch, max(batch, arguments.count))
    images = [Image.open(path).convert("RGB") for path in paths[:count]]
    first = SearchOptions(iterations=20, fast=fast)  # every phase: it compiles all graphs
    start = timed(lambda: list(codec.encode(images[:batch], search=first, batch=batch)))[1]
    torch.cuda.reset_peak_memory_stats()
    options = SearchOptions(fast=fast)
    files, seconds = timed(lambda: list(codec.encode(images, search=options, batch=batch)))
    memory = torch.cuda.max_memory_allocated() / 2**20
    data = [each.data for each in files][:batch]
    codec.decoder.decompress_batch(data)
    decoding = min(timed(lambda: codec.decoder.decompress_batch(data))[1] for _ in range(3))
    found = {
        "start_seconds": start,
        "seconds": seconds / count,
        "images_per_second": count / seconds,
        "memory_mb": memory,
        "bytes": mean(len(each.data) for each in files),
        "lpips_alex": mean(each.lpips for each in files),
        "psnr": mean(each.psnr for each in files),
        "decoded_per_second": len(data) / decoding,
    }
    row = {
        "device": torch.cuda.get_device_name(),
        "model": arguments.model,
        "search": "fast" if fast else "default",
        "batch": batch,
        "compiled": "yes" if compiled else "no",
        "images": count,
        **{name: f"{value:.3f}" for name, value in found.items()},
    }
    path = arguments.output / "batches.csv"
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+", help="images, or folders of them")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="faces-1024")
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 4, 16])
    parser.add_argument("--compiled-batches", type=int, nargs="*", default=[1, 16])
    parser.add_argument("--count", type=int, default=4, help="images of small batches")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # BATCH,COMPILED,FAST of this process
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.one:
        batch, compiled, fast = map(int, arguments.one.split(","))
        measure(arguments, batch, bool(compiled), bool(fast))
        return
    variants = [(batch, 0, 0) for batch in arguments.batches]
    variants += [(batch, 1, 0) for batch in arguments.compiled_batches]
    variants += [(variants[-1][0], variants[-1][1], 1)]
    ended = []
    for variant in variants:  # the others go on if one runs out of memory
        one = ["--one", ",".join(map(str, variant))]
        ended.append(subprocess.run([sys.executable, *sys.argv, *one], check=False).returncode)
    sys.exit(max(map(abs, ended)))


if __name__ == "__main__":
    main()
