"""invcomp decompress: images, coarser images, and one clear line for every bad file."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from invcomp.bitstream import IvcFile
from invcomp.bundle import read_bundle
from invcomp.photo import conventional_file, with_photo
from invcomp.preprocessing.alignment import Frame

from ..conventional.images import drawn
from ..tiny import tiny_conditional_bundle
from .conftest import Invcomp


@pytest.fixture
def file(tmp_path: Path, ivc: bytes) -> Path:
    path = tmp_path / "a.ivc"
    path.write_bytes(ivc)
    return path


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.int16)


def test_a_png_is_written_beside_the_file(invcomp: Invcomp, file: Path) -> None:
    outcome = invcomp("decompress", file)
    assert (outcome.code, outcome.errors) == (0, [])
    assert pixels(file.with_suffix(".png")).shape == (64, 64, 3)
    assert "64 x 64" in outcome.out


def test_the_suffix_chooses_the_format(invcomp: Invcomp, file: Path) -> None:
    target = file.with_name("x.jpg")
    assert invcomp("decompress", file, "-o", target).code == 0
    with Image.open(target) as image:
        assert image.format == "JPEG"


def test_a_suffix_without_a_format(invcomp: Invcomp, file: Path) -> None:
    outcome = invcomp("decompress", file, "-o", file.with_name("x.xyz"))
    assert outcome.code == 1
    assert ".xyz" in outcome.errors[0]


def test_the_first_bytes_alone(invcomp: Invcomp, file: Path, ivc: bytes) -> None:
    end = len(ivc) - 4
    cut = file.with_name("cut.ivc")
    cut.write_bytes(ivc[:end])
    outputs = [file.with_name(f"{name}.png") for name in ("bytes", "cut")]
    for source, output in zip((file, cut), outputs, strict=True):
        outcome = invcomp("decompress", source, "--bytes", str(end), "-o", output)
        assert outcome.code == 0, outcome.err
        assert f"from {end} bytes" in outcome.out
        assert ("unverified" in outcome.err) == (source == cut)
    assert np.array_equal(*map(pixels, outputs))
    whole = file.with_name("whole.png")
    assert invcomp("decompress", file, "--bytes", "100000", "-o", whole).code == 0
    assert invcomp("decompress", file).code == 0
    assert np.array_equal(pixels(whole), pixels(file.with_suffix(".png")))
    assert np.abs(pixels(whole) - pixels(outputs[0])).max() > 1


@pytest.mark.parametrize(
    ("first", "says"),
    [(0, "0 bytes"), (9, "header"), (5, "header"), (-1, "-1")],
)
def test_too_few_bytes_are_one_line(invcomp: Invcomp, file: Path, first: int, says: str) -> None:
    outcome = invcomp("decompress", file, "--bytes", str(first))
    assert outcome.code == 1
    (line,) = outcome.errors
    assert says in line
    assert "Traceback" not in outcome.err
    assert not file.with_suffix(".png").exists()


def test_many_files_decode_as_one_by_one(invcomp: Invcomp, tmp_path: Path, file: Path) -> None:
    for number in range(5):
        shutil.copy(file, tmp_path / f"{number}.ivc")
    outcome = invcomp("decompress", tmp_path, "-o", tmp_path / "out")
    assert outcome.code == 0
    images = [pixels(path) for path in sorted((tmp_path / "out").iterdir())]
    assert len(images) == 6
    assert max(np.abs(image - images[0]).max() for image in images) <= 1


def test_bad_files_are_named_and_the_others_go_on(
    invcomp: Invcomp, tmp_path: Path, file: Path, ivc: bytes
) -> None:
    altered = bytearray(ivc)
    altered[-3] ^= 0x10
    bad = {
        "magic.ivc": (b"GIF89a" + ivc[6:], "not an .ivc file"),
        "empty.ivc": (b"", "truncated"),
        "short.ivc": (ivc[:9], "truncated"),
        "cut.ivc": (ivc[:-4], "cut short"),
        "altered.ivc": (bytes(altered), "altered"),
        "newer.ivc": (ivc[:2] + bytes([ivc[2] & 0x0F | 0x30]) + ivc[3:], "version 3"),
    }
    for name, (data, _) in bad.items():
        (tmp_path / name).write_bytes(data)
    outcome = invcomp("decompress", *(tmp_path / name for name in bad), file, "-o", tmp_path / "o")
    assert outcome.code == 1
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["a.png"]
    assert len(outcome.errors) == len(bad)
    for name, (_, reason) in bad.items():
        (line,) = (line for line in outcome.errors if name in line)
        assert reason in line
    assert "Traceback" not in outcome.err


def test_a_bundle_that_is_not_here(
    invcomp: Invcomp, file: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path / "empty"))
    outcome = invcomp("decompress", file)
    assert outcome.code == 1
    (line,) = outcome.errors
    assert "a.ivc" in line
    assert file.read_bytes()[3:7].hex() in line  # which bundle it would take
    assert "--model" in line  # and how to give it
    assert invcomp("decompress", file, "--model", tiny_model).code == 0


def test_files_of_a_model_that_cannot_be_loaded_do_not_stop_the_others(
    invcomp: Invcomp, file: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "cache" / "models"
    models.mkdir(parents=True)
    shutil.copy(tiny_model, models)
    damaged = models / "classes.ivm"
    tiny_conditional_bundle().save(damaged)
    fingerprint = read_bundle(damaged).fingerprint[:4]
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path / "cache"))
    unpacked = IvcFile.unpack(file.read_bytes())
    other = IvcFile(fingerprint, unpacked.step_index, unpacked.payloads)
    file.with_name("0.ivc").write_bytes(other.pack())  # comes first
    outcome = invcomp("decompress", file.with_name("0.ivc"), file)
    assert outcome.code == 1
    (line,) = outcome.errors
    assert "0.ivc" in line
    assert "do not match its fingerprint" in line
    assert file.with_suffix(".png").exists()


def test_a_proxy_of_a_model_that_is_named(invcomp: Invcomp, file: Path, tiny_model: Path) -> None:
    outcome = invcomp("decompress", file, "--proxy", "--model", tiny_model)
    assert outcome.errors == ["error: --proxy and --model exclude each other"]


def test_a_file_of_another_bundle(invcomp: Invcomp, file: Path, tiny_model: Path) -> None:
    unpacked = IvcFile.unpack(file.read_bytes())
    other = IvcFile(b"\x01\x02\x03\x04", unpacked.step_index, unpacked.payloads)
    file.with_name("other.ivc").write_bytes(other.pack())
    outcome = invcomp("decompress", file.with_name("other.ivc"), file, "--model", tiny_model)
    assert outcome.code == 1
    assert file.with_suffix(".png").exists()
    (line,) = outcome.errors
    assert "other.ivc" in line
    assert "01020304" in line


def test_existing_output_is_refused(invcomp: Invcomp, file: Path) -> None:
    file.with_suffix(".png").write_bytes(b"precious")
    assert invcomp("decompress", file).code == 1
    assert file.with_suffix(".png").read_bytes() == b"precious"
    assert invcomp("decompress", file, "--force").code == 0
    assert pixels(file.with_suffix(".png")).shape == (64, 64, 3)


def test_a_photo_its_face_and_other_sizes(invcomp: Invcomp, file: Path, ivc: bytes) -> None:
    file.write_bytes(with_photo(ivc, [], drawn(300, 200), [Frame(90, 80, 70)], "webp", 200))
    target = file.with_name("x.png")
    for arguments, shape in (
        ((), (200, 300)),
        (("--size", "150"), (100, 150)),
        (("--face-only",), (64, 64)),
        (("--face-only", "--size", "30"), (30, 30)),
    ):
        outcome = invcomp("decompress", file, "-o", target, "--force", *arguments)
        assert outcome.code == 0, outcome.err
        assert pixels(target).shape == (*shape, 3)
        assert f"{shape[1]} x {shape[0]}" in outcome.out
    outcome = invcomp("decompress", file, "--size", "0")
    assert outcome.errors == ["error: --size 0: at least 1 is needed"]


def test_conventional_files_need_no_model(
    invcomp: Invcomp, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path / "empty"))
    data = conventional_file(drawn(90, 60), "webp", 300)
    for name in ("1.ivc", "2.ivc"):
        file.with_name(name).write_bytes(data)
    cut = file.with_name("cut.ivc")
    cut.write_bytes(data[:-1])
    files = (file.with_name("1.ivc"), file.with_name("2.ivc"), cut)
    outcome = invcomp("decompress", *files, file, "-o", tmp_path / "o", "--size", "45")
    assert outcome.code == 1
    assert len(outcome.errors) == 2  # the one that is cut short, and the one that needs a model
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["1.png", "2.png"]
    assert pixels(tmp_path / "o" / "1.png").shape == (30, 45, 3)
    outcome = invcomp("decompress", cut, "--bytes", str(len(data) - 1))
    (line,) = outcome.errors
    assert "decodes only as a whole" in line
    whole = file.with_name("whole.png")
    assert invcomp("decompress", files[0], "--bytes", "999", "-o", whole).code == 0
    assert pixels(whole).shape == (60, 90, 3)


def test_small_files_that_claim_large_images(invcomp: Invcomp, file: Path, ivc: bytes) -> None:
    """Each is refused by its size; the others of its batch are decoded."""
    plain = IvcFile.unpack(ivc)
    large = IvcFile(plain.fingerprint, 60, (b"",), (9459, 9459)).pack()
    assert len(large) == 17
    for name in ("b", "c"):
        file.with_name(f"{name}.ivc").write_bytes(large)
    outcome = invcomp("decompress", file.parent, "-o", file.parent, "--max-pixels", "1000000")
    assert outcome.code == 1
    assert [line.split(":")[-1] for line in outcome.errors] == [
        " 9459 x 9459 pixels are more than 1,000,000"
    ] * 2
    assert pixels(file.with_suffix(".png")).shape == (64, 64, 3)


def test_a_file_without_an_end(invcomp: Invcomp, tmp_path: Path) -> None:
    outcome = invcomp("decompress", "/dev/zero", "-o", tmp_path / "x.png")
    assert outcome.code == 1
    assert outcome.errors == ["error: /dev/zero: over 67,108,864 bytes are no .ivc file"]
    assert "67,108,864" in invcomp("info", "/dev/zero").errors[0]
