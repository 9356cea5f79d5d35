"""Compares decoding with the generator's forward pass alone, in one run.

    python scripts/benchmarks/decode.py FILE.ivc --repeats 15 --threads 2
    python scripts/benchmarks/decode.py FILE.ivc --exported FOLDER

Alternates both and prints the medians: `Codec.decompress` from bytes to a PIL image, and the
generator's forward pass alone, both in float32. With --exported, a folder of `invcomp export`, also
the network there by onnxruntime. The peak memory is that of the whole process.
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


def exported(folder: Path, data: bytes, codec: Codec, threads: int) -> Callable[[], Any]:
    """The exported network on a file, by onnxruntime."""
    import onnxruntime
    from half import inputs

    from invcomp.export import NETWORK

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(folder / NETWORK), options)
    found = inputs(data, codec.decoder, session)
    return lambda: session.run(None, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--exported", type=Path, help="folder of `invcomp export`")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = arguments.file.read_bytes()
    codec = Codec.for_file(data, "cpu")
    latents = codec.decoder.coordinates.means()

    @torch.inference_mode()
    def forward() -> torch.Tensor:
        return codec.decoder.generator(latents)

    calls = {"forward pass": forward, "decompress": lambda: codec.decompress(data)}
    if arguments.exported is not None:
        calls["onnxruntime"] = exported(arguments.exported, data, codec, arguments.threads)
    for call in calls.values():
        call()
    rounds = [[seconds(call) for call in calls.values()] for _ in range(arguments.repeats)]
    medians = [median(times) for times in zip(*rounds, strict=True)]
    for name, found in zip(calls, medians, strict=True):
        print(f"{name}: {found:.3f} s, {found / medians[0]:.2f} times the forward pass")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{arguments.threads} threads, peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
