"""Composing: outside the frames there is the background, inside the face, and no seam between."""

import numpy as np
import pytest
from PIL import Image

from invcomp.photo import composition
from invcomp.photo.composition import (
    EDGE,
    GREY,
    MARGIN,
    MATCHED,
    _nearness,
    composed,
    without_faces,
)
from invcomp.preprocessing.alignment import Frame, align

from ..conventional.images import drawn

FRAMES = [
    Frame(150, 120, 130, 17),  # reduced
    Frame(420, 230, 260, -30),  # leaves the photo at its edge
    Frame(250, 300, 90, 180),
]
SIZE = (480, 360)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("resolution", [64, 512])
def test_outside_is_the_background_and_inside_the_face(frame: Frame, resolution: int) -> None:
    background = drawn(*SIZE)
    white = Image.new("RGB", (resolution, resolution), "white")
    found = composed(background, [white], [frame], SIZE)
    near = _nearness(frame, SIZE)
    assert np.array_equal(pixels(found)[near == 0], pixels(background)[near == 0])
    assert (pixels(found)[near >= MATCHED + 0.06] == 255).all()
    corners = np.stack(np.meshgrid(np.arange(480) + 0.5, np.arange(360) + 0.5), -1)
    inside = frame.in_frame(corners.reshape(-1, 2)).reshape(360, 480, 2)
    outside = ((inside < 0) | (inside > 1)).any(-1)
    assert (near[outside] == 0).all()


@pytest.mark.parametrize("resolution", [64, 300, 1024])
def test_a_face_comes_back_to_its_place(resolution: int) -> None:
    """The photo's own face, cut out at any resolution, changes nothing but for resampling."""
    photo = drawn(*SIZE)
    for frame in FRAMES:
        face = align(photo, frame, resolution)
        found = composed(photo, [face], [frame], SIZE)
        difference = np.abs(pixels(found) - pixels(photo)).mean(-1)
        assert difference[_nearness(frame, SIZE) > 0].mean() < (3 if resolution > 64 else 6)


def test_the_edge_is_blended() -> None:
    """No step along a row into a face of another colour is larger than it must be."""
    background, frame = Image.new("RGB", (400, 400), (90, 90, 90)), Frame(200, 200, 300, 10)
    face = Image.new("RGB", (128, 128), (200, 100, 90))
    row = pixels(composed(background, [face], [frame], (400, 400)))[200, :, 0]
    assert row[200] == 200
    assert np.abs(np.diff(row)).max() < 3 * (200 - 90) / (EDGE * 150)


def test_colours_are_matched_at_the_edge_and_nowhere_else() -> None:
    background, frame = Image.new("RGB", (400, 400), (100, 110, 90)), Frame(200, 200, 300)
    face = Image.new("RGB", (128, 128), (110, 104, 90))
    found = pixels(composed(background, [face], [frame], (400, 400)))
    near = _nearness(frame, (400, 400))
    assert np.abs(found - (100, 110, 90))[near < EDGE + 0.02].max() <= 1
    assert (found[near >= MATCHED + 0.06] == (110, 104, 90)).all()
    unknown = pixels(composed(None, [face], [frame], (400, 400)))
    assert (unknown[near >= EDGE] == (110, 104, 90)).all()
    assert (unknown[near == 0] == GREY).all()


def test_faces_that_overlap_part_the_pixels_by_their_centres() -> None:
    """In any order; so a small face neither covers the middle of a large one nor vanishes."""
    background = Image.new("RGB", (400, 300), "black")
    frames = [Frame(150, 150, 280), Frame(270, 120, 90, 20)]
    faces = [Image.new("RGB", (64, 64), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    one = pixels(composed(None, faces, frames, background.size))
    other = pixels(composed(None, faces[::-1], frames[::-1], background.size))
    assert np.abs(one - other).max() < 40  # only where they mix
    assert np.abs(one - other).mean() < 1
    for found in (one, other):
        assert (found[150, 150] == (250, 0, 0)).all()
        assert found[120, 270, 1] > 230
    near = [_nearness(frame, background.size) for frame in frames]
    clear = (near[0] > 3 * near[1]) & (near[0] > EDGE)
    assert one[clear][:, 0].min() > 240


def test_odd_frames_and_sizes() -> None:
    face = Image.new("RGB", (64, 64), "white")
    for size in ((1, 1), (300, 2), (3, 700)):
        for frame in (Frame(0.5, 0.5, 0.01), Frame(1, 1, 4 * max(size), 45), Frame(0, 0, 5, 180)):
            for background in (None, Image.new("RGB", (2, 3))):
                assert composed(background, [face], [frame], size).size == size


def test_bands_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A photo that is higher than what is composed at once."""
    photo, frame = drawn(300, 900), Frame(150, 450, 700, 5)
    face, found = align(photo, frame, 256), []
    for band in (9, 256, 900):
        monkeypatch.setattr(composition, "BAND", band)
        found.append(pixels(composed(photo, [face], [frame], photo.size)))
    assert all(np.abs(each - found[0]).max() <= 1 for each in found)


def test_without_faces() -> None:
    photo = drawn(*SIZE)
    filled = without_faces(photo, FRAMES, 2048)
    near = np.max([_nearness(frame, SIZE) for frame in FRAMES], 0)
    seen = near < EDGE + MARGIN
    assert np.array_equal(pixels(filled)[seen], pixels(photo)[seen])
    rough = [np.abs(np.diff(pixels(each), axis=1))[~seen[:, 1:]].mean() for each in (photo, filled)]
    assert rough[1] < rough[0]
    assert without_faces(photo, FRAMES, 240).size == (240, 180)
    hidden = without_faces(photo, [Frame(240, 180, 5000)], 2048)  # all of it
    assert np.ptp(pixels(hidden), axis=(0, 1)).max() == 0
