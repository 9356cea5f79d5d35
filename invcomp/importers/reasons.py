"""Readable one-line reasons why a file cannot be imported."""

from __future__ import annotations

from pathlib import Path

from ..errors import BundleError

LONGEST = 240  # letters of a reason; names in hostile files can be longer


def reason_of(error: BaseException) -> str:
    """The message of an error in one line; if it says nothing by itself, the kind of damage."""
    if isinstance(error, KeyError):
        return short(f"{error.args[0] if error.args else 'something'} is missing")
    if isinstance(error, (EOFError, IndexError)):
        return "it is damaged or truncated"
    if isinstance(error, (AttributeError, TypeError, RecursionError)):
        return short(f"it is damaged or has another layout ({type(error).__name__})")
    said = short(str(error))
    return said if said else f"it is damaged ({type(error).__name__})"


def refusal(path: Path, what: str, error: BaseException) -> BundleError:
    """The error that a reader raises in place of another one.

    Args:
        path: of the file.
        what: the file is not, or what failed.
        error: the cause; a BundleError is reported without `what`.
    """
    if isinstance(error, BundleError):
        return BundleError(f"{path}: {short(str(error).removeprefix(f'{path}: '))}")
    return BundleError(f"{path}: {what}: {reason_of(error)}")


def short(reason: str) -> str:
    """A reason in one line of limited length."""
    line = "".join(letter if letter.isprintable() else " " for letter in reason[: 4 * LONGEST])
    line = " ".join(line.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
