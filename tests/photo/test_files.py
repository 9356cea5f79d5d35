"""Files of photos and of conventional images."""

import numpy as np
import pytest
from PIL import Image

from invcomp import conventional
from invcomp.bitstream import PHOTO, IvcFile, Layer
from invcomp.errors import BitstreamError, GoalError, ImageError, InvcompError, OptionError
from invcomp.photo import (
    CodedFace,
    conventional_file,
    conventional_image,
    own_size,
    photo_in,
    quantised,
    shown_size,
    with_photo,
)
from invcomp.preprocessing.alignment import Frame

from ..bitstream.test_ivc import sealed
from ..conventional.images import drawn

FACES = [IvcFile(b"abcd", step, (payload,)).pack() for step, payload in ((9, b"one"), (8, b"two"))]
FRAMES = [Frame(100, 90, 80, 5), Frame(220, 100, 60)]


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return drawn(300, 200)


@pytest.mark.parametrize("count", [1, 2])
def test_with_photo(photo: Image.Image, count: int) -> None:
    data = with_photo(FACES[0], FACES[1:count], photo, FRAMES[:count], "avif", 300)
    file = IvcFile.unpack(data)
    assert (file.fingerprint, file.step_index, file.payloads) == (b"abcd", 9, (b"one",))
    more, layer = photo_in(file)
    assert more.faces == (CodedFace(8, b"two"),) * (count - 1)
    assert layer.size == own_size(file) == (300, 200)
    frames = [place.frame(photo.size) for place in layer.places]
    assert frames == [quantised(frame, photo.size) for frame in FRAMES[:count]]
    assert 200 < len(layer.stream) <= 300
    overhead = 1 + 1 + 4 + 8 * count + (count - 1) * (1 + 1 + 2 + 3)
    assert len(data) == len(FACES[0]) + overhead + len(layer.stream)
    # outside the faces it is the photo
    background = np.asarray(layer.background().resize((300, 200)), np.float32)
    assert np.abs(background - np.asarray(photo))[150:].mean() < 15


def test_a_photo_of_which_only_the_faces_are_stored(photo: Image.Image) -> None:
    data = with_photo(FACES[0], [], photo, FRAMES[:1], "avif", 0)
    assert len(data) == len(FACES[0]) + 14
    _, layer = photo_in(IvcFile.unpack(data))
    assert layer.background() is None


def test_what_faces_hide_costs_nothing(photo: Image.Image) -> None:
    noise = np.array(photo)
    noise[60:120, 70:130] = np.random.default_rng(0).integers(0, 256, (60, 60, 3))
    frames = [Frame(100, 90, 120)]
    streams = [
        photo_in(IvcFile.unpack(with_photo(FACES[0], [], image, frames, "webp", 800)))[1].stream
        for image in (photo, Image.fromarray(noise))
    ]
    assert streams[0] == streams[1]


def test_files_that_make_no_photo(photo: Image.Image) -> None:
    other = IvcFile(b"else", 9, (b"x",)).pack()
    sized = IvcFile(b"abcd", 9, (b"x",), (9, 9)).pack()
    layered = IvcFile(b"abcd", 9, (b"x",), layers=(Layer(7, b""),)).pack()
    for files in ([FACES[0], other], [FACES[0], sized], [layered, FACES[0]], [FACES[0]]):
        with pytest.raises(ValueError, match="a photo"):
            with_photo(files[0], files[1:], photo, FRAMES, "webp", 300)
    with pytest.raises(ImageError, match="too far"):
        with_photo(FACES[0], [], photo, [Frame(-9, 0, 9)], "webp", 300)
    with pytest.raises(OptionError, match="no codec"):
        with_photo(FACES[0], [], photo, FRAMES[:1], "gif", 300)
    with pytest.raises(GoalError, match="5 bytes: WebP needs at least"):
        with_photo(FACES[0], [], photo, FRAMES[:1], "webp", 5)
    with pytest.raises(ImageError, match="65536 x 1 pixels"):
        with_photo(FACES[0], [], Image.new("RGB", (65536, 1)), FRAMES[:1], "webp", 300)


@pytest.mark.parametrize("codec", ["avif", "webp"])
def test_a_conventional_file(photo: Image.Image, codec: str) -> None:
    data = conventional_file(photo, codec, 400)
    assert 300 < len(data) <= 400
    file = IvcFile.unpack(data)
    assert not file.needs_bundle
    assert own_size(file) == file.original_size == photo.size
    image = conventional_image(file)
    assert image.size == photo.size
    assert np.abs(np.asarray(image, np.float32) - np.asarray(photo)).mean() < 15
    assert conventional_image(file, 30).size == (30, 20)
    with pytest.raises(GoalError) as caught:
        conventional_file(photo, codec, 25)
    least = int(str(caught.value).split()[-2])
    assert len(conventional_file(photo, codec, least)) <= least


def test_a_conventional_file_in_the_size_of_its_image() -> None:
    file = IvcFile.unpack(conventional_file(drawn(40, 30), "webp", 2000))
    assert file.original_size is None
    assert own_size(file) == conventional_image(file).size == (40, 30)


def test_shown_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown_size((400, 300), None) == (400, 300)
    assert shown_size((400, 300), 40) == (40, 30)
    assert shown_size((4000, 1), 40) == (40, 1)
    assert shown_size((40, 30), 400) == (400, 300)
    for size, longer in (((65535, 65535), None), ((9, 9), 70_000), ((9, 9), 60_000)):
        with pytest.raises(ImageError, match="more than Pillow's limit"):
            shown_size(size, longer)
    for longer in (0, -5):
        with pytest.raises(OptionError, match="at least 1"):
            shown_size((9, 9), longer)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert shown_size((60_000, 60_000), None) == (60_000, 60_000)


def test_altered_files_with_a_right_checksum_have_clean_errors(photo: Image.Image) -> None:
    """A thousand each of both kinds; what is read may be anything, but nothing else is raised."""
    random, refused = np.random.default_rng(2), 0
    faces = with_photo(FACES[0], FACES[1:], photo, FRAMES, "webp", 200)
    for data in (faces, conventional_file(photo, "avif", 200)):
        for _ in range(1000):
            altered = bytearray(data)
            for _ in range(random.integers(1, 5)):
                altered[random.integers(10, len(data))] = random.integers(256)
            refused += not reads(sealed(bytes(altered)))
    assert 300 < refused < 2000


def reads(data: bytes) -> bool:
    """Whether all of a file can be read; if not, it is refused as it should be."""
    try:
        file = IvcFile.unpack(data)
        own_size(file)
        if found := photo_in(file):
            found[1].background()
        if not file.needs_bundle:
            conventional_image(file, 20)
    except InvcompError:
        return False
    return True


def test_a_size_that_an_altered_file_claims() -> None:
    stream = conventional.compress(drawn(40, 30), "webp", 200)
    with pytest.raises(BitstreamError, match="cannot be decoded"):
        conventional.decompress(stream[:1] + b"\xff\xff\xff" + stream[4:])
    layer = Layer(PHOTO, bytes.fromhex("ffffffff 0101 0101 0101 0101".replace(" ", "")))
    file = IvcFile.unpack(IvcFile(b"abcd", 0, (b"",), layers=(layer,)).pack())
    assert own_size(file) == (65535, 65535)  # which shown_size refuses
