"""The archive's bytes: what goes in comes out, damage is found, nothing hostile gets through."""

import io
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invcomp.bitstream import IvcFile
from invcomp.bitstream.crc import mended, with_crc
from invcomp.bitstream.ivca import Contents, header, read_file
from invcomp.bitstream.names import fault_of, pack_names, unpack_names
from invcomp.bitstream.pages import Outline, pack_page, unpack_page
from invcomp.bitstream.source import Source
from invcomp.errors import BitstreamError, VersionError

from ..archive.sets import BUNDLES, file_of, mixed, opened, packed, unfinished
from .reference_archive import read_archive


def readable(source: Source, contents: Contents) -> dict[str, bytes]:
    found = {}
    for member in contents.members:
        try:
            found[member.name] = read_file(source, member)
        except BitstreamError:
            continue
    return found


def files_in(data: bytes) -> dict[str, bytes]:
    """The readable members."""
    return readable(*opened(data))


@pytest.mark.parametrize("count", [0, 1, 2, 40, 253, 254, 700])
def test_what_goes_in_comes_out(count: int) -> None:
    files = mixed(count)
    for data in (packed(files), unfinished(files)):
        assert files_in(data) == files
        assert [*files_in(data)] == [*files]  # in this order
        assert read_archive(data) == files
        _, contents = opened(data)
        assert (contents.damage, contents.cut) == ([], 0)


def test_an_empty_archive() -> None:
    assert files_in(header()) == read_archive(header()) == {}
    for size in range(8):
        assert files_in(header()[:size]) == {}  # one that has just been begun


def test_each_member_is_stored_in_four_bytes_besides_payload_and_name() -> None:
    """Alike members share all they can: the original's size too."""
    files = {f"{number:05}": file_of(number, size=(512, 640)) for number in range(256)}
    plain = packed(files)
    names = len(pack_names([*files]))
    payloads = sum(len(file) - 17 for file in files.values())  # without header and options
    fixed = 63 - 2 + 7  # docs/format.md; the two bytes are in `names`, the prefix has seven
    assert fixed < len(plain) - payloads - names <= fixed + 4 * 256
    one, two = packed({"a": file_of(1)}), packed({"a": file_of(1), "b": file_of(2)})
    assert len(one) == 63 + (1 + 1 + 1) + 2 + (len(file_of(1)) - 10)
    assert len(two) - len(one) <= 3 + 4 + len(file_of(2)) - 10


def test_members_of_two_qualities_are_told_apart() -> None:
    """Their kind is listed twice, so that sizes need 3 bits, not 11."""
    files = {}
    for number in range(100):
        step, size = ((60, 100), (130, 2000))[number % 2]
        file = IvcFile(BUNDLES[0], step, (random.Random(number).randbytes(size + number % 8),))
        files[f"{number:02}"] = file.pack()
    data = packed(files)
    assert files_in(data) == read_archive(data) == files
    _, contents = opened(data)
    rest = len(data) - sum(member.length for member in contents.members)
    assert rest == 63 + 12 + (len(pack_names([*files])) - 2) + 2 * 100 + (1 + 3) * 100 // 8


def test_many_members_have_few_pages() -> None:
    files = {f"{number:05}": file_of(number) for number in range(3000)}
    payloads = sum(len(file) - 10 for file in files.values())
    assert len(packed(files)) - payloads < 3000 * (4 + 1.5)  # with their names


# Damage -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [packed, unfinished])
def test_every_flipped_bit_is_found_and_costs_one_member_at_most(form) -> None:  # type: ignore[no-untyped-def]
    files = {name: file for name, file in mixed(3).items() if not name.startswith("fall")}
    data = form(files)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        source, contents = opened(bytes(damaged))
        found = readable(source, contents)
        lost = files.keys() - found.keys()
        assert len(lost) <= 1
        assert {name: files[name] for name in found} == found
        assert len(contents.damage) + len(lost) >= 1  # something is said
        assert not (contents.damage and lost)  # a directory is put right


def test_a_crc_finds_which_bit_was_flipped() -> None:
    for size in (0, 1, 13, 400):
        data = random.Random(size).randbytes(size)
        coded = with_crc(data)
        assert mended(coded) == data
        for bit in range(8 * len(coded)):
            damaged = bytearray(coded)
            damaged[bit // 8] ^= 1 << bit % 8
            assert mended(bytes(damaged)) == data
    damaged = bytearray(with_crc(bytes(1000)))
    damaged[3:9] = b"damage"
    assert mended(bytes(damaged)) is None
    assert mended(b"abc") is None


def test_a_damaged_page_takes_its_own_members_only() -> None:
    files = mixed(600)
    data = bytearray(packed(files))
    page = 8 + 25 + 3 * 7 + 4
    data[page + 100 : page + 140] = bytes(40)
    found = files_in(bytes(data))
    assert [*found] == [*files][256:]
    _, contents = opened(bytes(data))
    assert contents.damage == ["the directory of members 1 to 256 is damaged: they are lost"]


def test_a_damaged_block_takes_no_other_with_it() -> None:
    files = mixed(5)
    data = bytearray(unfinished(files))
    _, contents = opened(bytes(data))
    third = contents.blocks[2]
    data[third.start : third.start + 12] = bytes(12)
    found = files_in(bytes(data))
    assert [*found] == [name for at, name in enumerate(files) if at != 2]
    _, contents = opened(bytes(data))
    (line,) = contents.damage
    assert f"{third.end - third.start} bytes from byte {third.start} on" in line


@pytest.mark.parametrize("form", [packed, unfinished])
def test_cut_at_any_point_the_members_before_it_are_readable(form) -> None:  # type: ignore[no-untyped-def]
    files = mixed(12)
    data = form(files)
    _, whole = opened(data)
    ends = [member.offset + member.length for member in whole.members]
    directory = 0 if form is unfinished else whole.members[0].offset
    for size in range(len(header()), len(data)):
        source, contents = opened(data[:size])
        found = readable(source, contents)
        complete = sum(end <= size for end in ends) if size >= directory else 0
        assert [*found] == [*files][:complete]
        assert contents.damage == []
        starts = {len(header()), *ends}
        assert contents.cut or (form is unfinished and size in starts) or size == 8


# Hostile archives ---------------------------------------------------------------------------------

BAD_NAMES = [
    "", "/etc/passwd", "//a", "a//b", "a/", ".", "..", "../a", "a/../b", "a/..", "...", "a/. ./b",
    "a\\b", "..\\a", "C:", "c:/a", "z:a", "nul", "NUL", "a/Con.txt", "com1", "LPT9.x.y", "aux .b",
    "COM¹", "conin$", "a\0b", "a\nb", "\x1b[2J", "a\x7f", "a\x85", "a\u202eb", "\u2066", "a\u2028",
    "x" * 256, "/".join(["abcdefg"] * 129), "\udc80",
]  # fmt: skip
GOOD_NAMES = [
    "a", "a/b/c", ".hidden", "a..b", "..a", "a...", "J. R.", " a", "12:30", "console", "com",
    "com10", "null", "ünï/名前/😀", "x" * 255, "a b", "-rf", "*?", "lpt/x",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES, ids=range(len(BAD_NAMES)))
def test_a_name_that_is_no_plain_path_is_refused(name: str) -> None:
    assert fault_of(name)
    if "\udc80" not in name:
        with pytest.raises(BitstreamError, match="name"):
            opened(packed({"a": file_of(1), name: file_of(2)}))


@pytest.mark.parametrize("name", GOOD_NAMES, ids=range(len(GOOD_NAMES)))
def test_a_plain_path_is_allowed(name: str) -> None:
    assert fault_of(name) is None
    assert files_in(packed({name: file_of(1)})) == {name: file_of(1)}


def test_two_members_of_one_name_are_refused() -> None:
    for form in (packed, unfinished):
        one, two = form({"a": file_of(1)}), form({"a": file_of(2)})
        with pytest.raises(BitstreamError, match="two members"):
            opened(one + two[len(header()) :])


def test_other_files_and_later_versions() -> None:
    for data in (b"", header()[:3]):
        assert files_in(data) == {}
    for data in (b"PK\3\4", file_of(1), bytes(100), b"\xc9AVx", b"\xc9AV\1abcdefgh"):
        with pytest.raises(BitstreamError, match=r"not an \.ivca"):
            opened(data)
    with pytest.raises(VersionError, match="version 2 is newer"):
        opened(with_crc(b"\xc9AV\2") + b"whatever")
    with pytest.raises(BitstreamError, match="version 0"):
        opened(with_crc(b"\xc9AV\0"))


def test_further_fields_are_skipped_or_must_be_known() -> None:
    page, _ = pack_page([Outline.of("a", file_of(1))])
    plain = unpack_page(page, 1)
    assert unpack_page(page + b"\x05\x02ab\x7f\x00", 1) == plain
    with pytest.raises(VersionError, match="field 128"):
        unpack_page(page + b"\x05\x00\x80\x00", 1)
    for bad in (b"\x05\x00\x05\x00", b"\x00\x00", b"\x05\x03ab", b"\x05"):
        with pytest.raises(BitstreamError):
            unpack_page(page + bad, 1)


def repaired(data: bytes) -> bytes:
    """With right CRCs, as far as its sizes make sense: what lies behind them is reached."""
    fixed = bytearray(data)

    def mend(at: int, size: int) -> None:
        fixed[at + size : at + size + 4] = zlib.crc32(fixed[at : at + size]).to_bytes(4, "big")

    mend(0, 4)
    mend(8, 21)
    pages = min(int.from_bytes(fixed[10:13], "big"), 50)
    mend(33, 7 * pages)
    at = 33 + 7 * pages + 4
    for page in range(pages):
        size = int.from_bytes(fixed[33 + 7 * page :][1:3], "big")
        mend(at, size)
        at += size + 4
    return bytes(fixed[: len(data)])


def test_mutated_archives_raise_nothing_else() -> None:
    source = random.Random(5)
    archives = [packed(mixed(count)) for count in (0, 5, 30)] + [unfinished(mixed(9))]
    refused = 0
    tracemalloc.start()
    for number in range(1500):
        data = bytearray(archives[number % len(archives)])
        for _ in range(source.randrange(1, 6)):
            at = source.randrange(min(len(data), source.choice((45, 200, 10**6))))
            data[at] = source.choice((0, 255, source.randrange(256)))
        if source.random() < 0.2:
            del data[source.randrange(len(data)) :]
        try:
            files_in(repaired(bytes(data)))
        except BitstreamError:
            refused += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 300 < refused < 1500
    assert peak < 16 << 20


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_else(noise: bytes) -> None:
    for data in (header() + noise, header() + repaired(header() + b"\xc9B\0\0\1" + noise)[8:]):
        try:
            files_in(data)
        except BitstreamError:
            continue
    try:
        unpack_page(noise, 1 + len(noise) % 256)
    except BitstreamError:
        return


def test_names_that_inflate_to_much_are_refused() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(1 << 26)) + packer.flush()
    coded = b"\1" + b"\xff" * (len(bomb) // 255) + bytes([len(bomb) % 255]) + bomb
    tracemalloc.start()
    with pytest.raises(BitstreamError, match="inflated"):
        unpack_names(coded, 0, 256)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_header_that_claims_much_reserves_nothing() -> None:
    huge = with_crc(b"\xc9B\xff\xff\xff" + bytes(16))
    tracemalloc.start()
    for tail in (b"", bytes(1000), huge * 100):
        _, contents = opened(header() + huge + tail)
        assert contents.members == []
        assert contents.cut
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@given(st.lists(st.text("ab/é", min_size=1, max_size=600), max_size=50, unique=True))
def test_names_are_coded_in_order(names: list[str]) -> None:
    allowed = [name for name in names if fault_of(name) is None]
    while sum(len(name.encode()) + 6 for name in allowed) > 1 << 15:
        allowed.pop()
    coded = pack_names(allowed)
    assert unpack_names(b"x" + coded + b"y", 1, len(allowed)) == (allowed, len(coded) + 1)


# Reading ------------------------------------------------------------------------------------------


class Counting(io.BytesIO):
    """Counts what is read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.ranges = list[int]()

    def read(self, size: int | None = -1) -> bytes:
        self.ranges.append(size or 0)
        return super().read(size)


@pytest.mark.parametrize(("count", "most"), [(10, 1), (2000, 2), (12000, 3)])
def test_one_member_of_many_costs_few_ranges(count: int, most: int) -> None:
    files = {f"{number:06}": file_of(number, BUNDLES[number % 2]) for number in range(count)}
    data = Counting(packed(files))
    source = Source(data)
    contents = Contents(source)
    assert read_file(source, contents.members[-5]) == [*files.values()][-5]
    assert len(data.ranges) <= most
