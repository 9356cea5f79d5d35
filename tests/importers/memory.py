"""Measures what reading a large file takes of the machine's memory, in a process for each file.

    python -m tests.importers.memory FOLDER

Prints JSON: for each case the file's bytes, the growth of the process at its peak, and the error.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from invcomp.errors import BundleError
from invcomp.generators.stylegan2 import StyleGAN2
from invcomp.generators.stylegan3 import StyleGAN3
from invcomp.importers.recognise import read_foreign

from .hostile import KINDS, WRAPPINGS, program, raw, saved, table, text
from .nvidia import write
from .test_nvidia_pickle import ARGUMENTS
from .test_rosinality import theirs

DESIGN = {"channel_base": 1 << 15, "channel_max": 256}
LARGE = 16 << 20  # bytes of a hostile file


def stylegan2() -> StyleGAN2:
    return StyleGAN2([512, 384, 256], 256, 256, 2)


def write_stylegan3(path: Path) -> None:
    write(path, StyleGAN3(16, 256, 256, 2, dict(DESIGN)), {**ARGUMENTS, **DESIGN})


def dcgan() -> dict[str, torch.Tensor]:
    parts: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate([(128, 768), (768, 384), (384, 192)]):
        parts += [nn.ConvTranspose2d(inputs, outputs, 4, 1 + (index > 0), index > 0, bias=False)]
        parts += [nn.BatchNorm2d(outputs), nn.ReLU()]
    network = nn.Sequential(*parts, nn.ConvTranspose2d(192, 3, 4, 2, 1, bias=False))
    return network.state_dict()


def cut(make: Callable[[Path], None], part: float) -> Callable[[Path], None]:
    """A file that ends too early."""

    def write_part(path: Path) -> None:
        make(path)
        os.truncate(path, int(path.stat().st_size * part))

    return write_part


def pickled(body: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(program(body)) and None


def write_frame(path: Path) -> None:
    body = raw(bytes(LARGE)) + pickle.STOP
    frame = pickle.FRAME + struct.pack("<Q", len(body)) + body
    path.write_bytes(pickle.PROTO + b"\4" + frame)


def write_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", program(raw(bytes(8 * LARGE))))


def write_shared(path: Path) -> None:
    """A thousand names for the same 16 MB."""
    count = LARGE // 4
    wrapped = WRAPPINGS["torch zip"]
    tensor = wrapped.tensor((count,), (1,), count)
    body = table(*(part for index in range(1000) for part in (text(f"{index}"), tensor)))
    wrapped.write(path, body, {"0": bytes(LARGE)})


VALID: dict[str, Callable[[Path], None]] = {
    "stylegan2": lambda path: write(path, stylegan2(), ARGUMENTS),
    "stylegan2 of protocol 2": lambda path: write(path, stylegan2(), ARGUMENTS, protocol=2),
    "stylegan3": write_stylegan3,
    "rosinality": lambda path: saved(path, {"g_ema": theirs(stylegan2())}),
    "rosinality before zip": lambda path: saved(path, {"g_ema": theirs(stylegan2())}, True),
    "dcgan": lambda path: saved(path, dcgan()),
    "dcgan before zip": lambda path: saved(path, dcgan(), True),
}
HOSTILE: dict[str, Callable[[Path], None]] = {
    **{f"{name}, cut": cut(make, 0.9) for name, make in VALID.items()},
    "lists": pickled(pickle.EMPTY_LIST * LARGE),
    "marks": pickled(pickle.MARK * LARGE),
    "memos": pickled(pickle.NONE + pickle.MEMOIZE * LARGE),
    "text": pickled(text("a" * LARGE + "\U0001f600")),
    "texts": pickled(text("a" * 250_000 + "\U0001f600") * (LARGE // 250_000)),
    "bytes": pickled(raw(bytes(LARGE))),
    "a frame": write_frame,
    "a bomb": write_bomb,
    "shared": write_shared,
}


def resident(field: str) -> int:
    """Bytes that /proc tells of this process: VmRSS, or VmHWM for the peak."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) << 10


def measure(path: Path) -> dict[str, object]:
    """Reads the file and says what it took."""
    before, error = resident("VmRSS"), ""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    try:
        read_foreign(path)
    except BundleError as refused:
        error = str(refused)
    growth = resident("VmHWM") - before
    return {"bytes": path.stat().st_size, "growth": growth, "error": error}


def in_child(work: Callable[[Path], object], path: Path) -> object:
    """What `work` gives of a path in a process of its own."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, json.dumps(work(path)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as result:
        answer = result.read()
    os.waitpid(child, 0)
    return json.loads(answer)


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # threads do not survive a fork
    for name, make in KINDS.items():  # once, so that all that is imported lazily is there
        make(folder / name)
        read_foreign(folder / name)
    results, path = {}, folder / "large"
    for name, make in {**VALID, **HOSTILE}.items():
        in_child(make, path)
        results[name] = in_child(measure, path)
    print(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
