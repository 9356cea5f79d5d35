"""Files of format version 1 are still read. No script writes `vectors1.json` any more."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from invcomp import errors
from invcomp.bitstream import IvcFile

from . import reference
from .test_ivc import FINGERPRINT, decode, tables_of

VECTORS = json.loads((Path(__file__).parent / "vectors1.json").read_text())
GOOD = {vector["name"]: vector for vector in VECTORS["files"]}


@pytest.mark.parametrize("vector", GOOD.values(), ids=GOOD)
def test_good_vectors(vector: dict[str, Any]) -> None:
    model, data = VECTORS["models"][vector["model"]], bytes.fromhex(vector["file"])
    size = vector["original_size"] and tuple(vector["original_size"])
    file = IvcFile.unpack(data)
    assert (file.version, file.fingerprint, file.layers) == (1, FINGERPRINT, ())
    assert (file.step_index, file.original_size) == (vector["step_index"], size)
    decoded, class_index = decode(file, tables_of(model)), vector.get("class", 0)
    assert (decoded.integers.tolist(), decoded.class_index) == (vector["integers"], class_index)
    assert reference.decode_file(data, model) == {
        "fingerprint": FINGERPRINT,
        "step_index": vector["step_index"],
        "original_size": size,
        "payloads": list(file.payloads),
        "layers": [],
        "class": class_index,
        "integers": vector["integers"],
        "padded": False,
        "photo": None,
    }


@pytest.mark.parametrize("vector", VECTORS["bad_files"], ids=lambda vector: vector["name"])
def test_bad_vectors(vector: dict[str, Any]) -> None:
    if vector["name"] == "newer version":
        pytest.skip("version 2 is no newer version any more")
    model, data = VECTORS["models"][vector["model"]], bytes.fromhex(vector["file"])
    says = vector["says"].replace("a segment", "its payload")
    with pytest.raises(getattr(errors, vector["error"]), match=says):
        decode(IvcFile.unpack(data), tables_of(model))


@pytest.mark.parametrize("name", ["middle step", "escapes side by side", "class 7"])
def test_beginnings(name: str) -> None:
    """Complete segments decode whole, of the next one what its bytes settle, the rest is zero."""
    model, data = VECTORS["models"][GOOD[name]["model"]], bytes.fromhex(GOOD[name]["file"])
    prior, file, whole = tables_of(model), IvcFile.unpack(data), np.array(GOOD[name]["integers"])
    ends = np.cumsum([len(data) - sum(map(len, file.payloads)), *map(len, file.payloads)])
    for first in range(ends[0], len(data) + 1):
        complete = sum(end <= first for end in ends[1:])
        found = IvcFile.unpack(data, first)
        cut = IvcFile.unpack(data[:first], first) if first < len(data) else file
        assert found.payloads == cut.payloads == file.payloads[:complete]
        assert len(found.payloads) + found.missing == len(file.payloads)
        settled = [0, *prior.segment_ends][complete]
        integers = decode(found, prior).integers
        assert (integers[:settled] == whole[:settled]).all()
        assert ((integers == whole) | (integers == 0))[settled:].all()


def test_another_number_of_segments_than_the_bundle_has() -> None:
    vector = GOOD["worked example"]
    file = IvcFile.unpack(bytes.fromhex(vector["file"]))
    prior = tables_of({**VECTORS["models"][vector["model"]], "segment_ends": [6]})
    with pytest.raises(errors.BitstreamError, match="3 segments, its bundle has 1"):
        decode(file, prior)


def test_they_are_not_written() -> None:
    with pytest.raises(ValueError, match="version 2"):
        IvcFile.unpack(bytes.fromhex(GOOD["worked example"]["file"])).pack()
