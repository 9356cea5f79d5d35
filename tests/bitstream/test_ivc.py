import dataclasses
import json
import re
import runpy
from binascii import crc_hqx
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invcomp import errors
from invcomp.bitstream import IvcFile, decode, encode
from invcomp.entropy.tables import PriorTables
from invcomp.errors import BitstreamError, ImageError, OptionError, VersionError

from . import reference
from .strategies import as_model, integers, realistic_integers, realistic_tables, tables

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
FORMAT = (ROOT / "docs" / "format.md").read_text()
FINGERPRINT = bytes.fromhex("0badcafe")

sides = st.integers(1, 65535)
sizes = st.none() | st.tuples(sides, sides)


def tables_of(model: dict[str, Any]) -> PriorTables:
    return PriorTables(
        frequencies=np.array(model["frequencies"], dtype=np.uint32),
        first_ratio=model["first_ratio"],
        ratio_stride=model["ratio_stride"],
        scales=np.array(model["scales"], dtype=np.int16),
        segment_ends=tuple(model["segment_ends"]),
        classes=model.get("classes", 1),
        slopes=np.array(model["slopes"], dtype=np.int16) if "slopes" in model else None,
    )


def sealed(data: bytes) -> bytes:
    return data[:8] + crc_hqx(data[:8] + data[10:], 0xFFFF).to_bytes(2, "big") + data[10:]


def overhead_of(file: IvcFile) -> float:
    """With which it is coded again to as many segments."""
    return -1.0 if len(file.segments) == 1 else 1.0


def realistic_file(step_index: int, seed: int) -> bytes:
    prior = realistic_tables()
    values = realistic_integers(prior, step_index, np.random.default_rng(seed))
    return encode(values, step_index, prior, FINGERPRINT)


def test_vectors_are_what_the_script_writes() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "make_vectors.py"))
    assert script["text"]() == script["PATH"].read_text()


@pytest.mark.parametrize("vector", VECTORS["files"], ids=lambda vector: vector["name"])
def test_good_vectors(vector: dict[str, Any]) -> None:
    model, data = VECTORS["models"][vector["model"]], bytes.fromhex(vector["file"])
    size = vector["original_size"] and tuple(vector["original_size"])
    file = IvcFile.unpack(data)
    assert (file.fingerprint, file.step_index) == (FINGERPRINT, vector["step_index"])
    assert file.original_size == size
    class_index = vector.get("class", 0)
    decoded = decode(file, tables_of(model))
    assert (decoded.integers.tolist(), decoded.class_index) == (vector["integers"], class_index)
    assert reference.decode_file(data, model) == {
        "fingerprint": FINGERPRINT,
        "step_index": vector["step_index"],
        "original_size": size,
        "segments": list(file.segments),
        "class": class_index,
        "integers": vector["integers"],
    }
    if vector["name"] != "unknown option":
        values = np.array(vector["integers"])
        step, overhead = vector["step_index"], overhead_of(file)
        again = encode(values, step, tables_of(model), FINGERPRINT, size, class_index, overhead)
        assert again.hex() == vector["file"]


@pytest.mark.parametrize("vector", VECTORS["bad_files"], ids=lambda vector: vector["name"])
def test_bad_vectors(vector: dict[str, Any]) -> None:
    model, data = VECTORS["models"][vector["model"]], bytes.fromhex(vector["file"])
    with pytest.raises(getattr(errors, vector["error"]), match=vector["says"]) as caught:
        decode(IvcFile.unpack(data), tables_of(model))
    assert type(caught.value) is getattr(errors, vector["error"])
    if "shortest" not in vector["says"]:  # which a reader may, but need not refuse
        with pytest.raises(reference.Refused):
            reference.decode_file(data, model)


def test_the_long_vectors_have_long_lengths() -> None:
    files = {vector["name"]: bytes.fromhex(vector["file"]) for vector in VECTORS["files"]}
    assert files["segment of 255 bytes"][10:12] == b"\xff\x00"
    assert files["segment past 254 bytes"][10:13] == b"\xff\xff\x1c"


@given(st.data())
def test_round_trip_and_the_reference_agrees(data: st.DataObject) -> None:
    prior, step_index, size = data.draw(tables()), data.draw(st.integers(0, 255)), data.draw(sizes)
    values = data.draw(integers(len(prior.scales)))
    class_index = data.draw(st.integers(0, prior.classes - 1))
    overhead = data.draw(st.sampled_from([-1.0, 0.03, 1.0]))
    packed = encode(np.array(values), step_index, prior, b"abcd", size, class_index, overhead)
    file = IvcFile.unpack(packed)
    assert file.pack() == packed
    decoded = decode(file, prior)
    assert (decoded.integers.tolist(), decoded.class_index) == (values, class_index)
    assert reference.decode_file(packed, as_model(prior)) == {
        "fingerprint": b"abcd",
        "step_index": step_index,
        "original_size": size,
        "segments": list(file.segments),
        "class": class_index,
        "integers": values,
    }


@given(st.lists(st.binary(max_size=1100), min_size=1, max_size=8), st.integers(0, 255), sizes)
def test_any_segments_pack(segments: list[bytes], step: int, size: tuple[int, int] | None) -> None:
    file = IvcFile(b"\0\xff\x00\x01", step, tuple(segments), size)
    assert IvcFile.unpack(file.pack()) == file


def test_twelve_bytes_besides_the_payload() -> None:
    data = realistic_file(60, 0)
    assert len(data) - sum(map(len, IvcFile.unpack(data).segments)) == 12


@pytest.mark.parametrize("step_index", [20, 40, 60, 80, 100, 120])
def test_whole_files_are_near_the_ideal(step_index: int) -> None:
    prior, random = realistic_tables(), np.random.default_rng(step_index)
    for _ in range(20):
        values = realistic_integers(prior, step_index, random)
        ideal = prior.code_length(values, step_index).sum() / 8
        assert len(encode(values, step_index, prior, FINGERPRINT)) <= 12 + 1.03 * ideal + 2


def test_leading_segments_alone() -> None:
    prior, file = realistic_tables(), IvcFile.unpack(realistic_file(80, 1))
    whole, _ = decode(file, prior)
    for count, end in enumerate([0, 32, 160, 700]):
        part, _ = decode(file, prior, segments=count)
        assert (part[:end] == whole[:end]).all()
        assert not part[end:].any()
    for count in (-1, 4):
        with pytest.raises(OptionError, match="the file has 3"):
            decode(file, prior, segments=count)


def test_the_beginning_of_a_file() -> None:
    prior, data = realistic_tables(), realistic_file(80, 1)
    file = IvcFile.unpack(data)
    ends = np.cumsum([len(data) - sum(map(len, file.segments)), *map(len, file.segments)])
    for first in range(ends[0], len(data) + 1):
        whole = sum(end <= first for end in ends[1:])
        assert (IvcFile.unpack(data, first).segments) == file.segments[:whole]
        # what is really cut cannot know where its last segment ends, nor be verified
        cut = IvcFile.unpack(data[:first], first) if first < len(data) else file
        assert cut.segments == file.segments[:whole]
        assert len(cut.segments) + cut.missing == 3
        assert (
            decode(cut, prior, segments=whole).integers
            == decode(file, prior, segments=whole).integers
        ).all()
        with pytest.raises(BitstreamError, match=r"truncated|cut short"):
            IvcFile.unpack(data[:first] if first < len(data) else data[:-1])
    assert IvcFile.unpack(data, len(data) + 9) == file


def test_every_byte_of_a_beginning_brings_more() -> None:
    prior, data = realistic_tables(), realistic_file(80, 1)
    whole = decode(IvcFile.unpack(data), prior).integers
    wrong = []
    for first in range(12, len(data) + 1):
        found = decode(IvcFile.unpack(data[:first], first), prior).integers
        settled = int(np.flatnonzero(found).max(initial=-1)) + 1
        assert (found[:settled] == whole[:settled]).all()
        wrong.append(int((found != whole).sum()))
    assert wrong == sorted(wrong, reverse=True)
    assert wrong[-1] < 0.02 * len(whole)  # the very last bits: any byte might have followed
    assert len(set(wrong)) > 0.8 * len(wrong)


def test_a_beginning_may_mean_nothing() -> None:
    prior, data = realistic_tables(), realistic_file(80, 1)
    file = IvcFile.unpack(data, 12 + len(IvcFile.unpack(data).segments[0]))
    source = np.random.default_rng(5)
    for size in range(40):
        noise = dataclasses.replace(file, beginning=source.bytes(size))
        assert decode(noise, prior).integers.shape == (700,)


def test_too_little_of_a_file() -> None:
    data = realistic_file(80, 1)
    for first in range(12):
        for some in (data, data[:first]):
            with pytest.raises(BitstreamError, match="truncated"):
                IvcFile.unpack(some, first)
    with pytest.raises(BitstreamError, match="not an"):
        IvcFile.unpack(b"GIF89a" + data, 40)
    with pytest.raises(OptionError, match="-1"):
        IvcFile.unpack(data, -1)


def test_a_header_alone_is_the_mean_picture() -> None:
    file = IvcFile.unpack(realistic_file(80, 1), 12)
    assert (file.segments, file.missing) == ((), 3)
    assert not decode(file, realistic_tables()).integers.any()


@pytest.mark.parametrize("step_index", [10, 40, 60, 100])
def test_segments_cost_no_more_than_they_may(step_index: int) -> None:
    prior = realistic_tables()
    counts = set()
    for seed in range(20):
        values = realistic_integers(prior, step_index, np.random.default_rng(seed))
        sizes = [
            len(encode(values, step_index, prior, FINGERPRINT, overhead=overhead))
            for overhead in (-1.0, 1.0)
        ]
        data = encode(values, step_index, prior, FINGERPRINT, overhead=0.03)
        counts.add(len(IvcFile.unpack(data).segments))
        assert len(data) in sizes
        assert len(data) - sizes[0] <= 0.03 * len(data)
        assert (decode(IvcFile.unpack(data), prior).integers == values).all()
    assert counts == {10: {1}, 40: {1, 3}, 60: {1, 3}, 100: {3}}[step_index]


def test_every_byte_of_one_segment_brings_more() -> None:
    prior = realistic_tables()
    values = realistic_integers(prior, 40, np.random.default_rng(1))
    data = encode(values, 40, prior, FINGERPRINT, overhead=-1.0)
    wrong = [
        int((decode(IvcFile.unpack(data[:first], first), prior).integers != values).sum())
        for first in range(10, len(data) + 1)
    ]
    assert wrong == sorted(wrong, reverse=True)
    assert len(set(wrong)) > 0.7 * len(wrong)


def test_the_beginning_of_a_class() -> None:
    prior = dataclasses.replace(realistic_tables(), classes=1000)
    values = realistic_integers(prior, 80, np.random.default_rng(3))
    data = encode(values, 80, prior, FINGERPRINT, class_index=613)
    found = [decode(IvcFile.unpack(data[:n], n), prior).class_index for n in range(12, 40)]
    assert found[0] == 0
    assert found[1] in (0, 613)
    assert set(found[3:]) == {613}


def test_what_is_missing_is_not_packed() -> None:
    data = realistic_file(80, 1)
    with pytest.raises(ValueError, match="1 segments"):
        IvcFile.unpack(data, len(data) - 1).pack()


def test_a_beginning_of_another_number_of_segments() -> None:
    part = IvcFile.unpack(realistic_file(80, 1), 100)
    assert part.missing
    with pytest.raises(BitstreamError, match="4 segments, its bundle has 3"):
        decode(dataclasses.replace(part, missing=part.missing + 1), realistic_tables())


def test_a_class_costs_its_bits_and_the_first_segment_holds_it() -> None:
    plain = realistic_tables()
    prior = dataclasses.replace(plain, classes=1000)
    excess = []
    for class_index in range(0, 1000, 37):
        values = realistic_integers(prior, 60, np.random.default_rng(class_index))
        file = IvcFile.unpack(encode(values, 60, prior, FINGERPRINT, class_index=class_index))
        without = IvcFile.unpack(encode(values, 60, plain, FINGERPRINT))
        assert file.segments[1:] == without.segments[1:]
        excess.append(len(file.segments[0]) - len(without.segments[0]))
        assert decode(file, prior, segments=1).class_index == class_index
        assert decode(file, prior, segments=0).class_index == 0
    assert np.mean(excess) == pytest.approx(prior.class_bits / 8, abs=0.2)
    assert plain.class_bits == 0


def test_every_change_of_a_byte_is_caught() -> None:
    data = realistic_file(40, 2)
    for position in range(len(data)):
        for change in range(1, 256):
            altered = bytearray(data)
            altered[position] ^= change
            with pytest.raises(BitstreamError):
                IvcFile.unpack(bytes(altered))


def test_random_damage_passes_no_oftener_than_the_checksum_lets_it() -> None:
    """Cut, grown, shuffled or overwritten: 2^-16 of 20,000 files is a third of a file."""
    prior, random = realistic_tables(), np.random.default_rng(3)
    data, silent = realistic_file(60, 3), 0
    for _ in range(20_000):
        start, end = np.sort(random.integers(0, len(data) + 1, 2))
        piece = random.bytes(int(random.integers(0, 9)))
        altered = data[:start] + piece + data[end if random.random() < 0.5 else start :]
        if altered == data:
            continue
        try:
            decode(IvcFile.unpack(altered), prior)
            silent += 1
        except BitstreamError:
            continue
    assert silent <= 3


def test_every_truncation_is_caught() -> None:
    data = realistic_file(80, 4)
    for length in range(len(data)):
        with pytest.raises(BitstreamError, match=r"truncated|cut short"):
            IvcFile.unpack(data[:length])


@given(st.data())
def test_hostile_bytes_with_a_right_checksum(data: st.DataObject) -> None:
    """Past the checksum too there are only clean errors, and what is read is what was written."""
    prior = data.draw(tables())
    layout = data.draw(st.integers(0x10, 0x1F) | st.just(0x10 + len(prior.segment_ends) - 1))
    body = data.draw(st.lists(st.sampled_from([b"\0", b"\1", b"\4", b"\xff"]) | st.binary()))
    packed = sealed(b"\xc9V" + bytes([layout]) + bytes(7) + b"".join(body))
    try:
        file = IvcFile.unpack(packed)
        values, class_index = decode(file, prior)
    except BitstreamError:
        return
    if layout < 0x18:  # without options, which may hold some that are skipped
        again = encode(
            values, file.step_index, prior, file.fingerprint, None, class_index, overhead_of(file)
        )
        assert again == packed


@given(st.binary(max_size=300))
def test_random_bytes(data: bytes) -> None:
    with pytest.raises(BitstreamError, match=r"not an \.ivc file|truncated|altered|newer"):
        IvcFile.unpack(data)


def test_a_long_run_of_length_bytes_ends() -> None:
    with pytest.raises(BitstreamError, match="truncated"):
        IvcFile.unpack(sealed(b"\xc9V\x12" + bytes(7) + b"\xff" * 1_000_000))


def test_fields_that_do_not_fit() -> None:
    with pytest.raises(ImageError, match="70000 x 5"):
        IvcFile(b"abcd", 0, (b"",), (70000, 5))
    with pytest.raises(ImageError, match="0 x 5"):
        IvcFile(b"abcd", 0, (b"",), (0, 5))
    for fields in [(b"abc", 0, (b"",)), (b"abcd", 256, (b"",)), (b"abcd", 0, (b"",) * 9)]:
        with pytest.raises(ValueError, match="file has"):
            IvcFile(*fields)
    with pytest.raises(ValueError, match="version 1"):
        IvcFile(b"abcd", 0, (b"",), version=2)
    with pytest.raises(ValueError, match="do not fit"):
        encode(np.zeros(5, dtype=np.int32), 0, realistic_tables(), b"abcd")
    for prior, class_index in [
        (realistic_tables(), 1),
        (tables_of(VECTORS["models"]["classes"]), 10),
    ]:
        with pytest.raises(ValueError, match="not one of"):
            encode(
                np.zeros(len(prior.scales), dtype=np.int32), 0, prior, b"abcd", None, class_index
            )
    with pytest.raises(OptionError, match="300"):
        encode(np.zeros(700, dtype=np.int32), 300, realistic_tables(), b"abcd")


def test_newer_versions_say_so_whatever_follows() -> None:
    for version in range(2, 16):
        with pytest.raises(VersionError, match=f"version {version} is newer"):
            IvcFile.unpack(b"\xc9V" + bytes([version << 4]) + b"whatever there is")


def block(kind: str) -> str:
    """The block of docs/format.md between ```kind and ```."""
    found = re.findall(rf"^```{kind}\n(.*?)^```$", FORMAT, re.DOTALL | re.MULTILINE)
    assert len(found) == 1
    return found[0]


def example() -> tuple[dict[str, Any], bytes]:
    lines = block("hex").splitlines()
    digits = "".join(re.match(r"(?:[0-9a-f]{2} )*", line).group() for line in lines)
    return json.loads(block("json")), bytes.fromhex(digits)


def test_the_example_in_the_documentation_is_the_first_vector() -> None:
    model, data = example()
    vector = VECTORS["files"][0]
    assert model == VECTORS["models"][vector["model"]]
    assert data.hex() == vector["file"]
    assert f"The integers {', '.join(map(str, vector['integers']))} with" in FORMAT
    assert f"the step index {vector['step_index']} make a file of {len(data)} bytes" in FORMAT
    rows = tables_of(model).rows(vector["step_index"]).tolist()
    assert f"The rows are {', '.join(map(str, rows))}." in FORMAT


def test_the_trace_in_the_documentation() -> None:
    model, data = example()
    file, prior = IvcFile.unpack(data), tables_of(model)
    lines = ["segment row point            range            quantile symbol"]
    for number, (segment, part) in enumerate(zip(file.segments, prior.segments, strict=True), 1):
        steps: list[reference.Step] = []
        rows = prior.rows(file.step_index)[part].tolist()
        reference.decode_segment(segment, rows, model, steps.append)
        for index, step in enumerate(steps):
            row = rows[index] if index < len(rows) else "bit"
            symbol = "escape" if step.symbol is reference.ESCAPE else step.symbol
            lines.append(
                f"{number:<7} {row:<3} {step.point:016x} {step.range:016x}"
                f" {step.quantile:06x}   {symbol}"
            )
    assert block("trace").splitlines() == lines


def test_the_lengths_in_the_documentation() -> None:
    for length, digits in re.findall(r"(\d+) is `([0-9A-F ]+)`", FORMAT):
        packed = IvcFile(b"abcd", 0, (bytes(int(length)), b"")).pack()
        assert packed[10 : -int(length)] == bytes.fromhex(digits)


def test_the_checksum_in_the_documentation() -> None:
    check = int(re.search(r"`123456789` is 0x([0-9A-F]+)", FORMAT).group(1), 16)
    assert crc_hqx(b"123456789", 0xFFFF) == reference.crc16(b"123456789") == check
