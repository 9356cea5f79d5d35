"""invcomp export as users see it."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from invcomp.cli.main import app


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["export", *arguments])
    return result.exit_code, result.output


def test_it_says_size_and_difference(tiny_model: Path, tmp_path: Path) -> None:
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module, reason="needs the extra onnx")
    code, said = run(str(tiny_model), "-o", str(tmp_path / "out"))
    assert code == 0
    assert "64 px" in said
    assert "/255 from torch" in said
    code, said = run(str(tiny_model), "-o", str(tmp_path / "out"))
    assert code == 1
    assert "--force" in said


def test_an_unknown_format_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    code, said = run(str(tiny_model), "-o", str(tmp_path), "--format", "tflite")
    assert code == 1
    assert "must be onnx" in said


def test_a_missing_extra_is_named(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invcomp.cli.show.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, said = run(str(tiny_model), "-o", str(tmp_path))
    assert code == 1
    assert 'pip install "invcomp[onnx]"' in said.replace("\n", "")
