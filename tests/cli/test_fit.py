"""invcomp fit, and `compress` of photos in which a face must be found."""

import json
from pathlib import Path

import pytest
from PIL import Image

from invcomp.model_zoo.catalogue import pretrained_path
from invcomp.preprocessing.alignment import Frame, is_aligned

from .conftest import Invcomp


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
