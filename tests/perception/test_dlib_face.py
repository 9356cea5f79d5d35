"""The port of dlib's face recognition network, held against what dlib itself says."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from invcomp.model_zoo.catalogue import pretrained_path
from invcomp.perception.dlib_face import SIZE
from invcomp.perception.identity import FFHQ_CHIP, load_dlib_face

EXPECTED = Path(__file__).with_name(
    "dlib_descriptor.json"
)  # by scripts/benchmarks/check_identity.py


def chip(path: Path) -> torch.Tensor:
    """The face of an aligned portrait, [1, 3, 150, 150] in [-1, 1]."""
    with Image.open(path) as image:
        box = tuple(round(place * image.width) for place in FFHQ_CHIP)
        face = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BOX, box)
    return torch.from_numpy(np.array(face)).permute(2, 0, 1)[None] / 127.5 - 1


@torch.inference_mode()
def test_it_says_what_dlib_says() -> None:
    expected = torch.tensor(json.loads(EXPECTED.read_text()))
    found = load_dlib_face()(chip(pretrained_path("portrait.jpg")))[0]
    assert float(torch.linalg.vector_norm(found - expected)) < 0.05
    assert float(torch.linalg.vector_norm(expected)) > 1


@torch.inference_mode()
def test_other_people_are_farther_than_its_limit(faces: list[Path]) -> None:
    found = load_dlib_face()(torch.cat([chip(path) for path in faces[20:40:2]]))
    distances = torch.pdist(found)
    assert float(distances.mean()) > 0.75
    assert float((distances > 0.6).float().mean()) > 0.9


def test_every_part_of_the_face_has_a_gradient() -> None:
    pixels = chip(pretrained_path("portrait.jpg")).requires_grad_()
    load_dlib_face()(pixels).square().sum().backward()
    assert pixels.grad is not None
    assert bool(pixels.grad.isfinite().all())
    blocks = torch.nn.functional.avg_pool2d(pixels.grad.abs().sum(1, keepdim=True), 30)
    assert bool((blocks > 0).all())
