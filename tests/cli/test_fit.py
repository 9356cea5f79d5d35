"""invcomp fit, and `compress` of photos in which a face must be found."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from invcomp.domain import DomainLimits
from invcomp.model_zoo.catalogue import pretrained_path
from invcomp.preprocessing.alignment import Frame, is_aligned

from ..tiny import tiny_bundle
from .conftest import FAST, Invcomp


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    return Image.open(pretrained_path("portrait.jpg")).convert("RGB")


@pytest.fixture
def photos(portrait: Image.Image, tmp_path: Path) -> Path:
    """A folder: two faces, none, and no image at all."""
    pair = Image.new("RGB", (900, 500), "grey")
    pair.paste(portrait.resize((420, 420)), (20, 40))
    pair.paste(portrait.resize((240, 240)), (580, 130))
    pair.save(tmp_path / "pair.png")
    Image.new("RGB", (300, 200), "grey").save(tmp_path / "wall.png")
    (tmp_path / "note.png").write_text("buy milk")
    return tmp_path


def test_a_face_is_aligned_and_what_was_found_is_drawn(invcomp: Invcomp, photos: Path) -> None:
    outcome = invcomp("fit", photos / "pair.png", "--size", "128", "--show")
    assert outcome.code == 0, outcome.err
    with Image.open(photos / "pair.aligned.png") as aligned:
        assert aligned.size == (128, 128)
    with (
        Image.open(photos / "pair.aligned-found.jpg") as found,
        Image.open(photos / "pair.png") as photo,
    ):
        assert found.size == photo.size
        assert found.convert("RGB").tobytes() != photo.convert("RGB").tobytes()
    assert "face 1 of 2" in outcome.out
    assert "turned" in outcome.out


def test_all_faces_and_their_places_as_json(invcomp: Invcomp, photos: Path) -> None:
    outcome = invcomp("fit", photos / "pair.png", "-o", photos / "f.png", "--all-faces", "--json")
    assert outcome.code == 0, outcome.err
    one, other = json.loads(outcome.out)
    assert [one["target"], other["target"]] == [str(photos / f"f-{n}.png") for n in (1, 2)]
    assert one["side"] > other["side"]
    for record, x, y in ((one, 230, 250), (other, 700, 250)):
        assert record["faces"] == 2
        assert record["centre"] == pytest.approx([x, y], abs=16)
        assert abs(record["roll"]) < 3
    assert sorted(path.name for path in photos.glob("f*.png")) == ["f-1.png", "f-2.png"]


def test_an_aligned_image_is_only_resized(
    invcomp: Invcomp, portrait: Image.Image, tmp_path: Path
) -> None:
    source = tmp_path / "p.png"
    portrait.save(source)
    outcome = invcomp("fit", source, "--size", str(portrait.width))
    assert "aligned already" in outcome.out
    with Image.open(tmp_path / "p.aligned.png") as image:
        assert image.tobytes() == portrait.tobytes()


def test_a_folder_goes_on_after_photos_without_a_face(invcomp: Invcomp, photos: Path) -> None:
    outcome = invcomp("fit", photos, "-o", photos / "out", "--size", "64")
    assert outcome.code == 1
    assert [path.name for path in (photos / "out").iterdir()] == ["pair.aligned.png"]
    assert len(outcome.errors) == 2
    assert any("wall.png: no face was found" in line for line in outcome.errors)
    assert any("note.png: not an image" in line for line in outcome.errors)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--face", "3"), "face 3 was asked for, 2 found"),
        (("--face", "2", "--all-faces"), "exclude"),
        (("--size", "8"), "size"),
        (("-o", "f.doc"), "unknown image format"),
    ],
)
def test_options_that_make_no_sense(
    invcomp: Invcomp, photos: Path, options: tuple[str, ...], word: str
) -> None:
    outcome = invcomp("fit", photos / "pair.png", *options)
    assert outcome.code == 1
    assert word in outcome.err


def test_compress_takes_the_largest_face_or_all(compress: Invcomp, photos: Path) -> None:
    face = ("--frame", "ffhq-face")
    outcome = compress(photos / "pair.png", *face)
    assert outcome.code == 0
    assert "pair.png: 2 faces were found: the largest is compressed" in outcome.err
    outcome = compress(photos / "pair.png", photos / "wall.png", *face, "--all-faces")
    assert outcome.code == 1
    (line,) = outcome.errors
    assert "wall.png: no face was found: --frame center-crop" in line
    files = [(photos / f"pair{number}.ivc").read_bytes() for number in ("", "-1", "-2")]
    assert files[0] == files[1] != files[2]


def test_a_photo_without_a_face_is_refused_unless_it_is_cropped(
    compress: Invcomp, photos: Path
) -> None:
    outcome = compress(photos / "wall.png", "--frame", "ffhq-face")
    assert outcome.code == 1
    assert "no face was found: --frame center-crop compresses its centred square" in outcome.err
    assert not (photos / "wall.ivc").exists()
    assert compress(photos / "wall.png", "--frame", "center-crop").code == 0


def test_frames_of_faces_are_those_of_compress(
    invcomp: Invcomp, photos: Path, portrait: Image.Image
) -> None:
    outcome = invcomp("fit", photos / "pair.png", "--json")
    (record,) = json.loads(outcome.out)
    frame = Frame(*record["centre"], record["side"], record["roll"])
    assert not is_aligned(frame, (900, 500))
    assert frame.side == pytest.approx(420, rel=0.06)


def test_a_whole_photo_comes_back_with_its_faces(
    invcomp: Invcomp, compress: Invcomp, photos: Path
) -> None:
    options = ("--frame", "ffhq-face", "--keep-photo", "--background", "600")
    outcome = compress(photos / "pair.png", *options, "--all-faces")
    assert outcome.code == 0, outcome.err
    assert "2 faces in the photo" in outcome.out
    file = photos / "pair.ivc"
    assert file.stat().st_size < 600 + 2 * 200
    assert invcomp("decompress", file, "-o", photos / "back.png").code == 0
    assert invcomp("decompress", file, "-o", photos / "face.png", "--face-only").code == 0
    assert invcomp("decompress", file, "-o", photos / "small.png", "--size", "90").code == 0
    sizes = {}
    for name in ("back", "face", "small"):
        with Image.open(photos / f"{name}.png") as image:
            sizes[name] = image.size
    assert sizes == {"back": (900, 500), "face": (64, 64), "small": (90, 50)}
    one = compress(photos / "pair.png", *options, "-o", photos / "one.ivc")
    assert "the face in the photo" in one.out
    assert (photos / "one.ivc").stat().st_size < file.stat().st_size


def test_an_image_without_a_face_falls_back(
    invcomp: Invcomp, compress: Invcomp, photos: Path
) -> None:
    options = ("--frame", "ffhq-face", "--fallback", "webp", "--background", "300")
    for more in ((), ("--all-faces", "--force")):
        outcome = compress(photos / "wall.png", *options, *more)
        assert outcome.code == 0, outcome.err
        assert "wall.png: no face was found: stored by WebP" in outcome.err
    assert (photos / "wall.ivc").stat().st_size <= 300
    assert invcomp("decompress", photos / "wall.ivc", "-o", photos / "back.png").code == 0
    with Image.open(photos / "back.png") as image:
        assert image.size == (300, 200)
        assert image.convert("RGB").getpixel((150, 100)) == pytest.approx((128, 128, 128), abs=3)


def test_an_image_beyond_the_limits_of_the_domain(
    invcomp: Invcomp, photos: Path, tmp_path: Path
) -> None:
    bundle = tiny_bundle()
    limits = DomainLimits((40,), (0.01,))
    model = tmp_path / "narrow.ivm"
    replace(bundle, settings=replace(bundle.settings, limits=limits)).save(model)
    command = ("compress", "--model", model, *FAST, photos / "pair.png")
    outcome = invcomp(*command)
    assert outcome.code == 0
    assert "warning: " in outcome.err
    assert "is above 0.010" in outcome.err
    strict = invcomp(*command, "-o", photos / "strict.ivc", "--strict")
    assert strict.code == 1
    assert "is above 0.010" in strict.errors[0]
    assert not (photos / "strict.ivc").exists()
    other = invcomp(*command, "-o", photos / "other.ivc", "--fallback", "avif")
    assert other.code == 0
    assert "stored by AVIF" in other.err
    assert invcomp("info", photos / "other.ivc").code == 0


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--all-faces", "--face", "1"), "exclude"),
        (("--strict", "--fallback", "avif"), "exclude"),
        (("--keep-photo", "--frame", "center-crop"), "ffhq-face"),
        (("--fallback", "tiff"), "tiff"),
        (("--frame", "fish-eye"), "fish-eye"),
        (("--face", "0"), "face 0"),
        (("--frame", "ffhq-face", "--keep-photo", "--background", "5"), "5"),
    ],
)
def test_what_compress_does_not_do_with_photos(
    compress: Invcomp, photos: Path, options: tuple[str, ...], word: str
) -> None:
    outcome = compress(photos / "pair.png", *options)
    assert outcome.code == 1
    assert word in outcome.errors[0]
    assert not (photos / "pair.ivc").exists()


def test_compare_and_prepare_name_a_photo_without_a_face(
    invcomp: Invcomp, photos: Path, tmp_path: Path
) -> None:
    bundle = tiny_bundle()
    model = tmp_path / "faces.ivm"
    replace(bundle, settings=replace(bundle.settings, frame="ffhq-face")).save(model)
    (tmp_path / "photos").mkdir()
    (photos / "wall.png").rename(tmp_path / "photos" / "wall.png")
    folder = tmp_path / "photos"
    for command in (
        ("compare", folder, "-o", tmp_path / "report", "--model", model, "--codecs", "webp", *FAST),
        ("prepare", model, "-o", tmp_path / "new.ivm", "--keep", "--photos", folder),
    ):
        outcome = invcomp(*command)
        assert outcome.code == 1
        (line,) = outcome.errors
        assert "wall.png: no face was found" in line
