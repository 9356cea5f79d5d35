"""Identity as a part of the distortion: two networks, their crops, their weights."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from invcomp.errors import BundleError
from invcomp.generators.base import normal, reduce_images
from invcomp.model_zoo.catalogue import pretrained_path
from invcomp.perception import identity
from invcomp.perception.identity import DESCRIPTOR_SIZE, Crop, Face, Identity, load_mobile_face
from invcomp.preprocessing.frame import to_tensor


def portrait() -> torch.Tensor:
    """The portrait that ships, [1, 3, 256, 256]."""
    return reduce_images(to_tensor(Image.open(pretrained_path("portrait.jpg"))), 256)


@torch.inference_mode()
def test_squared_distance_is_the_weighted_sum_of_both_networks() -> None:
    one = portrait()
    other = (one + 0.3 * normal(1, one.numel(), 1).reshape(one.shape)).clamp(-1, 1)
    parts = []
    for face in (Face(dlib=1, mobile=0), Face(dlib=0, mobile=1), Face(dlib=0.3, mobile=0.2)):
        network = Identity(face, 256)
        assert network(one).shape == (1, DESCRIPTOR_SIZE)
        parts.append(float((network(one) - network(other)).square().sum()))
    dlib, mobile, both = parts
    assert min(dlib, mobile) > 0.01
    assert both == pytest.approx(0.3 * dlib + 0.2 * mobile, rel=1e-4)
    descriptors = (network.dlib_descriptors(image) for image in (one, other))
    assert float(torch.sub(*descriptors).square().sum()) == pytest.approx(dlib, rel=1e-4)


@torch.inference_mode()
def test_bfloat16_is_near_enough_for_a_search() -> None:
    network = Identity(Face(dlib=1, mobile=1), 256)
    exact = network(portrait())
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(portrait())
    assert rough.dtype == torch.float32
    assert float((exact - rough).square().sum()) < 0.003  # another image of a person: 0.4


@torch.inference_mode()
def test_light_changes_a_face_less_than_another_face_does(faces: list[Path]) -> None:
    network = Identity(Face(), 256)
    paths = [faces[21], faces[25], faces[35]]
    images = torch.cat([reduce_images(to_tensor(Image.open(path)), 256) for path in paths])
    found, darker = network(images), network(0.8 * images - 0.2)
    same = (found - darker).square().sum(1)
    others = torch.pdist(found).square()
    assert float(same.max()) < 0.5 * float(others.min())


def test_a_crop_is_where_it_says() -> None:
    places = (torch.arange(64) + 0.5) / 64  # the middle of every pixel, in sides of the image
    image = torch.stack([places.expand(64, 64), places[:, None].expand(64, 64)])[None]
    for size in (8, 32, 50):
        found = Crop((0.25, 0.375, 0.75, 0.875), size, 64)(image)
        middles = (torch.arange(size) + 0.5) / size * 0.5
        assert found.shape == (1, 2, size, size)
        torch.testing.assert_close(found[0, 0], (0.25 + middles).expand(size, size))
        torch.testing.assert_close(found[0, 1], (0.375 + middles)[:, None].expand(size, size))


def test_a_crop_beyond_the_edge_repeats_it() -> None:
    image = normal(1, 3 * 32 * 32, 2).reshape(1, 3, 32, 32)
    found = Crop((-0.5, 0, 0.5, 1), 32, 32)(image)
    torch.testing.assert_close(found[..., :15], image[..., :1].expand(1, 3, 32, 15))
    torch.testing.assert_close(found[..., 16:], image[..., :16])


@torch.inference_mode()
def test_mobile_face_gives_unit_vectors() -> None:
    found = load_mobile_face()(normal(2, 3 * 112 * 112, 3).reshape(2, 3, 112, 112).clamp(-1, 1))
    assert found.shape == (2, 256)
    torch.testing.assert_close(found.square().sum(1), torch.ones(2))


def test_a_face_survives_json() -> None:
    face = Face(chip=(0.1, 0.2, 0.7, 0.8), dlib=0.5, mobile=0.25)
    assert Face.from_json(json.loads(json.dumps(asdict(face)))) == face


def test_faces_of_older_bundles_are_seen_closer_too() -> None:
    older = {name: value for name, value in asdict(Face()).items() if name in ("chip", "dlib")}
    assert Face.from_json({**older, "mobile": 0.3}) == Face(mobile=0.3)


@pytest.mark.parametrize(
    "changes",
    [
        {"chip": [0.5, 0.2, 0.5, 0.8]},
        {"chip": [0.1, 0.2, 1.7, 0.8]},
        {"chip": [0.1, 0.2]},
        {"dlib": -1},
        {"mobile": float("nan")},
        {"mobile": "much"},
        {"around": -0.5},
    ],
    ids=str,
)
def test_what_is_no_face_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Face.from_json({**asdict(Face()), **changes})


def test_a_damaged_file_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "identity-dlib.safetensors"
    path.write_bytes(pretrained_path("identity-dlib.safetensors").read_bytes()[:1000])
    monkeypatch.setattr(identity, "pretrained_path", lambda name: path)
    with pytest.raises(BundleError, match="identity-dlib"):
        identity.load_dlib_face()
