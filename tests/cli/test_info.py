"""invcomp info: every field, and bytes that add up."""

import json
from pathlib import Path
from typing import Any

import pytest

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
    assert entry["header_bytes"] == 12
    assert sum(segment["bytes"] for segment in entry["segments"]) == entry["payload_bytes"]
    assert entry["bits_per_pixel"] == pytest.approx(8 * len(ivc) / 64**2)
    assert entry["bundle"] == {"fingerprint": ivc[3:7].hex(), "name": "tiny"}
    assert entry["step"] == pytest.approx(2 ** (-entry["step_index"] / 16))
    assert (entry["width"], entry["height"], entry["checksum"]) == (64, 64, "ok")


def test_bytes_by_layer_add_up_to_the_ideal_code_length(invcomp: Invcomp, file: Path) -> None:
    entry = described(invcomp, file)
    assert len(entry["bytes_by_layer"]) == 11
    assert sum(entry["bytes_by_layer"].values()) == pytest.approx(entry["ideal_bytes"])
    segments = entry["segments"]
    assert sum(segment["ideal_bytes"] for segment in segments) == pytest.approx(
        entry["ideal_bytes"]
    )
    assert [segment["coordinates"] for segment in segments] == [8, 16, 40]
    assert sum(segment["nonzero"] for segment in segments) == entry["nonzero"] > 0
    assert abs(entry["payload_bytes"] - entry["ideal_bytes"]) < 3 + 0.03 * entry["ideal_bytes"]


def test_the_table_shows_the_fields(invcomp: Invcomp, file: Path, ivc: bytes) -> None:
    out = invcomp("info", file).out
    for word in (str(len(ivc)), ivc[3:7].hex(), "tiny", "64 x 64", "checksum", "8px.conv1"):
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
    assert entry["bytes_by_layer"] is None
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
