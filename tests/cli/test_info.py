"""invcomp info: every field, and bytes that add up."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from invcomp.bitstream import IvcFile, Layer
from invcomp.photo import conventional_file, with_photo
from invcomp.preprocessing.alignment import Frame

from ..conventional.images import drawn
from .conftest import Invcomp


@pytest.fixture
def file(tmp_path: Path, ivc: bytes) -> Path:
    path = tmp_path / "a.ivc"
    path.write_bytes(ivc)
    return path


def described(invcomp: Invcomp, *arguments: str | Path) -> dict[str, Any]:
    outcome = invcomp("info", "--json", *arguments)
    assert outcome.code == 0
    (entry,) = json.loads(outcome.out)
    return dict(entry)


def test_every_byte_is_accounted_for(invcomp: Invcomp, file: Path, ivc: bytes) -> None:
    entry = described(invcomp, file)
    assert entry["bytes"] == len(ivc) == entry["header_bytes"] + entry["payload_bytes"]
    assert (entry["header_bytes"], entry["layers"]) == (10, [])
    assert entry["bits_per_pixel"] == pytest.approx(8 * len(ivc) / 64**2)
    assert entry["bundle"] == {"fingerprint": ivc[3:7].hex(), "name": "tiny"}
    assert entry["q_step"] == pytest.approx(2 ** (-entry["step_index"] / 16))
    assert (entry["width"], entry["height"], entry["checksum"]) == (64, 64, "ok")


def test_the_payload_is_within_a_byte_of_the_ideal_code_length(
    invcomp: Invcomp, file: Path
) -> None:
    entry = described(invcomp, file)
    assert entry["coordinates"] == 64
    assert 0 < entry["nonzero"] <= 64
    assert abs(entry["payload_bytes"] - entry["ideal_bytes"]) < 1


def test_layers_that_nobody_knows_are_counted(invcomp: Invcomp, file: Path, ivc: bytes) -> None:
    unpacked = IvcFile.unpack(ivc)
    file.write_bytes(replace(unpacked, layers=(Layer(5, b"detail"), Layer(6, b""))).pack())
    entry = described(invcomp, file)
    assert entry["layers"] == [{"tag": 5, "bytes": 6}, {"tag": 6, "bytes": 0}]
    assert entry["header_bytes"] + entry["payload_bytes"] + 6 == entry["bytes"]
    assert "6 layer 5" in invcomp("info", file).out
    assert invcomp("decompress", file).code == 0


def test_the_layers_of_a_photo(invcomp: Invcomp, file: Path, ivc: bytes) -> None:
    frames = [Frame(90, 80, 70), Frame(200, 80, 70)]
    file.write_bytes(with_photo(ivc, [ivc], drawn(300, 200), frames, "webp", 200))
    entry = described(invcomp, file)
    assert (entry["width"], entry["height"], entry["padded"]) == (300, 200, False)
    more, photo = entry["layers"]
    assert more["bytes"] == 2 + entry["payload_bytes"]
    assert (more["tag"], more["holds"], more["faces"]) == (1, "more faces", 1)
    assert (photo["tag"], photo["holds"], photo["faces"]) == (2, "photo", 2)
    assert photo["codec"] == "WebP"
    assert photo["bytes"] == photo["stream_bytes"] + 20
    sizes = entry["header_bytes"], entry["payload_bytes"], more["bytes"], photo["bytes"]
    assert sum(sizes) == entry["bytes"]
    out = invcomp("info", file).out.replace("\u2502", "")  # the table's lines
    for size, name in zip(sizes, ("header", "face", "more faces", "photo: WebP of"), strict=True):
        assert f"{size} {name}" in " ".join(out.split())


def test_a_file_without_a_bundle(invcomp: Invcomp, file: Path) -> None:
    data = conventional_file(drawn(300, 200), "webp", 300)
    file.write_bytes(data)
    entry = described(invcomp, file)
    assert not entry["needs_bundle"]
    (layer,) = entry["layers"]
    assert (layer["tag"], layer["holds"], layer["codec"]) == (129, "image", "WebP")
    assert (entry["width"], entry["height"]) == (300, 200)
    assert entry["header_bytes"] + layer["bytes"] == len(data)
    out = " ".join(invcomp("info", file).out.replace("\u2502", "").split())
    assert f"{layer['bytes']} image: WebP of" in out
    assert "none is needed" in out


def test_the_table_shows_the_fields(invcomp: Invcomp, file: Path, ivc: bytes) -> None:
    out = invcomp("info", file).out
    for word in (str(len(ivc)), ivc[3:7].hex(), "tiny", "64 x 64", "checksum", "of 64"):
        assert word in out


def test_without_the_bundle_the_header_is_shown(
    invcomp: Invcomp,
    file: Path,
    tmp_path: Path,
    ivc: bytes,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path / "empty"))
    entry = described(invcomp, file)
    assert entry["bytes"] == len(ivc)
    assert entry["bundle"] == {"fingerprint": ivc[3:7].hex(), "name": None}
    assert entry["coordinates"] is None
    assert "needs the bundle" in invcomp("info", file).out
    assert described(invcomp, file, "--model", tiny_model)["bundle"]["name"] == "tiny"


def test_bad_files_are_named_and_the_others_shown(invcomp: Invcomp, file: Path, ivc: bytes) -> None:
    cut = file.with_name("cut.ivc")
    cut.write_bytes(ivc[:-5])
    outcome = invcomp("info", "--json", cut, file)
    assert outcome.code == 1
    first, second = json.loads(outcome.out)
    assert "cut short" in first["error"]
    assert second["bytes"] == len(ivc)
    (line,) = outcome.errors
    assert "cut.ivc" in line


def test_the_class_is_shown(
    invcomp: Invcomp, tmp_path: Path, conditional_model: Path, images: list[Path]
) -> None:
    path = tmp_path / "a.ivc"
    options = ("--iterations", "2", "--starts", "1", "--device", "cpu", "--no-compile")
    compress = ("compress", images[0], "--model", conditional_model, "-o", path, *options)
    outcome = invcomp(*compress, "--class", "2")
    assert outcome.code == 0, outcome.err
    entry = described(invcomp, path)
    assert (entry["class"], entry["classes"]) == (2, 3)
    assert entry["ideal_bytes"] > math.log2(3) / 8
    assert abs(entry["payload_bytes"] - entry["ideal_bytes"]) < 1
    assert "2 of 0 to 2" in invcomp("info", path).out
    assert invcomp("decompress", path, "-o", tmp_path / "a.png").code == 0
    for given in ("3", "-1"):
        outcome = invcomp(*compress, "--force", "--class", given)
        assert outcome.code == 1
        assert outcome.errors == [f"error: class {given}: the model's classes are 0 to 2"]


def test_a_class_of_a_model_without(
    invcomp: Invcomp, tiny_model: Path, images: list[Path], tmp_path: Path
) -> None:
    options = ("--model", tiny_model, "--device", "cpu", "-o", tmp_path / "a.ivc", "--class", "0")
    outcome = invcomp("compress", images[0], *options)
    assert outcome.code == 1
    assert outcome.errors == ["error: class 0: the model has no classes"]


def test_samples_of_a_class(invcomp: Invcomp, conditional_model: Path, tmp_path: Path) -> None:
    sample = ("sample", conditional_model, "-n", "4", "--truncation", "0")
    assert invcomp(*sample, "--class", "1", "-o", tmp_path / "one.png").code == 0
    assert invcomp(*sample, "-o", tmp_path / "all.png").code == 0
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "all.png").read_bytes()
    outcome = invcomp(*sample, "--class", "9", "-o", tmp_path / "no.png")
    assert (outcome.code, outcome.errors) == (
        1, ["error: class 9: the model's classes are 0 to 2"],
    )  # fmt: skip
