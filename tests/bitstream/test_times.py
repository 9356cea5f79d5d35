"""Times of members: what goes in comes out, few bytes are needed, nothing hostile gets through."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invcomp.bitstream.pages import Outline, pack_page, unpack_page
from invcomp.bitstream.times import LATEST_TIME, is_time, pack_times, unpack_times
from invcomp.errors import BitstreamError

from ..archive.sets import file_of, mixed, packed, unfinished
from .reference_archive import read_members, read_times

TIMES = st.lists(st.none() | st.integers(0, LATEST_TIME), min_size=1, max_size=256)


@given(TIMES.filter(lambda times: times.count(None) < len(times)))
def test_what_goes_in_comes_out(times: list[int | None]) -> None:
    field = pack_times(times)
    assert unpack_times(field, len(times)) == read_times(field, len(times)) == times


def test_the_times_at_both_ends() -> None:
    assert is_time(0)
    assert is_time(LATEST_TIME)
    assert not is_time(-1)
    assert not is_time(LATEST_TIME + 1)
    ends: list[int | None] = [0, LATEST_TIME]
    for times in (ends[:1], ends[1:], ends * 128, [None, 0], [None] * 255 + [7]):
        assert unpack_times(pack_times(times), len(times)) == times


def test_photographs_of_one_session_cost_a_byte_each() -> None:
    source, time, times = random.Random(4), 1_700_000_000, list[int | None]()
    for _ in range(256):
        time += int(source.expovariate(1 / 10))
        times.append(time)
    assert len(pack_times(times)) < 256
    assert len(pack_times([time] * 256)) == 6 + 32  # a bit each
    assert len(pack_times([time])) == 6


def test_in_archives_of_every_form() -> None:
    files = mixed(300)
    times = {name: 1_600_000_000 + 77 * at for at, name in enumerate(files) if at % 3}
    wanted = {name: (file, times.get(name)) for name, file in files.items()}
    for data in (packed(files, times), unfinished(files, times)):
        assert read_members(data) == wanted


def field_of(head: int, base: int, bits: str = "") -> bytes:
    """A field of times, with the bits that follow its first time."""
    bits += "0" * (-len(bits) % 8)
    rest = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    return bytes([head]) + base.to_bytes(5, "big") + rest


@pytest.mark.parametrize(
    ("field", "says"),
    [
        (b"", "too early"),
        (field_of(0, 5)[:-1], "too early"),
        (field_of(0, 5), "too early"),  # the second member has no bits
        (field_of(40, 5, "1" * 48), "no sense"),
        (field_of(127, 5, "1" * 48), "no sense"),
        (field_of(0, LATEST_TIME + 1, "1"), "before 1970 or after 9999"),
        (field_of(0, (1 << 40) - 1, "1"), "before 1970 or after 9999"),
        (field_of(0, LATEST_TIME, "011"), "before 1970 or after 9999"),  # a second later
        (field_of(0, 0, "010"), "before 1970 or after 9999"),  # a second earlier
        (field_of(0, 5, "0" * 80), "no sense"),
        (field_of(39, 5, "0" + "1" * 79), "no sense"),
        (field_of(0, 5, "1") + b"\0", "no sense"),
        (field_of(128, 5, "00"), "no sense"),  # no member has one
    ],
)
def test_times_that_make_no_sense(field: bytes, says: str) -> None:
    with pytest.raises(BitstreamError, match=says):
        unpack_times(field, 2)
    page, _ = pack_page([Outline.of(name, file_of(at)) for at, name in enumerate("ab")])
    with pytest.raises(BitstreamError, match=says):
        unpack_page(page + bytes([1, len(field)]) + field, 2)


@given(st.binary(max_size=40), st.integers(1, 256))
def test_random_bytes_raise_nothing_else(noise: bytes, count: int) -> None:
    try:
        times = unpack_times(noise, count)
    except BitstreamError:
        return
    assert len(times) == count
    assert all(time is None or is_time(time) for time in times)
