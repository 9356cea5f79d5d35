"""Fitting: faces are found and aligned as in an aligned portrait, whose truth is known."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invcomp.codec import Codec
from invcomp.encoder import EncodeOptions
from invcomp.errors import FrameError, ImageWarning, OptionError
from invcomp.fitting import Fitted, fit_image
from invcomp.inversion.options import SearchOptions
from invcomp.model_zoo.catalogue import pretrained_path
from invcomp.perception.faces import find_faces
from invcomp.preprocessing.alignment import Frame, align
from invcomp.preprocessing.frame import FACE, fit, to_tensor

from .tiny import tiny_bundle

SHORT = SearchOptions(iterations=4, starts=1)


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    return Image.open(pretrained_path("portrait.jpg")).convert("RGB")


def photo(portrait: Image.Image, *places: Frame) -> Image.Image:
    """A grey photo of 900 x 600 with the portrait at each place."""
    canvas = Image.new("RGB", (900, 600), (96, 104, 110))
    opaque = Image.new("L", portrait.size, 255)
    for place in places:
        affine = (Image.Transform.AFFINE, place.affine_back(portrait.width))
        warped = portrait.transform(canvas.size, *affine, Image.Resampling.BICUBIC)
        canvas.paste(warped, mask=opaque.transform(canvas.size, *affine))
    return canvas


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Root mean square, of 2, in the middle of the frame and without the finest detail."""
    margin = one.shape[-1] * 3 // 16
    middle = slice(margin, one.shape[-1] - margin)
    pooled = torch.nn.functional.avg_pool2d((one - other)[:, :, middle, middle], 4)
    return float(pooled.square().mean().sqrt())


def test_an_aligned_portrait_is_left_alone(portrait: Image.Image) -> None:
    fitted = fit_image(portrait, 256, FACE)
    assert fitted.place is None
    assert fitted.notes == ()
    assert fitted.size == portrait.size
    assert torch.equal(fitted.tensor, fit(portrait, 256)[0])


@pytest.mark.parametrize(
    "place", [Frame(300, 280, 400), Frame(600, 300, 300, 25), Frame(450, 300, 420, 90)]
)
def test_a_face_anywhere_is_aligned_as_the_portrait_is(portrait: Image.Image, place: Frame) -> None:
    fitted = fit_image(photo(portrait, place), 256, FACE)
    assert fitted.place is not None
    assert fitted.size is None
    assert np.hypot(fitted.place.x - place.x, fitted.place.y - place.y) < 0.03 * place.side
    assert fitted.place.side == pytest.approx(place.side, rel=0.06)
    assert fitted.place.angle == pytest.approx(place.angle, abs=2.5)
    original, cropped = fit(portrait, 256)[0], fit(photo(portrait, place), 256)[0]
    assert difference(fitted.tensor, original) < 0.4 * difference(cropped, original)


def test_what_was_aligned_is_aligned(portrait: Image.Image) -> None:
    """So coding the output of `invcomp fit` does not cut it again."""
    fitted = fit_image(photo(portrait, Frame(400, 300, 380, -20)), 512, FACE)
    again = fit_image((fitted.tensor[0] + 1) / 2, 512, FACE)
    assert again.place is None
    assert difference(again.tensor, fitted.tensor) < 0.01


def test_the_largest_face_or_another(portrait: Image.Image) -> None:
    large, small = Frame(250, 300, 420), Frame(700, 300, 260)
    image = photo(portrait, small, large)
    for face, place in ((None, large), (1, large), (2, small)):
        fitted = fit_image(image, 256, FACE, face)
        assert fitted.place is not None
        assert abs(fitted.place.x - place.x) < 20
        assert fitted.notes == (() if face else ("2 faces were found: the largest is compressed",))
    with pytest.raises(FrameError, match="face 3 was asked for, 2 found"):
        fit_image(image, 256, FACE, 3)


def test_a_face_that_cannot_be_coded_is_refused(portrait: Image.Image) -> None:
    with pytest.raises(FrameError, match="no face was found"):
        fit_image(Image.effect_noise((300, 200), 60), 256, FACE)
    with pytest.raises(FrameError, match="cuts the face off"):
        fit_image(photo(portrait, Frame(30, 300, 400)), 256, FACE)
    with pytest.raises(FrameError, match="too small"):
        fit_image(photo(portrait, Frame(450, 300, 56)), 256, FACE)


def test_other_frames_do_not_look_for_faces(portrait: Image.Image) -> None:
    image = photo(portrait, Frame(150, 300, 280))
    assert torch.equal(fit_image(image, 64).tensor, fit(image, 64)[0])
    stretched = fit_image(image, 64, "stretch")
    assert stretched.size == image.size
    assert stretched.tensor.shape == (1, 3, 64, 64)


def test_a_stretched_image_comes_back_in_its_own_shape(portrait: Image.Image) -> None:
    codec, image = Codec(tiny_bundle(), "cpu", compiled=False), portrait.resize((40, 90))
    (encoded,) = codec.encode([image], frame="stretch", search=SHORT)
    assert codec.decompress(encoded.data).size == (40, 90)
    (cropped,) = codec.encode([image], search=SHORT)
    assert codec.decompress(cropped.data).size == (40, 40)


@pytest.mark.parametrize("size", [(90, 40), (30, 70), (64, 64), (50, 50)])
def test_a_padded_image_comes_back_whole(portrait: Image.Image, size: tuple[int, int]) -> None:
    codec, image = Codec(tiny_bundle(), "cpu", compiled=False), portrait.resize(size)
    fitted = codec.encoder.fit(image, "pad")
    assert fitted.padded == (size[0] != size[1])
    (encoded,) = codec.encode([image], frame="pad", search=SHORT)
    assert codec.decompress(encoded.data).size == size
    # measured in the frame, as it was searched for
    again = codec.measure(fitted, encoded.data)
    assert again.lpips == pytest.approx(encoded.lpips, abs=1e-4)


def test_the_edges_of_a_padded_image_are_continued() -> None:
    image = Image.new("RGB", (64, 32), "red")
    image.paste("blue", (0, 16, 64, 32))
    tensor, size = fit(image, 64, "pad")
    assert size == (64, 32)
    pixels = (tensor[0].permute(1, 2, 0) + 1) / 2
    assert pixels[:30].mean((0, 1)).tolist() == pytest.approx([1, 0, 0], abs=0.01)
    assert pixels[34:].mean((0, 1)).tolist() == pytest.approx([0, 0, 1], abs=0.01)


def test_a_whole_photo_has_all_its_faces(portrait: Image.Image) -> None:
    places = Frame(250, 300, 420), Frame(700, 300, 260)
    image, codec = photo(portrait, *places), Codec(tiny_bundle(), "cpu", compiled=False)
    data = codec.compress_photo(image, 400, search=SHORT)
    assert len(data) < 400 + 2 * 200
    decoded = codec.decompress(data)
    assert decoded.size == image.size
    assert codec.decompress(data, size=90).size == (90, 60)
    assert codec.decompress(data, faces_only=True).size == (64, 64)
    grey = np.asarray(decoded)[560:, :, :].mean((0, 1))
    assert grey == pytest.approx([96, 104, 110], abs=6)
    # what is in a face's frame is what its file decodes to, but for the blended edge
    (one, other) = (fit_image(image, 64, FACE, number) for number in (1, 2))
    for fitted in (one, other):
        assert fitted.place is not None
        shown = align(decoded, fitted.place, 64)
        alone = codec.decompress(codec.compress(fitted, search=SHORT))
        assert difference(to_tensor(shown), to_tensor(alone)) < 0.2
    assert codec.compress_photo(portrait, search=SHORT) == codec.compress(portrait, search=SHORT)
    beside = portrait.copy()  # another face in an aligned image is not coded
    beside.paste(portrait.resize((260, 260)), (760, 0))
    assert len(find_faces(beside)) == 2
    data = codec.compress_photo(beside, search=SHORT)
    assert data == codec.compress(beside, face=1, search=SHORT)
    with pytest.raises(FrameError, match="no face was found"):
        codec.compress_photo(Image.new("RGB", (300, 200), "grey"))


def test_notes_are_warnings_in_python_and_part_of_an_outcome(portrait: Image.Image) -> None:
    image = photo(portrait, Frame(250, 300, 420), Frame(700, 300, 260))
    codec, options = (
        Codec(tiny_bundle(), "cpu", compiled=False),
        EncodeOptions(frame=FACE, search=SHORT),
    )
    (outcome,) = codec.stream([("both", image)], options)
    assert outcome.place is not None
    assert outcome.notes == ("2 faces were found: the largest is compressed",)
    with pytest.warns(ImageWarning, match="2 faces were found"):
        data = codec.compress(image, frame=FACE, search=SHORT)
    assert data == outcome.result().data
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert codec.compress(image, frame=FACE, face=1, search=SHORT) == data


def test_an_image_without_a_face_does_not_stop_the_others(portrait: Image.Image) -> None:
    codec, options = (
        Codec(tiny_bundle(), "cpu", compiled=False),
        EncodeOptions(frame=FACE, search=SHORT, batch=2),
    )
    grey = Image.new("RGB", (300, 300), "grey")
    outcomes = list(codec.stream([(0, grey), (1, portrait), (2, grey)], options))
    assert [isinstance(outcome.error, FrameError) for outcome in outcomes] == [True, False, True]


def test_a_fitted_image_is_not_fitted_again(portrait: Image.Image) -> None:
    fitted = Fitted(torch.rand(1, 3, 64, 64) * 2 - 1)
    assert fit_image(fitted, 64, FACE) is fitted
    codec = Codec(tiny_bundle(), "cpu", compiled=False)
    assert len(list(codec.encode([fitted], search=SHORT))) == 1


@pytest.mark.parametrize("options", [{"frame": "fish-eye"}, {"face": 0}, {"face": -1}])
def test_options_that_make_no_sense(options: dict[str, str | int]) -> None:
    with pytest.raises(OptionError):
        EncodeOptions(**options)  # type: ignore[arg-type]


FOLDERS = ("faces", "faces_wild")


@pytest.mark.parametrize("folder", FOLDERS)
def test_aligned_portraits_are_recognised(folder: str) -> None:
    path = Path(__file__).resolve().parents[2] / "shared" / folder
    portraits = sorted(path.glob("*.jpg"))[:4]
    if not portraits:
        pytest.skip(f"needs the test portraits in {path.parent.name}/{folder}")
    for each in portraits:
        with Image.open(each) as image:
            assert fit_image(image, 256, FACE).place is None, each.name


def test_unaligned_photos_of_persons_are_found() -> None:
    path = Path(__file__).resolve().parents[2] / "shared" / "faces_pairs"
    photos = sorted(path.glob("*.jpg"))[::4]
    if not photos:
        pytest.skip(f"needs the test photos in {path.parent.name}/{path.name}")
    for each in photos:
        with Image.open(each) as image:
            fitted = fit_image(image, 256, FACE)
        assert fitted.place is not None, each.name
        assert fitted.notes == (), each.name
