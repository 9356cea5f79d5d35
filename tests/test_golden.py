"""Files that were written decode to what they always did: nothing else notices a change of that.

`tests/golden` has for every known model a file, the same as format version 1 wrote it (where there
was the model then), the integers in them, and the decoded image at 128 px
(`scripts/assets/make_golden.py`).
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from invcomp.bitstream import IvcFile, decode
from invcomp.decoder import Decoder
from invcomp.lookup import load_bundle
from invcomp.model_zoo.catalogue import KNOWN_MODELS

FOLDER = Path(__file__).parent / "golden"
AFTER_VERSION_1 = {"clothing-256"}  # no file of format version 1 was ever written with these


@pytest.mark.parametrize("name", KNOWN_MODELS)
def test_files_decode_to_what_they_always_did(name: str, request: pytest.FixtureRequest) -> None:
    if KNOWN_MODELS[name].weights is not None:
        request.getfixturevalue("pypi")
    decoder = Decoder(load_bundle(name, aids=False), "cpu")
    expected = json.loads((FOLDER / f"{name}.json").read_text())
    versions = [] if name in AFTER_VERSION_1 else [(1, ".version1.ivc")]
    for version, suffix in (*versions, (2, ".ivc")):
        data = (FOLDER / f"{name}{suffix}").read_bytes()
        file = IvcFile.unpack(data)
        found = decode(file, decoder.bundle.entropy)
        assert (file.version, found.class_index) == (version, expected["class"])
        assert found.integers.tolist() == expected["integers"]
    assert_decodes_to(decoder, data, name)
    if decoder.bundle.detail is not None:
        data = (FOLDER / f"{name}.detail.ivc").read_bytes()
        expected = json.loads((FOLDER / f"{name}.detail.json").read_text())
        integers = decoder.detail_of(IvcFile.unpack(data))
        assert integers is not None
        assert {str(index): integers[index] for index in np.flatnonzero(integers)} == expected
        assert_decodes_to(decoder, data, f"{name}.detail")


def assert_decodes_to(decoder: Decoder, data: bytes, name: str) -> None:
    image = decoder.decompress(data)
    with Image.open(FOLDER / f"{name}.png") as golden:
        reduced = image.resize(golden.size, Image.Resampling.BOX)
        difference = np.array(reduced, int) - np.array(golden, int)
    assert np.abs(difference).max() <= 1


def test_every_known_model_has_golden_files() -> None:
    named = {path.name.split(".")[0] for path in FOLDER.iterdir()}
    assert named == set(KNOWN_MODELS)
