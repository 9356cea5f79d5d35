"""Range coding of integers with `constriction`, to the shortest byte string that decodes.

A payload does not depend on the rest of its file.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from constriction import stream
from numpy.typing import NDArray

from ..errors import BitstreamError
from .tables import LARGEST_INTEGER, PriorTables


class Writer:
    """Codes integers and numbers in turn to the only byte string that is read as them.

    It is less than one byte longer than the ideal code length, apart from the loss of the range
    coder (about a ten-thousandth of a bit for each symbol).

    Args:
        tables: of the integers.
    """

    def __init__(self, tables: PriorTables) -> None:
        self.tables, self._encoder = tables, stream.queue.RangeEncoder()

    def number(self, value: int, count: int) -> None:
        """Codes a number in 0..count - 1, all equally likely."""
        self._encoder.encode(value, stream.model.Uniform(count))

    def integers(
        self,
        values: NDArray[np.integer[Any]],
        rows: NDArray[np.int64],
        escapes_last: bool = False,
    ) -> None:
        """Codes integers.

        Args:
            values: `[m]`, each within +-(2^31 - 1).
            rows: `[m]`, the table row of each.
            escapes_last: the order of version 1, in which escape codes follow all symbols. In
                version 2 each follows its own symbol, so that any beginning of a payload decodes.

        Raises:
            ValueError: an integer is out of range, or the shapes differ.
        """
        values, tables, start = values.astype(np.int64), self.tables, 0
        if values.shape != rows.shape:
            raise ValueError(f"integers {values.shape} do not fit rows {rows.shape}")
        if not len(values):
            return
        if values.min() < -LARGEST_INTEGER or values.max() > LARGEST_INTEGER:
            raise ValueError("integers must lie within +-(2^31 - 1)")
        escaped = np.abs(values) > tables.largest
        symbols = np.where(values > 0, 2 * values - 1, -2 * values)
        symbols[escaped] = 2 * tables.largest + 1
        family, weights = stream.model.Categorical(perfect=False), _weights(rows, tables)
        codes = {
            int(index): _escape_bits(int(values[index]), tables.largest)
            for index in np.flatnonzero(escaped)
        }
        last = len(values) - 1
        if escapes_last:
            codes = {last: [bit for code in codes.values() for bit in code]}
        for index, bits in {**codes, last: codes.get(last, [])}.items():
            run = slice(start, index + 1)
            self._encoder.encode(symbols[run].astype(np.int32), family, weights[run])
            self._encoder.encode(np.array(bits, dtype=np.int32), stream.model.Uniform(2))
            start = index + 1

    def finish(self) -> bytes:
        """The bytes. Zeros alone take none."""
        return _shortest(self._encoder)


class Reader:
    """Reads what a `Writer` has coded. Other bytes may be read as something, too.

    Args:
        data: the bytes.
        tables: of the integers.
    """

    def __init__(self, data: bytes, tables: PriorTables) -> None:
        self.tables, self._decoder = tables, _decoder(data)

    def number(self, count: int) -> int:
        """A number in 0..count - 1.

        Raises:
            BitstreamError: the data has no such code.
        """
        with _meaningful():
            return int(self._decoder.decode(stream.model.Uniform(count)))

    def integers(
        self, rows: NDArray[np.int64], out: NDArray[np.int32], escapes_last: bool = False
    ) -> None:
        """Reads integers with these table rows `[m]` to `out`, `[m]`.

        Raises:
            BitstreamError: the data has no such code.
        """
        if not len(rows):
            return
        weights, largest = _weights(rows, self.tables), self.tables.largest
        family, escape = stream.model.Categorical(perfect=False), 2 * largest + 1
        with _meaningful():
            if escapes_last:
                symbols = self._decoder.decode(family, weights)
                out[:] = _values(symbols)
                for index in map(int, np.flatnonzero(symbols == escape)):
                    out[index] = _decode_escape(self._decoder, largest)
                return
            again = self._decoder.clone()
            with contextlib.suppress(AssertionError):  # after an escape; others are raised below
                symbols = self._decoder.decode(family, weights)  # nearly all files have no escape
                if not (symbols == escape).any():
                    out[:] = _values(symbols)
                    return
            self._decoder = again
            for index in range(len(rows)):
                symbol = again.decode(family, weights[index : index + 1])
                is_escape = symbol[0] == escape
                out[index] = _decode_escape(again, largest) if is_escape else _values(symbol)[0]


class BeginningReader(Reader):
    """Reads the beginning of what a `Writer` has coded, up to the first thing that is not sure.

    The missing bytes lie between all zeros and all ones, and the symbols of a range coder are
    monotonic in them. So a symbol is determined if both ends decode to it.
    """

    def __init__(self, data: bytes, tables: PriorTables) -> None:
        self.tables = tables
        self._ends = [_decoder(data + 16 * byte) for byte in (b"\x00", b"\xff")]

    def number(self, count: int) -> int:
        """See `Reader.number`.

        Raises:
            Unsettled: it depends on missing bytes.
        """
        uniform = stream.model.Uniform(count)
        return self._settled(lambda end: int(end.decode(uniform)))

    def integers(
        self, rows: NDArray[np.int64], out: NDArray[np.int32], escapes_last: bool = False
    ) -> None:
        """See `Reader.integers`. Integers of `out` from the first unsettled one are not changed.

        Raises:
            Unsettled: one depends on missing bytes.
        """
        weights, largest = _weights(rows, self.tables), self.tables.largest
        for index in range(len(rows)):
            symbol = self._settled(partial(_decode_symbol, weights[index : index + 1]))
            if symbol < 2 * largest + 1:
                out[index] = int(_values(np.array([symbol]))[0])
            elif escapes_last:  # its code follows after all symbols
                raise Unsettled
            else:
                out[index] = self._settled(lambda end: _decode_escape(end, largest))

    def _settled(self, read: Callable[[Any], int]) -> int:
        try:
            low, high = map(read, self._ends)
        except (AssertionError, BitstreamError) as error:  # as in Reader
            raise Unsettled from error
        if low != high:
            raise Unsettled
        return low


class Unsettled(Exception):
    """What comes next depends on missing bytes."""


def encode_payload(
    integers: NDArray[np.integer[Any]],
    rows: NDArray[np.int64],
    tables: PriorTables,
    class_index: int | None = None,
    escapes_last: bool = False,
) -> bytes:
    """Codes integers to the only byte string that `decode_payload` accepts for them.

    Zeros alone take no bytes, even with the class 0.

    Args:
        integers: `[m]`, each within +-(2^31 - 1).
        rows: `[m]`, the table row of each (`PriorTables.rows`).
        tables: the tables.
        class_index: coded before the integers, if the tables have several classes.
        escapes_last: see `Writer.integers`.

    Raises:
        ValueError: an integer is out of range, or the shapes differ.
    """
    writer = Writer(tables)
    if class_index is not None:
        writer.number(class_index, tables.classes)
    writer.integers(integers, rows, escapes_last)
    return writer.finish()


def decode_payload(
    data: bytes,
    rows: NDArray[np.int64],
    tables: PriorTables,
    with_class: bool = False,
    escapes_last: bool = False,
) -> tuple[int, NDArray[np.int32]]:
    """Decodes the class, 0 if none was coded, and the integers `[m]` of `encode_payload`.

    Raises:
        BitstreamError: `encode_payload` does not write these bytes.
    """
    reader, values = Reader(data, tables), np.zeros(len(rows), dtype=np.int32)
    class_index = reader.number(tables.classes) if with_class else 0
    reader.integers(rows, values, escapes_last)
    coded = encode_payload(values, rows, tables, class_index if with_class else None, escapes_last)
    check_shortest(data, coded)
    return class_index, values


def check_shortest(data: bytes, coded: bytes) -> None:
    """Checks that data is what its contents are coded to: only the shortest code is valid.

    This detects many errors that the checksum misses.

    Raises:
        BitstreamError: it is not.
    """
    if coded != data:
        raise BitstreamError("altered: its payload is not in its shortest form")


def decode_beginning(
    data: bytes,
    rows: NDArray[np.int64],
    tables: PriorTables,
    with_class: bool = False,
    escapes_last: bool = False,
) -> tuple[int, NDArray[np.int32]]:
    """Decodes the beginning of a payload: class, if it has one, and integers `[m]`.

    Integers are zero from the first one that these bytes do not determine. The class is 0 if it is
    not determined.
    """
    reader, class_index = BeginningReader(data, tables), 0
    values = np.zeros(len(rows), dtype=np.int32)
    with contextlib.suppress(Unsettled):
        if with_class:
            class_index = reader.number(tables.classes)
        reader.integers(rows, values, escapes_last)
    return class_index, values


@contextlib.contextmanager
def _meaningful() -> Iterator[None]:
    try:
        yield
    except AssertionError as error:  # from constriction, if no symbol has this code
        raise BitstreamError("altered: its payload holds a code that means nothing") from error


def _decode_symbol(row: NDArray[np.float64], decoder: Any) -> int:
    return int(decoder.decode(stream.model.Categorical(perfect=False), row)[0])


def _values(symbols: NDArray[np.int32]) -> NDArray[np.int32]:
    """Integers of symbols in the order 0, 1, -1, 2, -2, ...; undefined for the escape."""
    return np.where(symbols % 2, symbols // 2 + 1, -(symbols // 2))


def _decoder(data: bytes) -> Any:
    words = np.frombuffer(data + bytes(-len(data) % 4), dtype=">u4").astype(np.uint32)
    return stream.queue.RangeDecoder(words)


def _weights(rows: NDArray[np.int64], tables: PriorTables) -> NDArray[np.float64]:
    """The tables of the rows, `[m, 2M + 2]`, as weights that make constriction use these integers.

    Symbols have the order 0, 1, -1, 2, -2, ..., escape. So bytes of zero, which the decoder reads
    after the end, mean integers of zero. constriction's fast quantisation gives every symbol 1 and
    shares the other 2^24 - n in proportion to the weights. The frequencies minus 1 sum to 2^24 - n,
    so its scale is exactly 1, and its sums of whole numbers are exact.
    """
    magnitudes = np.arange(1, tables.largest + 1)
    pairs = np.stack([magnitudes, -magnitudes], axis=1).ravel() + tables.largest
    order = np.concatenate([[tables.largest], pairs, [2 * tables.largest + 1]])
    return np.asarray(tables.frequencies[np.ix_(rows, order)] - 1, dtype=np.float64)


def _escape_bits(value: int, largest: int) -> list[int]:
    """|value| - largest (>= 1) as an Elias gamma code, then the sign: 0 for plus, 1 for minus."""
    binary = [int(bit) for bit in f"{abs(value) - largest:b}"]
    return [1] * (len(binary) - 1) + [0] + binary[1:] + [int(value < 0)]


def _decode_escape(decoder: Any, largest: int) -> int:
    length, bit = 0, stream.model.Uniform(2)
    while decoder.decode(bit):
        length += 1
        if length >= LARGEST_INTEGER.bit_length():
            raise BitstreamError("altered: its payload holds an integer past 32 bits")
    *binary, sign = decoder.decode(bit, length + 1).tolist()
    magnitude = largest + int("".join(map(str, [1, *binary])), 2)
    if magnitude > LARGEST_INTEGER:
        raise BitstreamError("altered: its payload holds an integer past 32 bits")
    return -magnitude if sign else magnitude


def _shortest(encoder: Any) -> bytes:
    """The shortest byte string that lies in the encoder's final interval when zeros follow it."""
    words_done, (lower, width) = encoder.pos()  # lower: the 64 bits after these words
    size = 4 * (words_done + 2)
    words = encoder.get_compressed().astype(">u4").tobytes()
    point = int.from_bytes(words.ljust(size, b"\0"), "big")  # a number inside the interval
    low = point - (point - lower) % 2**64
    length, value = 0, 0
    while value << 8 * (size - length) not in range(low, low + width):
        length += 1
        value = -(-low >> 8 * (size - length))  # low, rounded up to `length` bytes
    return value.to_bytes(length, "big")
