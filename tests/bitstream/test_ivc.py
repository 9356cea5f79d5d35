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
from numpy.typing import NDArray

from invcomp import bitstream, errors
from invcomp.bitstream import Decoded, IvcFile, Layer
from invcomp.conventional import read_header, streams
from invcomp.entropy.mixture import LaplaceMixture
from invcomp.entropy.tables import PriorTables
from invcomp.errors import BitstreamError, ImageError, OptionError, VersionError
from invcomp.photo import photo_in

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
        classes=model.get("classes", 1),
        slopes=np.array(model["slopes"], dtype=np.int16) if "slopes" in model else None,
        segment_ends=tuple(model.get("segment_ends", ())),
    )


def encode(
    values: NDArray[np.integer[Any]], step_index: int, prior: PriorTables, *rest: Any, **more: Any
) -> bytes:
    return bitstream.encode(values, step_index, LaplaceMixture(prior), *rest, **more)


def read(data: bytes, prior: PriorTables) -> Decoded:
    """Reads all parts of a file."""
    file = IvcFile.unpack(data)
    photo_in(file)
    return decode(file, prior)


def decode(file: IvcFile, prior: PriorTables) -> Decoded:
    return bitstream.decode(file, LaplaceMixture(prior))


def sealed(data: bytes) -> bytes:
    return data[:8] + crc_hqx(data[:8] + data[10:], 0xFFFF).to_bytes(2, "big") + data[10:]


def realistic_file(step_index: int, seed: int) -> bytes:
    prior = realistic_tables()
    values = realistic_integers(prior, step_index, np.random.default_rng(seed))
    return encode(values, step_index, prior, FINGERPRINT)


def test_vectors_are_what_the_script_writes() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "assets" / "make_vectors.py"))
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
        "payloads": list(file.payloads),
        "layers": [tuple(layer) for layer in file.layers],
        "class": class_index,
        "integers": vector["integers"],
        "padded": file.padded,
        "photo": photo_of(vector),
    }
    assert file.padded == vector.get("padded", False)
    if "photo" in vector:
        more, photo = photo_in(file)
        assert [list(vars(place).values()) for place in photo.places] == vector["photo"]["places"]
        assert photo.stream.hex() == vector["photo"]["stream"]
        assert list(photo.size) == vector["photo"]["size"]
        for coded, expected in zip(more.faces, vector["photo"]["more"], strict=True):
            step = coded.step_index
            face = dataclasses.replace(file, step_index=step, payloads=(coded.payload,))
            assert step == expected["step_index"]
            assert decode(face, tables_of(model)).integers.tolist() == expected["integers"]
    else:
        assert photo_in(file) is None
    if vector["name"] != "unknown option":
        assert file.pack() == data
    if vector["name"] != "unknown option" and not file.layers:
        values, step = np.array(vector["integers"]), vector["step_index"]
        options = {"class_index": class_index, "padded": file.padded}
        assert encode(values, step, tables_of(model), FINGERPRINT, size, **options) == data


def photo_of(vector: dict[str, Any]) -> dict[str, Any] | None:
    if "photo" not in vector:
        return None
    return {**vector["photo"], "size": tuple(vector["photo"]["size"])}


@pytest.mark.parametrize("vector", VECTORS["conventional_files"], ids=lambda vector: vector["name"])
def test_files_without_a_bundle(vector: dict[str, Any]) -> None:
    data, stream = bytes.fromhex(vector["file"]), bytes.fromhex(vector["stream"])
    file = IvcFile.unpack(data)
    assert file.pack() == data
    assert not file.needs_bundle
    assert file.original_size == (vector["original_size"] and tuple(vector["original_size"]))
    assert file.layers == (Layer(129, stream),)
    assert read_header(stream) == (vector["codec"], tuple(vector["size"]))
    codec, size, essence = reference.read_stream(stream)
    assert codec == vector["codec"]
    assert size in (None, tuple(vector["size"]))
    whole = streams.file_of(stream)
    assert essence in whole
    reference.decode_file(data, VECTORS["models"]["example"])
    for first in range(len(data)):
        with pytest.raises(BitstreamError, match="truncated"):
            IvcFile.unpack(data, first)
    assert IvcFile.unpack(data, len(data)) == file


@pytest.mark.parametrize("vector", VECTORS["bad_files"], ids=lambda vector: vector["name"])
def test_bad_vectors(vector: dict[str, Any]) -> None:
    model, data = VECTORS["models"][vector["model"]], bytes.fromhex(vector["file"])
    with pytest.raises(getattr(errors, vector["error"]), match=vector["says"]) as caught:
        read(data, tables_of(model))
    assert type(caught.value) is getattr(errors, vector["error"])
    if "shortest" not in vector["says"]:  # which a reader may, but need not refuse
        with pytest.raises(reference.Refused):
            reference.decode_file(data, model)


def test_vectors_have_layers_of_long_lengths() -> None:
    files = {vector["name"]: bytes.fromhex(vector["file"]) for vector in VECTORS["files"]}
    file = IvcFile.unpack(files["as many layers as there can be"])
    assert [layer.tag for layer in file.layers] == [*range(3, 10)]
    assert max(len(layer.payload) for layer in file.layers) > 254
    assert len(files["payload past 254 bytes"]) > 264


@given(st.data())
def test_round_trip_and_the_reference_agrees(data: st.DataObject) -> None:
    prior, step_index, size = data.draw(tables()), data.draw(st.integers(0, 255)), data.draw(sizes)
    values = data.draw(integers(len(prior.scales)))
    class_index = data.draw(st.integers(0, prior.classes - 1))
    padded = size is not None and data.draw(st.booleans())
    packed = encode(np.array(values), step_index, prior, b"abcd", size, class_index, padded)
    file = IvcFile.unpack(packed)
    assert file.pack() == packed
    assert file.padded == padded
    decoded = decode(file, prior)
    assert (decoded.integers.tolist(), decoded.class_index) == (values, class_index)
    assert reference.decode_file(packed, as_model(prior)) == {
        "fingerprint": b"abcd",
        "step_index": step_index,
        "original_size": size,
        "payloads": list(file.payloads),
        "layers": [],
        "class": class_index,
        "integers": values,
        "padded": padded,
        "photo": None,
    }


layers = st.dictionaries(st.integers(1, 127), st.binary(max_size=1100), max_size=7).map(
    lambda found: tuple(Layer(tag, found[tag]) for tag in sorted(found))
)


@given(st.binary(max_size=1100), layers, st.integers(0, 255), sizes)
def test_any_payload_and_layers_pack(
    payload: bytes, layers: tuple[Layer, ...], step: int, size: tuple[int, int] | None
) -> None:
    file = IvcFile(b"\0\xff\x00\x01", step, (payload,), size, layers)
    assert IvcFile.unpack(file.pack()) == file


def test_ten_bytes_besides_the_payload() -> None:
    data = realistic_file(60, 0)
    assert len(data) - len(IvcFile.unpack(data).payloads[0]) == 10


@pytest.mark.parametrize("step_index", [20, 40, 60, 80, 100, 120])
def test_whole_files_are_near_the_ideal(step_index: int) -> None:
    prior, random = realistic_tables(), np.random.default_rng(step_index)
    for _ in range(20):
        values = realistic_integers(prior, step_index, random)
        ideal = prior.code_length(values, step_index).sum() / 8
        assert len(encode(values, step_index, prior, FINGERPRINT)) <= 10 + 1.001 * ideal + 1


def test_the_beginning_of_a_file() -> None:
    prior, data = realistic_tables(), realistic_file(80, 1)
    for first in range(10, len(data)):
        file = IvcFile.unpack(data, first)
        assert (file.payloads, file.missing, file.beginning) == ((), 1, data[10:first])
        # what is really cut decodes to the same, though it cannot be verified
        cut = IvcFile.unpack(data[:first], first)
        assert cut == file
        with pytest.raises(BitstreamError, match=r"truncated|cut short"):
            IvcFile.unpack(data[:first])
    whole = IvcFile.unpack(data)
    assert IvcFile.unpack(data, len(data) + 9) == whole
    assert not decode(IvcFile.unpack(data, 10), prior).integers.any()


def test_the_beginning_of_a_file_with_layers() -> None:
    prior, plain = realistic_tables(), IvcFile.unpack(realistic_file(80, 1))
    layers = (Layer(3, b"three" * 60), Layer(9, b"nine"))
    file = dataclasses.replace(plain, layers=layers)
    data, payload = file.pack(), len(plain.payloads[0])
    start = len(data) - payload - sum(len(layer.payload) for layer in layers)
    for first in range(start, len(data) + 1):
        for some in (data, data[:first]):
            found = IvcFile.unpack(some, first)
            assert bool(found.missing) == (first < start + payload)
            # where the last layer of a cut file ends, nobody knows
            least = [start + payload + 300, len(data) if some == data else len(data) + 1]
            assert found.layers == layers[: sum(first >= end for end in least)]
            if not found.missing:
                assert (decode(found, prior).integers == decode(plain, prior).integers).all()


def test_every_byte_of_a_beginning_brings_more() -> None:
    prior, data = realistic_tables(), realistic_file(80, 1)
    whole = decode(IvcFile.unpack(data), prior).integers
    wrong = []
    for first in range(10, len(data) + 1):
        found = decode(IvcFile.unpack(data[:first], first), prior).integers
        settled = int(np.flatnonzero(found).max(initial=-1)) + 1
        assert (found[:settled] == whole[:settled]).all()
        wrong.append(int((found != whole).sum()))
    assert wrong == sorted(wrong, reverse=True)
    assert wrong[-1] < 0.02 * len(whole)  # the very last bits: any byte might have followed
    assert len(set(wrong)) > 0.8 * len(wrong)


def test_a_beginning_may_mean_nothing() -> None:
    prior, data = realistic_tables(), realistic_file(80, 1)
    file = IvcFile.unpack(data, 12)
    source = np.random.default_rng(5)
    for size in range(40):
        noise = dataclasses.replace(file, beginning=source.bytes(size))
        assert decode(noise, prior).integers.shape == (700,)


def test_too_little_of_a_file() -> None:
    data = realistic_file(80, 1)
    for first in range(10):
        for some in (data, data[:first]):
            with pytest.raises(BitstreamError, match="truncated"):
                IvcFile.unpack(some, first)
    with pytest.raises(BitstreamError, match="not an"):
        IvcFile.unpack(b"GIF89a" + data, 40)
    with pytest.raises(OptionError, match="-1"):
        IvcFile.unpack(data, -1)


def test_a_header_alone_is_the_mean_image() -> None:
    file = IvcFile.unpack(realistic_file(80, 1), 10)
    assert (file.payloads, file.missing) == ((), 1)
    assert not decode(file, realistic_tables()).integers.any()


def test_the_beginning_of_a_class() -> None:
    prior = dataclasses.replace(realistic_tables(), classes=1000)
    values = realistic_integers(prior, 80, np.random.default_rng(3))
    data = encode(values, 80, prior, FINGERPRINT, class_index=613)
    found = [decode(IvcFile.unpack(data[:n], n), prior).class_index for n in range(10, 40)]
    assert found[0] == 0
    assert found[1] in (0, 613)
    assert set(found[3:]) == {613}


def test_what_is_missing_is_not_packed() -> None:
    data = realistic_file(80, 1)
    with pytest.raises(ValueError, match="whole files"):
        IvcFile.unpack(data, len(data) - 1).pack()


def test_a_class_costs_its_bits() -> None:
    plain = realistic_tables()
    prior = dataclasses.replace(plain, classes=1000)
    excess = []
    for class_index in range(0, 1000, 37):
        values = realistic_integers(prior, 60, np.random.default_rng(class_index))
        file = IvcFile.unpack(encode(values, 60, prior, FINGERPRINT, class_index=class_index))
        without = IvcFile.unpack(encode(values, 60, plain, FINGERPRINT))
        excess.append(len(file.payloads[0]) - len(without.payloads[0]))
        assert decode(file, prior).class_index == class_index
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
    layout = data.draw(st.integers(0x10, 0x2F))
    body = data.draw(st.lists(st.sampled_from([b"\0", b"\1", b"\4", b"\xff"]) | st.binary()))
    packed = sealed(b"\xc9V" + bytes([layout]) + bytes(7) + b"".join(body))
    try:
        file = IvcFile.unpack(packed)
        values, class_index = decode(file, prior)
    except BitstreamError:
        return
    if layout & 0xF8 == 0x20:  # without options, which may hold some that are skipped
        assert file.pack() == packed
    if layout == 0x20:
        again = encode(values, file.step_index, prior, file.fingerprint, None, class_index)
        assert again == packed


@given(st.binary(max_size=300))
def test_random_bytes(data: bytes) -> None:
    with pytest.raises(BitstreamError, match=r"not an \.ivc file|truncated|altered|newer"):
        IvcFile.unpack(data)


def test_a_long_run_of_length_bytes_ends() -> None:
    with pytest.raises(BitstreamError, match="truncated"):
        IvcFile.unpack(sealed(b"\xc9V\x21" + bytes(7) + b"\1" + b"\xff" * 1_000_000))


def test_fields_that_do_not_fit() -> None:
    with pytest.raises(ImageError, match="70000 x 5"):
        IvcFile(b"abcd", 0, (b"",), (70000, 5))
    with pytest.raises(ImageError, match="0 x 5"):
        IvcFile(b"abcd", 0, (b"",), (0, 5))
    for fields in [(b"abc", 0, (b"",)), (b"abcd", 256, (b"",))]:
        with pytest.raises(ValueError, match="file has"):
            IvcFile(*fields)
    with pytest.raises(ValueError, match="one payload"):
        IvcFile(b"abcd", 0, (b"", b""))
    with pytest.raises(ValueError, match="version 3"):
        IvcFile(b"abcd", 0, (b"",), version=3)
    for tags in [(0,), (256,), (2, 1), (1, 1), range(1, 9)]:
        with pytest.raises(ValueError, match="increasing tags"):
            IvcFile(b"abcd", 0, (b"",), layers=tuple(Layer(tag, b"") for tag in tags))
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
    for version in range(3, 16):
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
    lines = ["row point            range            quantile symbol"]
    steps: list[reference.Step] = []
    rows = prior.rows(file.step_index).tolist()
    reference.decode_payload(file.payloads[0], rows, model, steps.append)
    labels = []
    for row, integer in zip(rows, decode(file, prior).integers.tolist(), strict=True):
        labels += [row, *["bit", "bit"] * (abs(integer) == prior.largest + 1)]  # 0 and the sign
    for label, step in zip(labels, steps, strict=True):
        symbol = "escape" if step.symbol is reference.ESCAPE else step.symbol
        state = f"{step.point:016x} {step.range:016x} {step.quantile:06x}"
        lines.append(f"{label:<3} {state}   {symbol}")
    assert block("trace").splitlines() == lines


def test_the_lengths_in_the_documentation() -> None:
    for length, digits in re.findall(r"(\d+) is `([0-9A-F ]+)`", FORMAT):
        packed = IvcFile(b"abcd", 0, (bytes(int(length)),), None, (Layer(1, b""),)).pack()
        assert packed[11 : -int(length)] == bytes.fromhex(digits)


def test_the_checksum_in_the_documentation() -> None:
    check = int(re.search(r"`123456789` is 0x([0-9A-F]+)", FORMAT).group(1), 16)
    assert crc_hqx(b"123456789", 0xFFFF) == reference.crc16(b"123456789") == check
