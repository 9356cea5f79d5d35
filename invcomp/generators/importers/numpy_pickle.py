"""Reads pickled dicts of numpy arrays without trusting them.

A pickle is a program. This reader lets it name three things, numpy's array, dtype and array
constructor, and gives it inert stand-ins for them: not even numpy's own unpickling code runs.
"""

from __future__ import annotations

import io
import pickle
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BundleError


def read_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a pickled dict, nested dicts joined by "/": {"net/layer/kernel": array}.

    Args:
        data: a pickle of dicts with string keys whose leaves are plain numeric numpy arrays.

    Raises:
        BundleError: the pickle holds or asks for anything else, or is damaged.
    """
    try:
        return dict(_leaves(_ArrayUnpickler(io.BytesIO(data)).load(), ""))
    except Exception as error:  # a hostile pickle can raise what it likes
        raise BundleError(f"not a plain pickle of numpy arrays: {error}") from error


class _Dtype:
    """Stands in for numpy.dtype: a plain number type, its byte order set by the pickle's state."""

    def __init__(self, code: str, *_: object) -> None:
        if not re.fullmatch(r"[fiu][1248]|b1", code):
            raise pickle.UnpicklingError(f"arrays of dtype {code!r} are not allowed")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands in for numpy.ndarray and for the function that makes an empty one to fill."""

    def __init__(self, *_: object) -> None:
        self.array: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise pickle.UnpicklingError("an array that is not plain numbers")
        flat = np.frombuffer(data, dtype.dtype)
        self.array = flat.reshape(shape, order="F" if is_fortran else "C")


class _ArrayUnpickler(pickle._Unpickler):
    """The unpickler in Python: the one in C lets a few bytes claim all memory for its memo."""

    def find_class(self, module: str, name: str) -> Any:
        allowed: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): _Array,
            ("numpy", "dtype"): _Dtype,
            ("numpy.core.multiarray", "_reconstruct"): _Array,
            ("numpy._core.multiarray", "_reconstruct"): _Array,  # the name since numpy 2
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")
        return allowed[module, name]


def _leaves(value: object, name: str) -> list[tuple[str, NDArray[Any]]]:
    if isinstance(value, _Array) and value.array is not None:
        return [(name, value.array)]
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise pickle.UnpicklingError(f"{name or 'its top'} is neither a dict nor an array")
    return [
        leaf
        for key, inner in value.items()
        for leaf in _leaves(inner, f"{name}/{key}" if name else key)
    ]
