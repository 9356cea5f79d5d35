"""Compares decoding with the generator's forward pass alone, in one run.

    python scripts/benchmarks/decode.py FILE.ivc --repeats 15 --threads 2

Alternates both and prints the medians: `Codec.decompress` from bytes to a PIL image, and the
generator's forward pass alone, both in float32. The peak memory is that of the whole process.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from invcomp.codec import Codec


def seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = arguments.file.read_bytes()
    codec = Codec.for_file(data, "cpu")
    latents = codec.decoder.coordinates.means()

    @torch.inference_mode()
    def forward() -> torch.Tensor:
        return codec.decoder.generator(latents)

    forward(), codec.decompress(data)
    pairs = [(seconds(forward), seconds(lambda: codec.decompress(data)))
             for _ in range(arguments.repeats)]  # fmt: skip
    bare, decode = (median(times) for times in zip(*pairs, strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"forward pass {bare:.3f} s, decompress {decode:.3f} s: {decode / bare:.2f} times; "
        f"{arguments.threads} threads, peak memory {peak:.0f} MiB"
    )


if __name__ == "__main__":
    main()
