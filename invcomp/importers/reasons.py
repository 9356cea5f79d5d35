"""Why a file is refused, in one line that people can read."""

from __future__ import annotations

from pathlib import Path

from ..errors import BundleError

LONGEST = 240  # letters of a reason, however long a name in a hostile file is


def reason_of(error: BaseException) -> str:
    """What an error says, in one line; where it says nothing alone, what kind of damage it is."""
    if isinstance(error, KeyError):
        return short(f"{error.args[0] if error.args else 'something'} is missing")
    if isinstance(error, (EOFError, IndexError)):
        return "it is damaged, or cut short"
    if isinstance(error, (AttributeError, TypeError, RecursionError)):
        return short(f"it is damaged, or laid out in another way ({type(error).__name__})")
    said = short(str(error))
    return said if said else f"it is damaged ({type(error).__name__})"


def refusal(path: Path, what: str, error: BaseException) -> BundleError:
    """The error that a reader raises for another one.

    Args:
        path: of the file.
        what: it is not, or why it cannot be had.
        error: that was met; one about the file says by itself what it is.
    """
    if isinstance(error, BundleError):
        return BundleError(f"{path}: {short(str(error).removeprefix(f'{path}: '))}")
    return BundleError(f"{path}: {what}: {reason_of(error)}")


def short(reason: str) -> str:
    """A reason in one line, and of a length to read."""
    line = "".join(letter if letter.isprintable() else " " for letter in reason[: 4 * LONGEST])
    line = " ".join(line.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
