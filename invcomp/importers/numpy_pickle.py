"""Reads pickled dicts of numpy arrays without trusting them.

A pickle is a program. This reader only allows numpy's array, dtype and array constructors, and the
functions with which protocol 2 makes bytes. It replaces all of them by inert stand-ins: not even
numpy's own unpickling code runs.
"""

from __future__ import annotations

import io
import pickle
import re
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError
from .plain_pickle import Operation, PlainUnpickler

LONGEST_NAME = 1000  # of nested dict keys


def read_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a pickled dict, nested dicts joined by "/": {"net/layer/kernel": array}.

    Args:
        data: a pickle of dicts with string keys whose leaves are plain numeric numpy arrays.

    Raises:
        BundleError: the pickle contains anything else, or is damaged.
    """
    try:
        return _leaves(ArrayUnpickler(io.BytesIO(data)).load())
    except Exception as error:  # a hostile pickle can raise anything
        raise BundleError(f"not a plain pickle of numpy arrays: {error}") from error


class _Dtype:
    """Stands in for numpy.dtype: a plain number type; the state sets its byte order."""

    def __init__(self, code: str, *_: object) -> None:
        if not re.fullmatch(r"[fiu][1248]|b1", code):
            raise pickle.UnpicklingError(f"arrays of dtype {code!r} are not allowed")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands in for numpy.ndarray and for the function that makes an empty one."""

    def __init__(self, *_: object) -> None:
        self.array: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise pickle.UnpicklingError("an array of something other than plain numbers")
        flat = np.frombuffer(data, dtype.dtype)
        self.array = flat.reshape(shape, order="F" if is_fortran else "C")


def _from_buffer(data: object, dtype: object, shape: Any, order: object) -> _Array:
    """An array in protocol 5."""
    made = _Array()
    made.__setstate__((1, shape, dtype, order == "F", data))
    return made


def _encoded(text: object, encoding: object) -> bytes:
    """Bytes in protocol 2: text with one letter per byte."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("text that is not in latin1")
    return text.encode("latin1")


def _no_bytes(*arguments: object) -> bytes:
    """Empty bytes in protocol 2."""
    if arguments:
        raise pickle.UnpicklingError("empty bytes with arguments")
    return b""


def _scalar(dtype: object, data: object) -> Any:
    """A number as a Python number."""
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
        raise pickle.UnpicklingError("a number of an unknown kind")
    return np.frombuffer(data, dtype.dtype, 1)[0].item()


ARRAY_GLOBALS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.multiarray", "_reconstruct"): _Array,  # the name since numpy 2
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encoded,
    ("builtins", "bytes"): _no_bytes,
    ("__builtin__", "bytes"): _no_bytes,
}


class ArrayUnpickler(PlainUnpickler):
    """An unpickler that only accepts listed globals.

    Attributes:
        allowed: the stand-in for each allowed global.
        stateless: classes whose state is dropped.
    """

    allowed: ClassVar[dict[tuple[str, str], Any]] = ARRAY_GLOBALS
    stateless: ClassVar[tuple[type, ...]] = ()

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a global."""
        if (module, name) in self.allowed:
            return self.allowed[module, name]
        return super().find_class(module, name)

    def load_build(self) -> None:
        """Sets the state of an object; pickle's own method could set attributes of anything."""
        state, instance = self.stack.pop(), self.stack[-1]
        if isinstance(instance, (_Array, _Dtype)):
            instance.__setstate__(state)
        elif not isinstance(instance, self.stateless):
            raise pickle.UnpicklingError(f"it sets attributes of a {type(instance).__name__}")

    operations: ClassVar[dict[int, Operation]] = {
        **PlainUnpickler.operations,
        pickle.BUILD[0]: load_build,
    }


def _leaves(top: object) -> dict[str, NDArray[Any]]:
    """The arrays in nested dicts, in order."""
    found: dict[str, NDArray[Any]] = {}
    seen: set[int] = set()
    waiting = [("", top)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, _Array) and value.array is not None:
            found[name] = value.array
            continue
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise pickle.UnpicklingError(
                f"{name or 'its top level'} is neither a dict nor an array"
            )
        if id(value) in seen or len(name) > LONGEST_NAME:  # shared or recursive: could be endless
            raise pickle.UnpicklingError("a dict that is shared or nested without end")
        seen.add(id(value))
        inner = [(f"{name}/{key}" if name else key, held) for key, held in value.items()]
        waiting += reversed(inner)
    return found
