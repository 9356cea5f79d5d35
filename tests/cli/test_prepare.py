"""invcomp prepare: a bundle from a generator, and what it refuses."""

import json
import shutil
from pathlib import Path

from .conftest import FAST, Invcomp

SMALL = ("--draws", "12", "--coordinates", "10", "--batch", "4", "--device", "cpu")


def test_a_prepared_bundle_compresses(
    invcomp: Invcomp, tiny_model: Path, photographs: list[Path], tmp_path: Path
) -> None:
    output, file = tmp_path / "new.ivm", tmp_path / "a.ivc"
    outcome = invcomp("prepare", tiny_model, "-o", output, *SMALL, "--tau", "0.5", "--seed", "3")
    assert outcome.code == 0, outcome.err
    assert "10 coordinates" in outcome.out
    assert "metric" in outcome.err
    settings = json.loads(invcomp("models", "info", str(output), "--json").out)["settings"]
    assert settings["made"]["options"]["tau"] == 0.5
    assert settings["made"]["options"]["seed"] == 3
    compressed = invcomp("compress", photographs[0], "--model", output, "-o", file, *FAST)
    assert compressed.code == 0, compressed.err
    assert invcomp("decompress", file, "--model", output, "-o", tmp_path / "a.png").code == 0


def test_priors_are_fitted_to_photographs(
    invcomp: Invcomp, tiny_model: Path, photographs: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    shutil.copy(photographs[0], tmp_path / "photos")
    outcome = invcomp(
        "prepare", tiny_model, "-o", tmp_path / "new.ivm", *SMALL, "--photos", tmp_path / "photos"
    )
    assert outcome.code == 0, outcome.err
    assert "calibration" in outcome.err


def test_bad_input_is_refused_before_work_begins(
    invcomp: Invcomp, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "text.png").write_text("no picture")
    output = tmp_path / "new.ivm"
    cases = {
        "text.png": (tiny_model, "--photos", tmp_path / "photos"),
        "cats-1024": ("cats-1024",),
        "draws": (tiny_model, "--draws", "0"),
        "abacus": (tiny_model, "--device", "abacus"),
    }
    for word, arguments in cases.items():
        outcome = invcomp("prepare", *arguments, "-o", output)
        assert outcome.code == 1
        (line,) = outcome.errors
        assert word in line
    output.write_bytes(b"precious")
    assert "--force" in invcomp("prepare", tiny_model, "-o", output).errors[0]
    assert output.read_bytes() == b"precious"
