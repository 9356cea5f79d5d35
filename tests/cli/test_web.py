"""invcomp web as users see it; tests/web/test_site.py opens what it writes."""

from pathlib import Path

import pytest

from .conftest import Invcomp


def test_what_cannot_be_done_is_said_in_one_line(
    invcomp: Invcomp, tiny_model: Path, tmp_path: Path
) -> None:
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module, reason="needs the extra onnx")
    model = ["--model", str(tiny_model)]
    outcome = invcomp("web", "-o", str(tmp_path / "site"), *model, "--runtime", str(tmp_path))
    assert outcome.code == 1
    assert "onnxruntime-web 1" in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "site").exists()
    (tmp_path / "index.html").write_text("mine")
    outcome = invcomp("web", "-o", str(tmp_path), *model)
    assert outcome.code == 1
    assert "--force" in outcome.err
    assert (tmp_path / "index.html").read_text() == "mine"


def test_the_help_has_examples(invcomp: Invcomp) -> None:
    outcome = invcomp("web", "--help")
    assert outcome.code == 0
    assert outcome.out.count("invcomp web") >= 2
    assert "(faces-1024)" in outcome.out  # by default, the model whose files show the person
