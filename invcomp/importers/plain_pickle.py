"""Base unpickler of all readers here. It only makes data, within limits of memory and time.

A pickle is a program for a small machine. With pickle's own machine, a few bytes can claim any
amount of memory (by a declared length or a memo index), a hash can descend into nested tuples until
the stack overflows, and a megabyte of operations can become a hundred megabytes of objects. This
machine only knows the operations in pickles of networks, and limits each of these.
"""

from __future__ import annotations

import gc
import os
import pickle
import re
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar

OPERATIONS = 100_000  # allowed in any file: a StyleGAN has about ten thousand
BYTES_PER_OPERATION = 1 << 14  # of file size, for more operations
TEXT = 1 << 22  # bytes of text per file whose letters may take four bytes each
LINE = 1 << 10  # bytes of a line: the name of a module or of its member
WIDE = re.compile(rb"[\xc4-\xff]")  # starts a UTF-8 letter that does not fit into one byte
LARGE_KEY = 1 << 60  # integers from 2^61 - 1 on can be made to collide in a dict

# All operations for data in protocols 2 to 5, except older ones and those that reserve memory by a
# number alone.
ALLOWED = re.findall(
    r"\w+",
    """
    PROTO STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT
    BINBYTES SHORT_BINBYTES BINBYTES8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND
    APPENDS EMPTY_DICT EMPTY_SET GLOBAL STACK_GLOBAL REDUCE NEWOBJ BINGET LONG_BINGET BINPUT
    LONG_BINPUT MEMOIZE BINPERSID
    """,
)

Operation = Callable[[Any], None]


class PlainUnpickler(pickle._Unpickler):
    """An unpickler for plain data, with limits; subclasses list the allowed globals.

    Based on pickle's Python implementation, because the one in C has no limits.

    Args:
        file: opened for reading in binary mode.
        length: how many bytes may be read from here on; None: all.
    """

    stack: list[Any]  # pickle's own
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]
    dispatch: dict[int, Operation]  # type: ignore[misc]
    operations: ClassVar[dict[int, Operation]] = {
        code: pickle._Unpickler.dispatch[code]
        for code in (getattr(pickle, name)[0] for name in ALLOWED)
    }

    def __init__(self, file: BinaryIO, length: int | None = None) -> None:
        bounded = _BoundedFile(file, length)
        super().__init__(bounded)
        limit = OPERATIONS + bounded.left // BYTES_PER_OPERATION
        self.dispatch = _Dispatch(self.operations, limit)
        self.text_left = TEXT

    def load(self) -> Any:
        """Reads the pickle.

        Meanwhile nothing looks for garbage: with a hundred thousand tuples in each other, that
        takes ten times as long as to read them.
        """
        collects = gc.isenabled()
        gc.disable()
        try:
            return super().load()
        finally:
            if collects:
                gc.enable()

    def find_class(self, module: str, name: str) -> Any:
        """Rejects a global by its name."""
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")

    def load_frame(self) -> None:
        """Skips the head of a frame: buffering the frame would store its contents twice."""
        self.read(8)

    def load_text(self, size: int) -> None:
        """Reads a string whose length comes first, in `size` bytes.

        Latin-1 text takes no more memory than its bytes and may be as long as the file, because
        protocol 2 stores the tensors of a network in this way.
        """
        data = self.read(int.from_bytes(self.read(size), "little"))
        if not data.isascii() and WIDE.search(data):
            self.text_left -= len(data)
            if self.text_left < 0:
                raise pickle.UnpicklingError("too much text")
        self.append(str(data, "utf-8"))

    def load_bytes(self) -> None:
        """Reads a bytearray as bytes; pickle's own method would reserve any declared length."""
        self.append(self.read(int.from_bytes(self.read(8), "little")))

    def load_item(self) -> None:
        """Sets one item of a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def load_items(self) -> None:
        """Sets the items of a dict since the last mark."""
        self.set_items(self.pop_mark())

    def set_items(self, items: list[Any]) -> None:
        """Puts alternating keys and values into the dict on top of the stack."""
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise pickle.UnpicklingError(f"it sets items of a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_checked(key)] = value

    def load_members(self) -> None:
        """Adds the members of a set since the last mark."""
        items = self.pop_mark()
        target = self.stack[-1]
        if not isinstance(target, set):
            raise pickle.UnpicklingError(f"it adds members to a {type(target).__name__}")
        target.update(_checked(item) for item in items)

    operations |= {
        pickle.FRAME[0]: load_frame,
        pickle.BYTEARRAY8[0]: load_bytes,
        pickle.SHORT_BINUNICODE[0]: lambda self: self.load_text(1),
        pickle.BINUNICODE[0]: lambda self: self.load_text(4),
        pickle.BINUNICODE8[0]: lambda self: self.load_text(8),
        pickle.SETITEM[0]: load_item,
        pickle.SETITEMS[0]: load_items,
        pickle.ADDITEMS[0]: load_members,
    }


def _checked(key: object) -> object:
    """Accepts only dict keys with a fast hash that cannot be chosen."""
    if key is not None and not isinstance(key, (str, int)):
        raise pickle.UnpicklingError(f"a {type(key).__name__} as a key")
    if isinstance(key, int) and abs(key) >= LARGE_KEY:
        raise pickle.UnpicklingError("a huge number as a key")
    return key


class _Dispatch(dict[int, Operation]):
    """The operations by code; counts and limits them."""

    def __init__(self, operations: dict[int, Operation], limit: int) -> None:
        super().__init__(operations)
        self.left = limit

    def __getitem__(self, code: int) -> Operation:
        self.left -= 1
        if self.left < 0:
            raise pickle.UnpicklingError("too many operations")
        return super().__getitem__(code)

    def __missing__(self, code: int) -> Operation:
        raise pickle.UnpicklingError(f"the operation {bytes([code])!r} is not allowed")


class _BoundedFile:
    """A file, or a part of it; reserves no memory for reads past the end.

    Attributes:
        left: bytes until the end.
    """

    def __init__(self, file: BinaryIO, length: int | None) -> None:
        self.file, begin = file, file.tell()
        self.left = file.seek(0, os.SEEK_END) - begin
        file.seek(begin)
        if length is not None:
            self.left = min(self.left, length)

    def read(self, size: int) -> bytes:
        """Reads `size` bytes.

        Raises:
            EOFError: there are fewer.
        """
        if size > self.left:
            raise EOFError("unexpected end")
        self.left -= size
        return self.file.read(size)

    def readline(self) -> bytes:
        """Reads a line including its end."""
        line = self.file.readline(min(LINE, self.left))
        self.left -= len(line)
        return line
