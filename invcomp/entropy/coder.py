"""Range coding of one segment, with `constriction`, to the shortest byte string that decodes."""

from typing import Any

import numpy as np
from constriction import stream
from numpy.typing import NDArray

from ..errors import BitstreamError
from .tables import LARGEST_INTEGER, PriorTables


def encode_segment(
    integers: NDArray[np.integer[Any]],
    rows: NDArray[np.int64],
    tables: PriorTables,
    class_index: int | None = None,
) -> bytes:
    """Code integers to the one byte string that `decode_segment` takes back.

    It is less than one byte longer than the ideal code length, but for the range coder's own loss
    (about a ten-thousandth of a bit a symbol). A segment of zeros alone takes no byte at all, and
    neither does one of the class 0 and zeros.

    Args:
        integers: `[m]`, each within +-(2^31 - 1).
        rows: `[m]`, the table row of each (`PriorTables.rows`).
        tables: the tables.
        class_index: coded ahead of the integers, where the tables have several classes.

    Raises:
        ValueError: an integer is out of range, or the shapes differ.
    """
    values = integers.astype(np.int64)
    if values.shape != rows.shape:
        raise ValueError(f"integers {values.shape} do not fit rows {rows.shape}")
    if values.min() < -LARGEST_INTEGER or values.max() > LARGEST_INTEGER:
        raise ValueError("integers must lie within +-(2^31 - 1)")
    escaped = np.abs(values) > tables.largest
    symbols = np.where(values > 0, 2 * values - 1, -2 * values)
    symbols[escaped] = 2 * tables.largest + 1
    bits = [bit for value in values[escaped] for bit in _escape_bits(int(value), tables.largest)]
    encoder = stream.queue.RangeEncoder()
    if class_index is not None:
        encoder.encode(class_index, stream.model.Uniform(tables.classes))
    family = stream.model.Categorical(perfect=False)
    encoder.encode(symbols.astype(np.int32), family, _weights(rows, tables))
    encoder.encode(np.array(bits, dtype=np.int32), stream.model.Uniform(2))
    return _shortest(encoder)


def decode_segment(data: bytes, rows: NDArray[np.int64], tables: PriorTables) -> NDArray[np.int32]:
    """Take back the integers `[m]` that `encode_segment` coded with these rows and no class.

    Raises:
        BitstreamError: `encode_segment` never makes these bytes.
    """
    return _decode(data, rows, tables, with_class=False)[1]


def decode_class_and_segment(
    data: bytes, rows: NDArray[np.int64], tables: PriorTables
) -> tuple[int, NDArray[np.int32]]:
    """Take back the class and the integers `[m]` that `encode_segment` coded with these rows.

    Raises:
        BitstreamError: `encode_segment` never makes these bytes.
    """
    class_index, values = _decode(data, rows, tables, with_class=True)
    return class_index or 0, values


def decode_beginning(
    data: bytes, rows: NDArray[np.int64], tables: PriorTables, with_class: bool = False
) -> tuple[int, NDArray[np.int32]]:
    """What the first bytes of a segment settle: its class, if it has one, and integers `[m]`, zeros
    from the first that they do not; the class 0 where not even that is settled.

    Whatever bytes follow lie between all zeros and all ones, and a range coder's symbols rise with
    them: where both ends decode to the same symbols, so does everything between.
    """
    symbols = np.zeros(len(rows), dtype=np.int32)
    both = [_decoder(data + 16 * byte) for byte in (b"\x00", b"\xff")]
    family, weights = stream.model.Categorical(perfect=False), _weights(rows, tables)
    class_index = 0
    try:
        if with_class:
            uniform = stream.model.Uniform(tables.classes)
            class_index, highest = (int(end.decode(uniform)) for end in both)
            if class_index != highest:
                return 0, symbols
        for index in range(len(rows)):
            low, high = (int(end.decode(family, weights[index : index + 1])[0]) for end in both)
            if low != high or low == 2 * tables.largest + 1:  # an escape's value is at the end
                break
            symbols[index] = low
    except AssertionError:  # as in _decode
        pass
    return class_index, _values(symbols)


def _values(symbols: NDArray[np.int32]) -> NDArray[np.int32]:
    """Integers of symbols ordered 0, 1, -1, 2, -2, ...; of an escape's, nothing meant."""
    return np.where(symbols % 2, symbols // 2 + 1, -(symbols // 2))


def _decoder(data: bytes) -> Any:
    words = np.frombuffer(data + bytes(-len(data) % 4), dtype=">u4").astype(np.uint32)
    return stream.queue.RangeDecoder(words)


def _decode(
    data: bytes, rows: NDArray[np.int64], tables: PriorTables, with_class: bool
) -> tuple[int | None, NDArray[np.int32]]:
    """The class, if one is coded ahead of the integers, and the integers."""
    decoder, family = _decoder(data), stream.model.Categorical(perfect=False)
    class_index: int | None = None
    try:
        if with_class:
            class_index = decoder.decode(stream.model.Uniform(tables.classes))
        symbols: NDArray[np.int32] = decoder.decode(family, _weights(rows, tables))
        values = _values(symbols)
        for index in np.flatnonzero(symbols == 2 * tables.largest + 1):
            values[index] = _decode_escape(decoder, tables.largest)
    except AssertionError as error:  # what constriction raises at a point that codes no symbol
        raise BitstreamError("altered: a segment holds a code that means nothing") from error
    # The shortest code is the only one, so this finds much of what slips past the checksum.
    if encode_segment(values, rows, tables, class_index) != data:
        raise BitstreamError("altered: a segment is not in its shortest form")
    return class_index, values


def _weights(rows: NDArray[np.int64], tables: PriorTables) -> NDArray[np.float64]:
    """The tables of the rows, `[m, 2M + 2]`, such that constriction codes with just these integers.

    Symbols are ordered 0, 1, -1, 2, -2, ..., escape, so that bytes of zero, which is what the
    decoder reads past the end, mean integers of zero. constriction's fast quantisation gives
    every symbol 1 and shares the other 2^24 - n in proportion: frequencies less 1 sum to that
    already, so its scale is exactly 1 and its sums of whole numbers are exact.
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
            raise BitstreamError("altered: a segment holds an integer past 32 bits")
    *binary, sign = decoder.decode(bit, length + 1).tolist()
    magnitude = largest + int("".join(map(str, [1, *binary])), 2)
    if magnitude > LARGEST_INTEGER:
        raise BitstreamError("altered: a segment holds an integer past 32 bits")
    return -magnitude if sign else magnitude


def _shortest(encoder: Any) -> bytes:
    """The shortest byte string that lies in the encoder's final interval when zeros follow it."""
    words_done, (lower, width) = encoder.pos()  # lower: 64 bits that begin after these words
    size = 4 * (words_done + 2)
    words = encoder.get_compressed().astype(">u4").tobytes()
    point = int.from_bytes(words.ljust(size, b"\0"), "big")  # some number inside the interval
    low = point - (point - lower) % 2**64
    length, value = 0, 0
    while value << 8 * (size - length) not in range(low, low + width):
        length += 1
        value = -(-low >> 8 * (size - length))  # low, rounded up to `length` bytes
    return value.to_bytes(length, "big")
