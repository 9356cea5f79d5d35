"""What a file says, checked before it is used: numbers, JSON and tensors of bundles.

Anyone can write a bundle's file. A wrong value in it ends in a ValueError, which the reader of the
file turns into one line.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, TypeVar

LONGEST_JSON = 1 << 20  # letters
DEEPEST = 16  # objects or lists within each other
DIGEST = re.compile("[0-9a-f]{64}")

Array = TypeVar("Array")  # of torch or numpy: this module imports neither


def json_object(text: str) -> dict[str, Any]:
    """A JSON object whose numbers are all finite.

    Raises:
        ValueError: it is another thing, or too long or too deep.
    """
    if not isinstance(text, str) or len(text) > LONGEST_JSON:
        raise ValueError(f"over {LONGEST_JSON:,} letters of JSON")
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON that is too deep") from error
    if not isinstance(found, dict):
        raise ValueError(f"a JSON {type(found).__name__} in place of an object")
    level: list[Any] = [found]
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for value in level:
            inner += [*value.values()] if isinstance(value, dict) else value
        if any(isinstance(value, float) and not math.isfinite(value) for value in inner):
            raise ValueError("a number in JSON that is not finite")
        level = [value for value in inner if isinstance(value, (dict, list))]
        if not level:
            return found
    raise ValueError("JSON that is too deep")


def number(value: Any, least: float, most: float, name: str) -> float:
    """A finite number in a range, as it was given.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ValueError(f"{name} is {value!r:.40}, not a number in {least:g}..{most:g}")
    return value


def digest(value: Any, name: str) -> str:
    """A SHA-256 in hexadecimal digits.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or not DIGEST.fullmatch(value):
        raise ValueError(f"{name} is no SHA-256: {value!r:.40}")
    return value


def array(value: Array, name: str, kinds: str, *shape: int | None) -> Array:
    """A tensor or an array of the type and shape that it should have, not empty.

    Floating-point values must be finite.

    Args:
        value: of torch or numpy.
        name: for the error.
        kinds: names of types, such as "int8", or "float16 float32".
        shape: its axes; None: of any length.

    Raises:
        ValueError: it has another type or shape, or values that are no numbers.
    """
    given: Any = value
    kind = str(given.dtype).removeprefix("torch.")
    sizes = tuple(given.shape)
    fits = len(sizes) == len(shape) and all(
        size >= 1 and wanted in (None, size) for size, wanted in zip(sizes, shape, strict=True)
    )
    if kind not in kinds.split() or not fits:
        wanted = " x ".join("n" if size is None else str(size) for size in shape)
        raise ValueError(
            f"{name} is {kind} {list(sizes)}, not {kinds.replace(' ', '/')} [{wanted}]"
        )
    if "float" in kind:
        finite(given, name)
    return value


def finite(value: Any, name: str) -> None:
    """Checks a tensor in one pass over its values, by their sum.

    Raises:
        ValueError: one is infinite or no number.
    """
    import torch

    if not math.isfinite(float(value.sum(dtype=torch.float64))):
        raise ValueError(f"{name} has values that are not finite")


def one_line(error: BaseException) -> str:
    """The message of an error in one line of limited length; its kind, if it has none."""
    said = " ".join(str(error).split())
    if isinstance(error, KeyError):
        said = f"{said} is missing"
    elif isinstance(error, (AttributeError, TypeError, IndexError, RecursionError)):
        said = f"another layout: {said}"
    return f"{said[:240]}..." if len(said) > 240 else said or type(error).__name__
