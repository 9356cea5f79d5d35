"""A reader of .ivca archives in plain Python, written from docs/format.md alone."""

import hashlib
import zlib
from collections.abc import Iterator


def read_archive(data: bytes) -> dict[str, bytes]:
    """The .ivc files of a whole, undamaged archive by name. Any fault is an AssertionError."""
    return {name: file for name, (file, _) in read_members(data).items()}


def read_members(data: bytes) -> dict[str, tuple[bytes, int | None]]:
    """The .ivc files and the times of their originals by name."""
    assert take(data, 0, 4) == bytes.fromhex("c9415601")
    assert crc(data[:4]) == take(data, 4, 4)
    files: dict[str, tuple[bytes, int | None]] = {}
    at = 8
    while at < len(data):
        at, members = read_block(data, at)
        for name, file, time in members:
            assert name not in files
            files[name] = file, time
    return files


def read_block(data: bytes, at: int) -> tuple[int, list[tuple[str, bytes, int | None]]]:
    start, count, digest = take(data, at, 21), number(data, at + 2, 3), take(data, at + 5, 16)
    assert start[:2] == b"\xc9B"
    assert crc(start) == take(data, at + 21, 4)
    assert count >= 1
    at += 25
    table = take(data, at, 7 * count)
    assert crc(table) == take(data, at + 7 * count, 4)
    at += 7 * count + 4
    pages = []
    for row in range(count):
        size = number(table, 7 * row + 1, 2)
        page = take(data, at, size)
        assert crc(page) == take(data, at + size, 4)
        at += size + 4
        pages.append(read_page(page, table[7 * row] + 1))
    members = []
    for row, page_members in enumerate(pages):
        first = at
        for name, head, size, time in page_members:
            members.append((name, head + take(data, at, size), time))
            at += size
        assert at - first == number(table, 7 * row + 3, 4)
    hashed = hashlib.sha256()
    for name, file, _ in members:
        hashed.update(name.encode() + b"\0" + len(file).to_bytes(4, "big") + file)
    assert hashed.digest()[:16] == digest
    return at, members


def read_page(page: bytes, count: int) -> list[tuple[str, bytes, int, int | None]]:
    """Name, file without its payload, bytes of the payload, and time of each member."""
    kinds, at = [], 1
    for _ in range(page[0] + 1):
        head = take(page, at, 5)
        size, at = length(page, at + 5)
        prefix = take(page, at, size)
        at += size
        kinds.append((head, prefix, number(page, at, 3), *take(page, at + 3, 3)))
        at += 6
    names, at = read_names(page, at, count)
    bits = "".join(f"{byte:08b}" for byte in page[at:])
    read = 0

    def value(width: int) -> int:
        nonlocal read
        read += width
        return int("0" + bits[read - width : read], 2)

    fields = []
    for _ in range(count):
        head, prefix, least, length_bits, first_step, step_bits = kinds[value(page[0].bit_length())]
        size = least + value(length_bits)
        fields.append((head, prefix, size, first_step + value(step_bits)))
    at += -(-read // 8)
    times: list[int | None] = [None] * count
    if at + 2 * count < len(page):
        assert page[at + 2 * count] == 1  # no other field is defined yet
        size, start = length(page, at + 2 * count + 1)
        assert start + size == len(page)
        times = read_times(page[start:], count)
    found = []
    for order, (name, (head, prefix, size, step)) in enumerate(zip(names, fields, strict=True)):
        check = take(page, at + 2 * order, 2)
        file = b"\xc9V" + head + bytes([step]) + check + prefix
        found.append((name, file, size, times[order]))
    return found


def read_times(field: bytes, count: int) -> list[int | None]:
    order, time = take(field, 0, 1)[0] % 128, number(field, 1, 5)
    assert order <= 39
    bits = "".join(f"{byte:08b}" for byte in field[6:])
    known = [True] * count
    read, found = 0, list[int | None]()
    for at in range(count):
        if field[0] >= 128:
            known[at] = bits[read] == "1"
            read += 1
        if known[at] and any(known[:at]):
            zeros = bits.index("1", read) - read
            read += zeros
            coded = int(bits[read : read + zeros + order + 1], 2) - 2**order
            read += zeros + order + 1
            time += coded // 2 if coded % 2 == 0 else -(coded + 1) // 2
        assert 0 <= time <= 253402300799
        found.append(time if known[at] else None)
    assert any(known)
    assert len(field) == 6 + -(-read // 8)
    return found


def read_names(page: bytes, at: int, count: int) -> tuple[list[str], int]:
    form = page[at]
    size, at = length(page, at + 1)
    text, end = take(page, at, size), at + size
    if form == 1:
        text = zlib.decompress(text, -15)
    else:
        assert form == 0
    lengths, at = [], count
    for _ in range(count):
        size, at = length(text, at)
        lengths.append(size)
    names, before = [], b""
    for order in range(count):
        before = take(before, 0, text[order]) + take(text, at, lengths[order])
        at += lengths[order]
        names.append(before.decode())
    assert at == len(text)
    return names, end


def length(data: bytes, at: int) -> tuple[int, int]:
    total = 0
    for byte in iterate(data, at):
        at, total = at + 1, total + byte
        if byte != 255:
            return total, at
    raise AssertionError("a length has no end")


def iterate(data: bytes, at: int) -> Iterator[int]:
    return iter(data[at:])


def number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(take(data, at, size), "big")


def take(data: bytes, at: int, size: int) -> bytes:
    assert at + size <= len(data)
    return data[at : at + size]


def crc(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")
