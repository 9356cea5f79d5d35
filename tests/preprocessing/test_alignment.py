"""The geometry of frames, and resampling to and from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from invcomp.preprocessing.alignment import (
    LEFT_EYE,
    MOUTH_CORNERS,
    RIGHT_EYE,
    Frame,
    Points,
    align,
    ffhq_frame,
    is_aligned,
    sample,
)

NUMBERS = st.floats(-500, 500)
FRAMES = st.builds(Frame, NUMBERS, NUMBERS, st.floats(1, 900), st.floats(-180, 180))


def smooth(width: int, height: int) -> Image.Image:
    """An image of waves, all of them longer than 30 px."""
    y, x = np.mgrid[:height, :width].astype(float)
    waves = [np.sin(x / 9 + y / 13), np.cos(x / 15), np.sin(y / 7 - x / 31)]
    return Image.fromarray(np.uint8(127.5 + 100 * np.stack(waves, -1)))


def mesh(left: Points, right: Points, mouth: Points) -> Points:
    points = np.zeros((468, 2))
    points[list(LEFT_EYE)], points[list(RIGHT_EYE)] = left, right
    points[list(MOUTH_CORNERS)] = mouth
    return points


@given(FRAMES, st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=5))
def test_points_return(frame: Frame, places: list[tuple[float, float]]) -> None:
    points = np.array(places)
    np.testing.assert_allclose(frame.in_image(frame.in_frame(points)), points, atol=1e-6)


@given(FRAMES, st.integers(1, 2000))
def test_affine_numbers_are_the_frames_and_each_others_inverse(frame: Frame, size: int) -> None:
    there, back = (
        np.array([*numbers, 0, 0, 1]).reshape(3, 3)
        for numbers in (frame.affine(size), frame.affine_back(size))
    )
    np.testing.assert_allclose(there @ back, np.eye(3), atol=1e-5)
    corners = np.array([[0, 0, 1], [0, size, 1], [size, size, 1], [size, 0, 1]], float)
    np.testing.assert_allclose((corners @ there.T)[:, :2], frame.corners(), atol=1e-6)


def test_a_frame_turns_clockwise() -> None:
    corners = Frame(100, 50, 20, 90).corners()
    np.testing.assert_allclose(corners, [[110, 40], [90, 40], [90, 60], [110, 60]], atol=1e-9)


def test_the_frame_of_known_points() -> None:
    """By hand: eyes 100 apart, mouth 110 below; the eyes decide the side, 4 * 100 * 0.98."""
    points = mesh(np.array([200, 300]), np.array([300, 300]), np.array([250, 410]))
    frame = ffhq_frame(points)
    assert (frame.x, frame.y) == pytest.approx((250, 311))
    assert frame.side == pytest.approx(392)
    assert frame.angle == pytest.approx(0)
    narrow = mesh(np.array([230, 300]), np.array([270, 300]), np.array([250, 410]))
    assert ffhq_frame(narrow).side == pytest.approx(2 * 1.8 * 110 * 0.98)


@given(FRAMES)
def test_the_frame_goes_with_the_face(place: Frame) -> None:
    points = mesh(np.array([0.37, 0.47]), np.array([0.63, 0.48]), np.array([0.51, 0.76]))
    one, other = ffhq_frame(points), ffhq_frame(place.in_image(points))
    np.testing.assert_allclose(place.in_frame(other.corners()), one.corners(), atol=1e-6)


def test_only_the_whole_image_is_aligned() -> None:
    whole = Frame(512, 512, 1024)
    assert is_aligned(whole, (1024, 1024))
    assert is_aligned(Frame(520, 505, 1060, 2), (1024, 1024))
    assert not is_aligned(whole, (1024, 1100))
    for other in (
        Frame(512, 512, 1024, 5),
        Frame(512, 512, 1024, -5),
        Frame(512, 512, 1126),
        Frame(512, 512, 930),
        Frame(563, 512, 1024),
        Frame(512, 461, 1024),
        Frame(512, 512, 1024, 180),
    ):
        assert not is_aligned(other, (1024, 1024)), other


def test_the_whole_image_stays_as_it_is() -> None:
    image = smooth(128, 128)
    assert np.array_equal(align(image, Frame(64, 64, 128), 128), image)


@pytest.mark.parametrize("side", [64.0, 128.0, 200.0])
def test_an_aligned_image_put_back_is_the_photograph(side: float) -> None:
    photo, frame = smooth(400, 300), Frame(200.3, 150.8, side, 27)
    aligned = align(photo, frame, 256)
    back = aligned.transform(
        photo.size, Image.Transform.AFFINE, frame.affine_back(256), Image.Resampling.BICUBIC
    )
    y, x = np.mgrid[:300, :400] + 0.5
    inside = frame.in_frame(np.stack([x.ravel(), y.ravel()], -1))
    inside = ((inside > 0.05) & (inside < 0.95)).all(1).reshape(300, 400)
    error = np.abs(np.float32(back) - np.float32(photo))[inside]
    assert error.mean() < 1.5  # Pillow rounds down, twice
    assert error.max() < 6


def test_large_frames_are_reduced_without_aliasing() -> None:
    checks = np.indices((1600, 1600)).sum(0) % 2 * 255
    image = Image.fromarray(np.uint8(checks)).convert("RGB")
    for angle in (0, 30):
        found = np.asarray(align(image, Frame(800, 800, 1000, angle), 64))
        assert found.min() > 117
        assert found.max() < 138


def test_colours_lie_where_they_lay() -> None:
    """A large reduced frame, turned by a quarter, against means of blocks."""
    image = smooth(1200, 1200).resize((2400, 2400), Image.Resampling.BICUBIC)
    found = align(image, Frame(1200, 1200, 1600, 90), 100)
    part = image.crop((400, 400, 2000, 2000)).reduce(16)
    expected = part.transpose(Image.Transpose.ROTATE_90)
    error = np.abs(np.float32(found) - np.float32(expected))
    assert error.mean() < 3


def test_beyond_the_image_it_is_mirrored_blurred_and_faded() -> None:
    photo = smooth(300, 300)
    frame = Frame(150, 50, 300)  # a third of it above the photograph
    found = np.float32(align(photo, frame, 300))
    pixels = np.float32(photo)
    assert np.abs(found[170:, 40:260] - pixels[70:200, 40:260]).max() < 1.5  # far from edges
    mirror = pixels[:15][::-1]
    assert np.abs(found[85:100] - mirror).mean() < 0.4 * np.abs(mirror - mirror.mean((0, 1))).mean()
    assert found[:2].std((0, 1)).max() < 10  # one colour at the outer edge


def test_a_frame_far_beyond_the_image_can_be_sampled() -> None:
    photo = smooth(40, 30)
    for frame in (Frame(20, 15, 400, 10), Frame(-90, -90, 50), Frame(500, 10, 30, 45)):
        assert align(photo, frame, 64).size == (64, 64)
        assert sample(photo, frame, 64).size == (64, 64)
    assert np.asarray(sample(photo, Frame(-90, -90, 50), 64)).max() == 0
