"""Reads ranges of a file."""

from __future__ import annotations

import os
from threading import Lock
from typing import BinaryIO


class Source:
    """Reads ranges of a seekable file, from any thread.

    Args:
        file: open for reading, in binary mode.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._lock = file, Lock()
        self.size = file.seek(0, os.SEEK_END)
        self._start, self._window = 0, b""

    def read(self, at: int, length: int, ahead: int = 0) -> bytes:
        """The bytes of a range; fewer at the end of the file.

        Args:
            at: position of the first.
            length: of the range.
            ahead: read this many bytes at once, if any must be read.
        """
        with self._lock:
            first = at - self._start
            if not 0 <= first <= first + length <= len(self._window):
                self._file.seek(at)
                self._start, first = at, 0
                self._window = self._read(min(max(length, ahead), max(0, self.size - at)))
            return self._window[first : first + length]

    def _read(self, length: int) -> bytes:
        found = b""
        while len(found) < length and (more := self._file.read(length - len(found))):
            found += more  # a raw file may give less than it is asked for
        return found

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
