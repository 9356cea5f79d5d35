"""Finding faces, by portraits that are turned, reduced and put elsewhere: the truth is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invcomp.errors import ImageError
from invcomp.model_zoo.catalogue import pretrained_path
from invcomp.perception.faces import FoundFace, Reason, find_faces, obstacle
from invcomp.preprocessing.alignment import LEFT_EYE, RIGHT_EYE, Frame, Points, is_aligned, sample


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    return Image.open(pretrained_path("portrait.jpg")).convert("RGB")


@pytest.fixture(scope="module")
def face(portrait: Image.Image) -> FoundFace:
    """The face of the portrait as it is: the truth of all others."""
    (found,) = find_faces(portrait)
    return found


def eyes(points: Points) -> Points:
    return np.stack([points[list(eye)].mean(0) for eye in (LEFT_EYE, RIGHT_EYE)])


def distance(found: Points, expected: Points) -> float:
    """How far the eyes are from where they should be, in distances of the eyes."""
    errors = np.hypot(*(eyes(found) - eyes(expected)).T)
    return float(errors.max() / np.hypot(*np.diff(eyes(expected), axis=0)[0]))


def test_the_portrait_is_found_and_is_aligned(face: FoundFace, portrait: Image.Image) -> None:
    assert len(face.points) == 468
    assert face.score > 0.9
    assert abs(face.roll) < 2.5
    assert abs(face.yaw) < 10
    assert face.outside < 0.08
    assert face.beyond == 0
    assert face.box[0] == face.points[:, 0].min()
    assert face.box[3] == face.points[:, 1].max()
    assert is_aligned(face.frame, portrait.size)
    assert obstacle(face) is None


@pytest.mark.parametrize(
    ("angle", "side", "x", "y"),
    [
        (0, 1.0, 0.5, 0.5),
        (20, 0.5, 0.4, 0.6),
        (-20, 0.3, 0.7, 0.3),
        (40, 0.7, 0.5, 0.5),
        (-40, 0.15, 0.2, 0.7),
        (90, 0.5, 0.6, 0.4),
        (-135, 0.5, 0.4, 0.4),
        (180, 0.6, 0.5, 0.5),
    ],
)
def test_eyes_are_where_the_portrait_was_put(
    portrait: Image.Image, face: FoundFace, angle: float, side: float, x: float, y: float
) -> None:
    canvas = Frame(512, 512, 1024 / side, -angle)  # in the portrait
    centre = canvas.in_image(np.array([[1 - x, 1 - y]]))[0]
    canvas = replace(canvas, x=float(centre[0]), y=float(centre[1]))
    (found,) = find_faces(sample(portrait, canvas, 1200))
    expected = canvas.in_frame(face.points) * 1200
    assert distance(found.points, expected) < 0.04
    assert abs((found.roll - face.roll - angle + 180) % 360 - 180) < 2
    assert found.yaw == pytest.approx(face.yaw, abs=8)
    assert not is_aligned(found.frame, (1200, 1200)) or side == 1


def test_several_faces_come_largest_first(portrait: Image.Image, face: FoundFace) -> None:
    photo = Image.new("RGB", (1600, 900), "grey")
    places = [(900, 60, 640), (100, 100, 400), (350, 560, 240)]
    for left, top, side in places:
        photo.paste(portrait.resize((side, side)), (left, top))
    found = find_faces(photo)
    assert len(found) == 3
    for one, (left, top, side) in zip(found, places, strict=True):
        assert distance(one.points, face.points * side / 1024 + (left, top)) < 0.04


def test_a_small_face_in_a_large_photograph(portrait: Image.Image, face: FoundFace) -> None:
    photo = Image.new("RGB", (4000, 3000), "grey")
    photo.paste(portrait.resize((300, 300)), (3111, 1999))
    (found,) = find_faces(photo)
    assert found.box[2] - found.box[0] < 0.06 * 3000
    assert distance(found.points, face.points * 300 / 1024 + (3111, 1999)) < 0.04


def test_photographs_are_turned_upright_first(portrait: Image.Image, face: FoundFace) -> None:
    turned = portrait.resize((256, 256)).transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6  # orientation: turn it by 90 degrees clockwise
    (found,) = find_faces(turned)
    assert distance(found.points, face.points / 4) < 0.04


def test_what_the_caller_set_in_torch_changes_nothing(portrait: Image.Image) -> None:
    small, threads = portrait.resize((256, 256)), torch.get_num_threads()
    plain = find_faces(small)[0].points
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert np.array_equal(find_faces(small)[0].points, plain)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("size", [(300, 200), (1, 1), (2, 3000)])
def test_no_face_is_a_reason(size: tuple[int, int]) -> None:
    assert find_faces(Image.new("RGB", size, "grey")) == []
    found = obstacle(None)
    assert found
    assert found.reason is Reason.NO_FACE


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ImageError):
        find_faces("portrait.jpg")


def test_a_face_at_the_edge_is_cut_off(portrait: Image.Image) -> None:
    (found,) = find_faces(portrait.crop((0, 0, 1024, 760)))  # through the mouth
    reason = obstacle(found)
    assert reason
    assert reason.reason is Reason.CUT_OFF
    assert "%" in reason.message
    assert found.outside == pytest.approx(0.31, abs=0.04)
    assert found.beyond > 0.05


def test_a_frame_that_lacks_a_little_is_no_obstacle(portrait: Image.Image) -> None:
    (found,) = find_faces(portrait.crop((60, 100, 1024, 1024)))
    assert 0.15 < found.outside < 0.25
    assert obstacle(found) is None


def test_every_limit_names_its_measure(face: FoundFace) -> None:
    for changed, reason, text in (
        (replace(face, frame=replace(face.frame, side=40)), Reason.TOO_SMALL, "40 pixels"),
        (replace(face, outside=0.42), Reason.CUT_OFF, "42%"),
        (replace(face, beyond=0.11), Reason.CUT_OFF, "11%"),
        (replace(face, yaw=-61.2), Reason.TURNED_AWAY, "61 degrees"),
    ):
        found = obstacle(changed)
        assert found
        assert found.reason is reason
        assert text in found.message
        assert "\n" not in found.message


def test_yaw_changes_its_sign_in_the_mirror(faces: list[Path]) -> None:
    image = Image.open(faces[6]).convert("RGB")  # gov_07, turned a little
    (found,) = find_faces(image)
    (mirrored,) = find_faces(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert abs(found.yaw) > 5
    assert mirrored.yaw == pytest.approx(-found.yaw, abs=4)


def test_aligned_portraits_are_left_alone_and_others_not(faces: list[Path]) -> None:
    for path in faces[::8]:
        image = Image.open(path).convert("RGB")
        for frame, expected in (
            (Frame(512, 512, 1024), True),
            (Frame(512, 512, 1024, 5), False),
            (Frame(512, 512, 1024, -5), False),
            (Frame(512 + 51.2, 512, 1024), False),
            (Frame(512, 512 - 51.2, 1024), False),
            (Frame(512, 512, 1024 * 1.15), False),
            (Frame(512, 512, 1024 / 1.15), False),
        ):
            changed = sample(image, frame, 512, mirrored=True)
            found = find_faces(changed)[0]
            assert is_aligned(found.frame, changed.size) is expected, f"{path.name}: {frame}"


def test_unaligned_photographs_are_found(faces: list[Path]) -> None:
    folder = faces[0].parent.parent / "faces_pairs"
    paths = sorted(folder.glob("*.jpg"))[::4]
    if not paths:
        pytest.skip("needs the photographs of ../shared/faces_pairs beside the repository")
    for path in paths:
        (found,) = find_faces(Image.open(path))
        assert obstacle(found) is None
        assert not is_aligned(found.frame, (900, 900))
