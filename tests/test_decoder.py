"""The decoder by itself: what the codec decodes, whatever its caller did to torch."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from invcomp.bitstream import IvcFile
from invcomp.codec import Codec
from invcomp.decoder import Decoder, decode_conventional
from invcomp.errors import BitstreamError, ImageError, InvcompError, MissingBundleError, OptionError
from invcomp.generators.base import normal
from invcomp.inversion.options import SearchOptions
from invcomp.photo import conventional_file, with_photo
from invcomp.preprocessing.alignment import Frame
from invcomp.preprocessing.frame import from_tensor, padded_box

from .bitstream.test_ivc import sealed
from .conventional.images import drawn
from .importers.memory import resident
from .tiny import tiny_bundle

SHORT = SearchOptions(iterations=8)
Mode = Callable[[], contextlib.AbstractContextManager[Any]]


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """float64 as torch's default."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        assert torch.get_default_dtype() == torch.float64, "the caller's own was not given back"
        torch.set_default_dtype(torch.float32)


def autocast() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


MODES: list[Mode] = [torch.no_grad, torch.inference_mode, float64, autocast]


@pytest.fixture(scope="module")
def image() -> Image.Image:
    decoder = Decoder(tiny_bundle(), "cpu")
    c = normal(1, 64, seed=3) * decoder.coordinates.deviations
    return from_tensor(decoder.generator(decoder.coordinates.latents(c)).detach())


def test_it_decodes_what_the_codec_decodes(image: Image.Image) -> None:
    codec = Codec(tiny_bundle(), "cpu", compiled=False)
    data = codec.compress(image, search=SHORT)
    decoded = Decoder(codec.bundle, "cpu").decompress(data)
    assert np.array_equal(np.array(decoded), np.array(codec.decompress(data)))


def test_it_refuses_files_of_other_bundles(image: Image.Image) -> None:
    codec = Codec(tiny_bundle(), "cpu", compiled=False)
    data = bytearray(codec.compress(image, search=SHORT))
    other = Decoder(tiny_bundle(), "cpu")
    other.fingerprint = b"else"
    with pytest.raises(MissingBundleError, match="656c7365"):
        other.decompress(bytes(data))


@pytest.mark.parametrize("mode", MODES)
def test_the_callers_modes_change_nothing(image: Image.Image, mode: Mode, tmp_path: Path) -> None:
    """Neither a file nor what it decodes to, and a codec loaded there works afterwards."""
    tiny_bundle().save(tmp_path / "tiny.ivm")
    plain = Codec.load(tmp_path / "tiny.ivm", "cpu", compiled=False)
    data = plain.compress(image, search=SHORT)
    expected = np.array(plain.decompress(data))
    with mode():
        codec = Codec.load(tmp_path / "tiny.ivm", "cpu", compiled=False)
        assert codec.compress(image, search=SHORT) == data
        assert np.array_equal(np.array(codec.decompress(data)), expected)
        assert codec.measure(image, data).lpips == plain.measure(image, data).lpips
    assert codec.compress(image, search=SHORT) == data


@pytest.mark.parametrize("mode", MODES)
def test_the_callers_modes_come_back_between_files(image: Image.Image, mode: Mode) -> None:
    codec = Codec(tiny_bundle(), "cpu", compiled=False)

    def modes() -> tuple[Any, ...]:
        return (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.get_default_dtype(),
            torch.is_autocast_enabled("cpu"),
        )

    with mode():
        before = modes()
        for _ in codec.encode([image] * 2, search=SHORT, batch=1):
            assert modes() == before


FRAMES = [Frame(90, 80, 70, 10), Frame(220, 90, 100), Frame(150, 160, 50, -20)]


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(tiny_bundle(), "cpu")


@pytest.fixture(scope="module")
def faces(decoder: Decoder) -> list[bytes]:
    """Files of three faces."""
    random = np.random.default_rng(7)
    integers = [random.integers(-3, 4, 64) for _ in range(3)]
    payloads = [
        (decoder.bundle.entropy.encode(values, step, 0),)
        for step, values in zip((30, 32, 34), integers, strict=True)
    ]
    return [
        IvcFile(decoder.fingerprint, step, payload).pack()
        for step, payload in zip((30, 32, 34), payloads, strict=True)
    ]


@pytest.fixture(scope="module")
def photo(faces: list[bytes]) -> bytes:
    return with_photo(faces[0], faces[1:], drawn(300, 200), FRAMES, "webp", 300)


def middle(image: Image.Image, frame: Frame) -> np.ndarray:
    """The mean colour about the middle of a frame."""
    box = [round(c + sign * frame.side / 8) for sign in (-1, 1) for c in (frame.x, frame.y)]
    return np.asarray(image.crop(box), np.float32).mean((0, 1))


def test_a_photo_is_decoded_whole(decoder: Decoder, faces: list[bytes], photo: bytes) -> None:
    image = decoder.decompress(photo)
    assert image.size == (300, 200)
    assert np.abs(np.asarray(image, np.float32) - np.asarray(drawn(300, 200)))[190:].mean() < 20
    for face, frame in zip(faces, FRAMES, strict=True):
        alone = decoder.decompress(face)
        own = middle(alone, Frame(32, 32, 64))
        assert np.abs(middle(image, frame) - own).max() < 12
    for longer in (150, 600):
        scaled = decoder.decompress(photo, size=longer)
        assert scaled.size == (longer, longer * 2 // 3)
        difference = np.asarray(scaled.resize((150, 100)), np.float32) - np.asarray(
            image.resize((150, 100))
        )
        assert np.abs(difference).mean() < 3


def test_its_first_face_alone(decoder: Decoder, faces: list[bytes], photo: bytes) -> None:
    alone = decoder.decompress(photo, faces_only=True)
    assert np.array_equal(np.asarray(alone), np.asarray(decoder.decompress(faces[0])))
    assert decoder.decompress(photo, faces_only=True, size=40).size == (40, 40)


def test_the_beginning_of_a_photo(decoder: Decoder, faces: list[bytes], photo: bytes) -> None:
    """Incomplete layers are left out: up to its last byte it is the first face."""
    first = np.asarray(decoder.decompress(faces[0]))
    for count in (len(photo) - 1, len(photo) - 200):
        assert np.array_equal(np.asarray(decoder.decompress(photo, count)), first)
        assert np.array_equal(np.asarray(decoder.decompress(photo[:count], count)), first)
    assert decoder.decompress(photo, len(photo)).size == (300, 200)
    assert decoder.decompress(photo, 20).size == (64, 64)
    with pytest.raises(BitstreamError, match="cut short"):
        decoder.decompress(photo[:-1])


def test_files_of_all_kinds_in_one_batch(
    decoder: Decoder, faces: list[bytes], photo: bytes
) -> None:
    stream = conventional_file(drawn(90, 50), "webp", 300)
    files = [stream, faces[1], photo, stream, faces[2]]
    images = decoder.decompress_batch(files)
    assert [image.size for image in images] == [(90, 50), (64, 64), (300, 200), (90, 50), (64, 64)]
    for image, data in zip(images, files, strict=True):
        difference = np.asarray(image, int) - np.asarray(decoder.decompress(data), int)
        assert np.abs(difference).max() <= 1
    assert [max(i.size) for i in decoder.decompress_batch(files, size=33)] == [33] * 5
    assert decoder.decompress_batch([stream])[0].size == (90, 50)


def test_padding_is_cut_off(decoder: Decoder, faces: list[bytes]) -> None:
    plain = IvcFile.unpack(faces[0])
    square = decoder.decompress(faces[0])
    for size in ((640, 480), (30, 64), (5, 900), (64, 64)):
        fields = (plain.fingerprint, plain.step_index, plain.payloads, size)
        padded = decoder.decompress(IvcFile(*fields, padded=True).pack())
        box = padded_box(size, 64)
        expected = square.crop(box).resize(size, Image.Resampling.LANCZOS)
        assert np.array_equal(np.asarray(padded), np.asarray(expected))
        stretched = decoder.decompress(IvcFile(*fields).pack())
        assert stretched.size == padded.size == size
        assert np.array_equal(np.asarray(stretched), np.asarray(square.resize(size, 1)))
        longer = decoder.decompress(IvcFile(*fields, padded=True).pack(), size=32)
        assert max(longer.size) == 32
    assert padded_box((640, 480), 64) == (0, 8, 64, 56)
    assert padded_box((30, 64), 64) == (17, 0, 47, 64)
    assert padded_box((1, 900), 64) == (31, 0, 32, 64)


def test_files_without_a_bundle() -> None:
    data = conventional_file(drawn(90, 50), "webp", 300)
    image = decode_conventional(data)
    assert image is not None
    assert image.size == (90, 50)
    assert decode_conventional(data, 45).size == (45, 25)
    with pytest.raises(MissingBundleError, match="without a bundle"):
        Decoder.for_file(data)
    with pytest.raises(MissingBundleError, match="without a bundle"):
        Decoder(tiny_bundle(), "cpu").unpack(data)


def test_sizes_that_cannot_be(decoder: Decoder, faces: list[bytes], photo: bytes) -> None:
    assert decode_conventional(faces[0]) is None
    for data in (photo, faces[0], conventional_file(drawn(90, 50), "webp", 300)):
        with pytest.raises(OptionError, match="at least 1"):
            decoder.decompress(data, size=0)
        with pytest.raises(ImageError, match="more than Pillow's limit"):
            decoder.decompress(data, size=70_000)


def claiming(decoder: Decoder, *size: int) -> bytes:
    """A file of a few bytes that claims to be an image of this size."""
    return IvcFile(decoder.fingerprint, 60, (b"",), size).pack()


def test_a_limit_of_pixels(decoder: Decoder, faces: list[bytes], photo: bytes) -> None:
    for data in (photo, faces[0], conventional_file(drawn(90, 50), "webp", 300)):
        pixels = decoder.decompress(data).width * decoder.decompress(data).height
        assert decoder.decompress(data, max_pixels=pixels)
        with pytest.raises(ImageError, match=f"more than {pixels - 1:,}"):
            decoder.decompress(data, max_pixels=pixels - 1)
    small = conventional_file(drawn(90, 50), "webp", 300)
    with pytest.raises(ImageError, match="more than 60"):
        decoder.decompress(small, size=10, max_pixels=60)  # it is decoded in its own size
    assert decode_conventional(small, max_pixels=4500)


def test_small_files_that_claim_large_images(decoder: Decoder) -> None:
    """17 bytes each, 64 MB each as Pillow holds them: one is in memory at a time."""
    files = [claiming(decoder, 4000, 4000)] * 20
    assert len(files[0]) == 17
    with pytest.raises(ImageError, match="20 images of 320,000,000 pixels"):
        decoder.decompress_batch(files)
    peak_of_memory()
    before, count = resident("VmRSS"), 0
    for image in decoder.decompress_each(files):
        assert image.size == (4000, 4000)
        count += 1
        del image
    assert count == 20
    assert peak_of_memory() - before < 400 << 20


def peak_of_memory() -> int:
    """Bytes at the peak since the last call."""
    clear = Path("/proc/self/clear_refs")
    if not clear.exists():
        pytest.skip("the peak of memory is only known on Linux")
    peak = resident("VmHWM")
    clear.write_text("5")  # it begins anew
    return peak


def test_altered_photos_have_clean_errors(decoder: Decoder, photo: bytes) -> None:
    """With right checksums. Small, because an altered size may be any.

    tests/photo and tests/conventional alter thousands, which decode no faces.
    """
    random, refused = np.random.default_rng(3), 0
    for _ in range(200):
        altered = bytearray(photo)
        for _ in range(random.integers(1, 5)):
            altered[random.integers(10, len(photo))] = random.integers(256)
        try:
            assert max(decoder.decompress(sealed(bytes(altered)), size=40).size) == 40
        except InvcompError:
            refused += 1
    assert 20 < refused < 200
