"""A second .ivc decoder and payload encoder, from docs/format.md alone: plain Python integers.

A model is a dict as in vectors.json. Anything refused raises `Refused`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

Model = dict[str, Any]
ESCAPE = None
FAIR = [(0, 1 << 23), (1, 1 << 23)]


class Refused(Exception):
    pass


@dataclass
class Step:
    """The state of the range decoder before a symbol."""

    point: int
    range: int
    quantile: int
    symbol: int | None


def crc16(data: bytes) -> int:
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ (0x1021 if crc & 0x8000 else 0)
            crc &= 0xFFFF
    return crc


def decode_file(data: bytes, model: Model) -> dict[str, Any]:
    """Fields and integers of a file."""
    check(data[:2] == b"\xc9\x56" and len(data) >= 10)
    version, more, rest = data[2] >> 4, data[2] & 7, iter(data[10:])
    check(version in (1, 2))
    check(int.from_bytes(data[8:10], "big") == crc16(data[:8] + data[10:]))
    tags = [] if version == 1 else list(take(rest, more))
    check(tags == sorted({*tags} - {0}) and all(tag < 128 or tag == 129 for tag in tags))
    lengths = [read_length(rest) for _ in range(more)]
    options = read_options(rest) if data[2] & 8 else {}
    check(all(tag < 128 or tag == 129 for tag in options))
    check(129 not in options or (options[129] == b"" and 1 in options))
    chunks = [*(take(rest, length) for length in lengths), bytes(rest)]
    payloads = chunks if version == 1 else chunks[:1]
    ends = model["segment_ends"] if len(payloads) > 1 else [len(model["scales"])]
    check(len(payloads) == len(ends))
    layers = dict(zip(tags, chunks[1:] if version == 2 else [], strict=True))
    if 129 in layers:
        check(data[3:8] == bytes(5) and payloads == [b""] and len(tags) == 1)
        check(129 not in options)
    integers: list[int] = []
    class_index, last = 0, version == 1
    for payload, end in zip(payloads, ends, strict=True):
        rows = rows_of(model, data[7])[len(integers) : end]
        if not integers:
            class_index, values = decode_class_and_payload(payload, rows, model, escapes_last=last)
            integers += values
        else:
            integers += decode_payload(payload, rows, model, escapes_last=last)
    return {
        "fingerprint": data[3:7],
        "step_index": data[7],
        "original_size": read_size(options[1]) if 1 in options else None,
        "payloads": payloads,
        "layers": list(layers.items()),
        "class": class_index,
        "integers": integers,
        "padded": 129 in options,
        "photo": read_photo(layers, model) if 2 in layers else None,
    }


def read_photo(layers: dict[int, bytes], model: Model) -> dict[str, Any]:
    """What layers 1 and 2 say."""
    rest, more = list(layers.get(1, b"")), []
    check(1 not in layers or len(rest) > 0)
    while rest:
        step_index, values = rest[0], iter(rest[1:])
        payload = take(values, read_length(values))
        rest = list(values)
        rows = rows_of(model, step_index)
        _, integers = decode_class_and_payload(payload, rows, model)
        more.append({"step_index": step_index, "integers": integers})
    photo = iter(layers[2])
    numbers = [list(take(photo, 2)) for _ in range(2 + 4 * (1 + len(more)))]
    width, height, *values = (high << 8 | low for high, low in numbers)
    places = [values[at : at + 4] for at in range(0, len(values), 4)]
    check(width > 0 and height > 0 and all(side > 0 for _, _, side, _ in places))
    stream = bytes(photo)
    if stream:
        read_stream(stream)
    return {"size": (width, height), "places": places, "more": more, "stream": stream.hex()}


def read_stream(stream: bytes) -> tuple[str, tuple[int, int] | None, bytes]:
    """Codec, size where it is not left to the codec, and the essential part of the codec's file.

    That is for AVIF the OBUs, for WebP the VP8 frame, for JPEG XL the codestream.
    """
    check(len(stream) > 0)
    codec, flags = stream[0] // 64, stream[0] % 64
    check(codec < 3 and (flags == 0 or codec == 0))
    if codec == 2:
        return "jxl", None, b"\xff\x0a" + stream[1:]
    check(len(stream) >= 4)
    sides = stream[1] << 16 | stream[2] << 8 | stream[3]
    width, height = sides // 4096 + 1, sides % 4096 + 1
    if codec == 1:
        size = bytes([width % 256, width // 256, height % 256, height // 256])
        return "webp", (width, height), stream[4:7] + b"\x9d\x01\x2a" + size + stream[7:]
    # (bits, value) of the sequence header
    fields = [(3, 0), (1, 1), (1, 1), (5, 31), (4, 11), (4, 11), (12, width - 1), (12, height - 1)]
    fields += [(6, flags), (2, 0), (1, 1), (8, 1), (8, 13), (8, 6), (1, 1), (2, 0), (1, 0), (1, 0)]
    value = bits = 0
    for length, number in [*fields, (1, 1)]:
        value, bits = value << length | number, bits + length
    value, bits = value << -bits % 8, bits + -bits % 8
    header = value.to_bytes(bits // 8, "big")
    frame, left = b"", len(stream) - 4
    while left > 127:
        frame, left = frame + bytes([left % 128 + 128]), left // 128
    frame = b"\x32" + frame + bytes([left]) + stream[4:]
    return "avif", (width, height), b"\x12\0\x0a" + bytes([len(header)]) + header + frame


def rows_of(model: Model, step_index: int) -> list[int]:
    first, stride = model["first_ratio"], model["ratio_stride"]
    last = len(model["frequencies"]) - 1
    slopes = model.get("slopes") or [0] * len(model["scales"])
    ratios = [
        scale + slope * step_index // 256 + step_index - first
        for scale, slope in zip(model["scales"], slopes, strict=True)
    ]
    return [min(max((ratio + stride // 2) // stride, 0), last) for ratio in ratios]


def alphabet(model: Model, row: int) -> list[tuple[int | None, int]]:
    """The symbols in coding order, with their frequencies."""
    columns = model["frequencies"][row]
    largest = len(columns) // 2 - 1
    order = [0]
    for magnitude in range(1, largest + 1):
        order += [magnitude, -magnitude]
    return [*((q, columns[q + largest]) for q in order), (ESCAPE, columns[-1])]


def classes_of(model: Model) -> list[tuple[int, int]]:
    """The classes with their frequencies; none where there is nothing to say."""
    count = model.get("classes", 1)
    each = 2**24 // count
    return [*((c, each) for c in range(count - 1)), (count - 1, 2**24 - (count - 1) * each)]


def decode_class_and_payload(
    data: bytes,
    rows: list[int],
    model: Model,
    trace: Callable[[Step], None] = lambda _: None,
    escapes_last: bool = False,
) -> tuple[int, list[int]]:
    read = decoder(data, trace)
    class_index = read(classes_of(model)) if model.get("classes", 1) > 1 else 0
    return class_index, decode_integers(read, rows, model, escapes_last)


def decode_payload(
    data: bytes,
    rows: list[int],
    model: Model,
    trace: Callable[[Step], None] = lambda _: None,
    escapes_last: bool = False,
) -> list[int]:
    return decode_integers(decoder(data, trace), rows, model, escapes_last)


def decode_detail(data: bytes, step_index: int, model: Model) -> list[list[list[list[int]]]]:
    """Integers of every map, [map][channel][row][column]; `model` has maps and boosts too."""
    read, maps, k = decoder(data, lambda _: None), [], 0
    total = sum(channels for channels, _ in model["maps"])
    used = read(classes_of({"classes": total + 1}))
    for channels, size in model["maps"]:
        coarser = [
            [
                sum(
                    abs(channel[y * len(channel) // size][x * len(channel) // size])
                    for earlier in maps
                    for channel in earlier
                )
                for x in range(size)
            ]
            for y in range(size)
        ]
        maps.append([])
        for _ in range(channels):
            choice = read(classes_of({"classes": 4})) if k < used else 0
            values = [[0] * size for _ in range(size)]
            for half in (0, 1) if choice else ():
                for y, x in ((y, x) for y in range(size) for x in range(size)):
                    if (y + x) % 2 != half:
                        continue
                    near = sum_around(values, y, x) if half else 0
                    stronger = sum(
                        2 * abs(channel[y][x]) + sum_around(channel, y, x) for channel in maps[-1]
                    )
                    i, j = (near >= 1) + (near >= 2), sum(stronger >= n for n in (1, 3, 6))
                    boost = model["boosts"][half][i][j][(coarser[y][x] >= 1) + (coarser[y][x] >= 3)]
                    a = model["scales"][k] + model["slopes"][k] * step_index // 256
                    ratio = a + step_index + boost + 8 * (choice - 2) - model["first_ratio"]
                    stride = model["ratio_stride"]
                    row = min(
                        max((ratio + stride // 2) // stride, 0), len(model["frequencies"]) - 1
                    )
                    values[y][x] = decode_integers(read, [row], model, False)[0]
            maps[-1].append(values)
            k += 1
    return maps


def sum_around(values: list[list[int]], y: int, x: int) -> int:
    size = len(values)
    return sum(
        abs(values[b][a])
        for b, a in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
        if 0 <= b < size and 0 <= a < size
    )


def decode_integers(
    read: Callable[..., Any], rows: list[int], model: Model, escapes_last: bool
) -> list[int]:
    largest = len(model["frequencies"][0]) // 2 - 1
    symbols: Any = (read(alphabet(model, row)) for row in rows)
    if escapes_last:
        symbols = list(symbols)
    return [decode_escape(read, largest) if q is ESCAPE else q for q in symbols]


def decode_escape(read: Callable[[list[tuple[Any, int]]], Any], largest: int) -> int:
    b = 0
    while read(FAIR):
        b += 1
        check(b <= 30)
    v = 1
    for _ in range(b):
        v = 2 * v + read(FAIR)
    check(largest + v <= 2**31 - 1)
    return -(largest + v) if read(FAIR) else largest + v


def decoder(data: bytes, trace: Callable[[Step], None]) -> Callable[[list[tuple[Any, int]]], Any]:
    """A function that decodes the next symbol, given the (symbol, frequency) there are."""
    span, point, at = 2**64 - 1, int.from_bytes(data[:8].ljust(8, b"\0"), "big"), 8

    def read(symbols: list[tuple[Any, int]]) -> Any:
        nonlocal span, point, at
        scale = span >> 24
        quantile = point // scale
        check(quantile < 1 << 24)
        index = cumulative = 0
        while quantile >= cumulative + symbols[index][1]:
            cumulative, index = cumulative + symbols[index][1], index + 1
        symbol, frequency = symbols[index]
        trace(Step(point, span, quantile, symbol))
        point -= scale * cumulative
        span = scale * frequency
        if span < 1 << 32:
            span <<= 32
            point = (point << 32) + int.from_bytes(data[at : at + 4].ljust(4, b"\0"), "big")
            at += 4
        return symbol

    return read


def encode_payload(
    integers: list[int], rows: list[int], model: Model, class_index: int | None = None
) -> bytes:
    largest = len(model["frequencies"][0]) // 2 - 1
    low, span, digits = 0, 2**64 - 1, 8
    first = [] if class_index is None else [(class_index, classes_of(model))]
    for symbol, symbols in [*first, *coded(integers, rows, model, largest)]:
        scale = span >> 24
        index = [candidate for candidate, _ in symbols].index(symbol)
        low += scale * sum(frequency for _, frequency in symbols[:index])
        span = scale * symbols[index][1]
        if span < 1 << 32:
            low, span, digits = low << 32, span << 32, digits + 4
    for length in range(digits + 1):
        unit = 256 ** (digits - length)
        x = -(-low // unit)
        if x * unit < low + span:
            return x.to_bytes(length, "big")
    raise AssertionError("an interval holds a whole number")


def coded(
    integers: list[int], rows: list[int], model: Model, largest: int
) -> Iterator[tuple[int | None, list[tuple[Any, int]]]]:
    for q, row in zip(integers, rows, strict=True):
        yield (q if abs(q) <= largest else ESCAPE), alphabet(model, row)
        if abs(q) > largest:
            v = bin(abs(q) - largest)[2:]
            for bit in "1" * (len(v) - 1) + "0" + v[1:] + ("1" if q < 0 else "0"):
                yield int(bit), FAIR


def read_length(rest: Iterator[int]) -> int:
    length = 0
    while (byte := take(rest, 1)[0]) == 255:
        length += 255
    return length + byte


def read_options(rest: Iterator[int]) -> dict[int, bytes]:
    options: dict[int, bytes] = {}
    while tag := take(rest, 1)[0]:
        check(all(tag > earlier for earlier in options))
        options[tag] = take(rest, read_length(rest))
    return options


def read_size(value: bytes) -> tuple[int, int]:
    check(len(value) == 4)
    width, height = value[0] << 8 | value[1], value[2] << 8 | value[3]
    check(width > 0 and height > 0)
    return width, height


def take(rest: Iterator[int], count: int) -> bytes:
    taken = bytes(islice(rest, count))
    check(len(taken) == count)
    return taken


def check(condition: bool) -> None:
    if not condition:
        raise Refused
