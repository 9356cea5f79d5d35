"""MediaPipe's networks: their outputs on the portrait that ships, and a damaged file."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from invcomp.errors import BundleError
from invcomp.model_zoo.catalogue import pretrained_path
from invcomp.perception import face_detector, face_mesh
from invcomp.perception.face_mesh import load_face_networks
from invcomp.preprocessing.frame import to_tensor

# what an interpreter of the published graphs gives for the same pixels
BEST, LOGIT = 724, 2.91674
VALUES = [8.9413, 6.0597, 81.6721, 81.6575, -8.4773, -8.4430, 25.0350, -10.8956]
VALUES += [9.6197, 13.2868, 10.8336, 27.9495, -25.0843, -2.6963, 42.7576, -7.5854]
MESH = {
    1: (96.550, 117.381, -35.088),
    33: (48.850, 73.528, 5.313),
    61: (63.929, 133.147, 10.711),
    152: (97.937, 174.975, 14.357),
    263: (143.183, 73.574, 6.394),
    291: (131.252, 132.493, 11.275),
    467: (144.749, 71.288, 3.714),
}


def portrait(size: int, box: tuple[int, int, int, int] = (0, 0, 1024, 1024)) -> Tensor:
    """A part of the portrait that ships, [1, 3, size, size] in [-1, 1]."""
    image = Image.open(pretrained_path("portrait.jpg"))
    return to_tensor(image.resize((size, size), Image.Resampling.BOX, box))


@torch.inference_mode()
def test_the_detector_says_what_the_published_graph_says() -> None:
    scores, values = load_face_networks().detector.raw(portrait(face_detector.SIZE))
    assert scores.shape == (1, 896)
    assert int(scores.argmax()) == BEST
    assert float(scores[0, BEST]) == pytest.approx(LOGIT, abs=1e-3)
    torch.testing.assert_close(values[0, BEST], torch.tensor(VALUES), atol=5e-3, rtol=0)


@torch.inference_mode()
def test_the_detectors_points_lie_in_the_image() -> None:
    scores, points = load_face_networks().detector(portrait(face_detector.SIZE))
    centre, size, left, right, nose, mouth, *_ = points[0, int(scores.argmax())]
    assert 0.3 < float(size.min()) <= float(size.max()) < 0.9
    assert abs(float(centre[0]) - 0.5) < 0.05
    assert float(left[0]) < float(nose[0]) < float(right[0])
    assert float(left[1]) < float(nose[1]) < float(mouth[1])


@torch.inference_mode()
def test_the_mesh_says_what_the_published_graph_says() -> None:
    face = (portrait(face_mesh.SIZE, (128, 192, 896, 960)) + 1) / 2
    points, presence = load_face_networks().mesh(face)
    assert points.shape == (1, 468, 3)
    assert float(presence[0]) == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(
        points[0, list(MESH)], torch.tensor(list(MESH.values())), atol=0.01, rtol=0
    )


@torch.inference_mode()
def test_where_there_is_no_face_both_say_so() -> None:
    networks = load_face_networks()
    grey = torch.zeros(1, 3, face_detector.SIZE, face_detector.SIZE)
    assert float(networks.detector(grey)[0].max()) < 0.1
    corner = (portrait(face_mesh.SIZE, (0, 0, 160, 160)) + 1) / 2
    assert float(networks.mesh(corner)[1]) < 0.1


def test_a_damaged_file_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "face-mesh.safetensors"
    path.write_bytes(pretrained_path(path.name).read_bytes()[:1000])
    monkeypatch.setattr(face_mesh, "pretrained_path", lambda name: path)
    with pytest.raises(BundleError, match="face-mesh"):
        load_face_networks()
