"""Places and the layers of a photo: what was written is read, anything else is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invcomp.bitstream import FACES, PHOTO, IvcFile, Layer
from invcomp.errors import BitstreamError, ImageError
from invcomp.photo import CodedFace, FacesLayer, PhotoLayer, Place, photo_in, quantised
from invcomp.preprocessing.alignment import Frame

numbers = st.integers(0, 65535)
places = st.builds(Place, numbers, numbers, st.integers(1, 65535), numbers)
sizes = st.tuples(st.integers(1, 65535), st.integers(1, 65535))
faces = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=600)), min_size=1, max_size=5)


@given(st.floats(0, 4000), st.floats(0, 3000), st.floats(20, 8000), st.floats(-720, 720))
def test_a_place_is_within_half_a_pixel(x: float, y: float, side: float, angle: float) -> None:
    frame, size = Frame(x, y, side, angle), (4000, 3000)
    found = quantised(frame, size)
    furthest = np.linalg.norm(found.corners() - frame.corners(), axis=1).max()
    assert furthest < 0.5 + 0.00007 * side  # the angle's unit moves the corners of a large frame
    assert side > 5000 or furthest < 0.5
    assert quantised(found, size) == found


def test_a_place_scales_with_its_photo() -> None:
    place = Place.of(Frame(1000, 900, 800, 12), (4000, 3000))
    small = place.frame((400, 300))
    assert (small.x, small.y, small.side) == pytest.approx((100, 90, 80), abs=0.05)
    assert small.angle == pytest.approx(12, abs=0.005)
    assert Place.of(Frame(0, 0, 5, -90), (9, 9)).frame((9, 9)).angle == -90


@pytest.mark.parametrize(
    "frame", [Frame(-3, 50, 40), Frame(50, 103, 40), Frame(50, 50, 401), Frame(200, 50, 40)]
)
def test_frames_that_no_place_can_say(frame: Frame) -> None:
    with pytest.raises(ImageError, match="too far beyond the photo"):
        Place.of(frame, (100, 100))


@given(faces, st.data())
def test_faces_round_trip(found: list[tuple[int, bytes]], data: st.DataObject) -> None:
    details = data.draw(st.lists(st.binary(max_size=300), min_size=len(found), max_size=len(found)))
    layer = FacesLayer(
        tuple(CodedFace(*face, detail) for face, detail in zip(found, details, strict=True))
    )
    assert FacesLayer.unpack(layer.pack(), layer.pack_details()) == layer
    alone = FacesLayer.unpack(layer.pack())
    assert [face[:2] for face in alone.faces] == found
    if more := layer.pack_details():
        with pytest.raises(BitstreamError, match="details"):
            FacesLayer.unpack(layer.pack(), more + b"\1")


@given(sizes, st.lists(places, min_size=1, max_size=5), st.binary(max_size=99))
def test_photos_round_trip(size: tuple[int, int], found: list[Place], stream: bytes) -> None:
    layer = PhotoLayer(size, tuple(found), stream)
    data = layer.pack()
    assert len(data) == 4 + 8 * len(found) + len(stream)
    assert PhotoLayer.unpack(data, len(found)) == layer
    for end in range(4 + 8 * len(found)):
        with pytest.raises(BitstreamError, match=f"{end} bytes of"):
            PhotoLayer.unpack(data[:end], len(found))


@given(st.binary(max_size=60), st.integers(1, 4))
def test_any_bytes(data: bytes, count: int) -> None:
    for read in (FacesLayer.unpack, lambda some: PhotoLayer.unpack(some, count)):
        try:
            layer = read(data)
        except BitstreamError:
            continue
        if not isinstance(layer, FacesLayer) or b"\xff" not in data:  # a length has one form
            assert layer.pack() == data


def test_bytes_that_make_no_sense() -> None:
    for data in (b"", b"\x14", b"\x14\xff", b"\x14\x02a", b"\x14\x01a\x15"):
        with pytest.raises(BitstreamError, match=r"truncated|ends within"):
            FacesLayer.unpack(data)
    good = PhotoLayer((9, 8), (Place(1, 2, 3, 4),), b"").pack()
    for at in (0, 2, 8):
        with pytest.raises(BitstreamError, match="a side of 0"):
            PhotoLayer.unpack(good[:at] + bytes(2) + good[at + 2 :], 1)


def test_which_files_are_photos() -> None:
    file = IvcFile(b"abcd", 9, (b"x",))
    more, photo = (
        FacesLayer((CodedFace(1, b"y"),)),
        PhotoLayer((9, 8), (Place(1, 2, 3, 4),) * 2, b"z"),
    )
    layers = Layer(FACES, more.pack()), Layer(PHOTO, photo.pack())
    assert photo_in(file) is None
    assert photo_in(replace(file, layers=layers[:1])) is None
    assert photo_in(replace(file, layers=layers)) == (more, photo)
    alone = photo_in(replace(file, layers=layers[1:]))
    assert alone is not None
    assert alone[0].faces == ()
    assert len(alone[1].places) == 1  # what follows is read as the stream
