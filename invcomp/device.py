"""Where torch runs, and torch's global state as the codec needs it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .errors import OptionError


def choose_device(name: str) -> torch.device:
    """The device of a name; "auto" takes the fastest there is.

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
    if not available.get(name.split(":")[0]):
        raise OptionError(f"device {name} is not available here")
    return torch.device(name)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 runs faster than float32 there."""
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def has_compiler() -> bool:
    """Whether torch.compile finds a C++ compiler here."""
    return any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))


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
