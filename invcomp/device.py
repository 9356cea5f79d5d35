"""Where torch runs, whether it compiles, and its global state as the codec needs it."""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import torch

from .errors import OptionError
from .files import cache_directory

# Compiling takes a minute or two once, and then some seconds a process. At 1024 px in bfloat16 it
# saves 0.7 s an iteration: one search of 120 iterations repays it. In float32 it saves nothing.
LARGE = 512
# An estimate: below, one search saves a few seconds at most, as many as loading takes.
MANY = 30
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
KEPT = 2**30  # bytes of the largest block of memory that the process keeps


def choose_device(name: str) -> torch.device:
    """The device of a name; "auto" takes the fastest there is.

    On a CPU, the process keeps freed memory from then on, see `keep_freed_memory`.

    Raises:
        OptionError: no such device here.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    kind, _, index = name.partition(":")
    counts = {"cuda": torch.cuda.device_count() if available["cuda"] else 0}
    is_there = name == kind or index in map(str, range(counts.get(kind, 1)))
    if not available.get(kind) or not is_there:
        raise OptionError(f"device {name} is not available here")
    if name == "cpu":
        keep_freed_memory()
    return torch.device(name)


@cache
def keep_freed_memory() -> None:
    """Makes this process keep memory that it frees, where the C library is glibc.

    glibc gives every freed block of more than 32 MiB back to the system, so each feature map of a
    large generator is mapped, and filled with zeros, anew: half of an iteration's time
    (docs/experiments.md). Peak memory rises by a fifth.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(M_MMAP_THRESHOLD, KEPT)
            mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 runs faster than float32 there."""
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def has_compiler() -> bool:
    """Whether torch.compile finds a C++ compiler here."""
    return any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))


def repays_compiling(
    device: torch.device, resolution: int, images: int, hurried: bool, mixed: bool
) -> bool:
    """Whether a search is compiled by default.

    It needs a compiler. A small generator needs many images. A large one is compiled in bfloat16,
    except for a single image in a hurry while there is no compiled code. On a GPU, where a search
    takes seconds, compiling takes minutes (docs/benchmarks.md, "On a GPU").

    Args:
        device: that the search runs on.
        resolution: of the generator, in pixels.
        images: to compress.
        hurried: whether the search is fast or has a time limit.
        mixed: whether the search runs in bfloat16.
    """
    if device.type != "cpu":
        return False
    if resolution < LARGE:
        return has_compiler() and images >= MANY
    pays = mixed and (images > 1 or not hurried or has_compiled_code())
    return pays and has_compiler()


def has_compiled_code() -> bool:
    """Whether code that this version of torch compiled is kept here."""
    return any(_compiled_code().glob("*"))


def keep_compiled_code() -> None:
    """Sets the folder of torch's compiled code. It must be called before compiling."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(_compiled_code())
    # torch warns while compiling if CUDA is installed without a GPU
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)


def _compiled_code() -> Path:
    """The user's choice, else a folder in the cache of invcomp.

    The default of torch, which importing torchvision sets, is a temporary folder and is lost. Code
    of another version of invcomp would seem to be there, and then be compiled anew.
    """
    from . import __version__

    given = Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR", ""))
    temporary = given.parent == Path(tempfile.gettempdir()) and "torchinductor_" in given.name
    own = cache_directory() / "compiled" / f"{__version__}-torch-{torch.__version__}"
    return own if temporary or not given.name else given


@contextmanager
def default_modes(device: torch.device) -> Iterator[None]:
    """torch's modes as by default, whatever the caller set: float32, gradients, no autocast.

    Under the caller's `torch.no_grad` or `torch.inference_mode` no search runs, and under autocast
    a file decodes to another image.
    """
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(device.type, enabled=False),
        ):
            yield
    finally:
        torch.set_default_dtype(dtype)
