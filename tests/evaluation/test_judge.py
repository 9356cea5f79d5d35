"""A judge of identity that comes from outside."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from invcomp.errors import ImageError, OptionError
from invcomp.evaluation.judge import Judge
from invcomp.evaluation.metrics import Metrics, tensor_of
from invcomp.model_zoo.catalogue import pretrained_path

# A judge of colours: its descriptor is the mean colour of the frame.
COLOURS = """
import beside
class Identity:
    def frame(self, image):
        if image.size == (7, 7):
            raise ValueError("too small")
        return (0, 0, image.width // 2, image.height)
    def embed(self, image, frame):
        return beside.unit(image.crop(frame))
"""
BESIDE = """
import numpy as np
def unit(image):
    found = np.asarray(image, dtype=float).mean((0, 1))
    return found / np.linalg.norm(found)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "identity.py").write_text(COLOURS)
    (tmp_path / "beside.py").write_text(BESIDE)
    return tmp_path


def filled(colour: str, size: int = 32) -> torch.Tensor:
    return tensor_of(Image.new("RGB", (size, size), colour))


def test_the_frame_is_that_of_the_original(folder: Path) -> None:
    metrics = Metrics(names=["judge"], judge=Judge(folder))
    original, other = filled("red"), filled("red")
    other[..., 16:] = filled("blue")[..., 16:]  # outside of the frame
    assert float(metrics.distances("judge", original, other)) == pytest.approx(1)
    assert metrics.measure(original, filled("blue"))["judge"] == pytest.approx(0)


def test_no_face_is_an_error_of_the_image(folder: Path) -> None:
    metrics = Metrics(names=["judge"], judge=Judge(folder))
    with pytest.raises(ImageError, match="too small"):
        metrics.measure(filled("red", 7), filled("red", 7))


def test_what_is_no_judge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"identity\.py"):
        Judge(tmp_path)
    for wrong in ("import no_such_module", "x = 1", "class Identity(\n"):
        (tmp_path / "identity.py").write_text(wrong)
        with pytest.raises(OptionError, match="is not a judge"):
            Judge(tmp_path)


def test_metrics_of_faces_need_what_they_need() -> None:
    for name in ("judge", "identity"):
        with pytest.raises(OptionError, match="model of faces"):
            Metrics(names=[name])


def test_the_real_judge_knows_a_face_again(faces: list[Path]) -> None:
    folder = Path(__file__).resolve().parents[3] / "shared" / "judge"
    if not (folder / "identity.py").is_file():
        pytest.skip("needs the judge of ../shared/judge beside the repository")
    judge = Judge(folder)
    portrait = judge.see(tensor_of(Image.open(pretrained_path("portrait.jpg")).convert("RGB")))
    other = judge.see(tensor_of(Image.open(faces[-1]).convert("RGB")))
    assert portrait.cosine(portrait) == pytest.approx(1, abs=1e-4)
    assert portrait.cosine(other) < 0.75
