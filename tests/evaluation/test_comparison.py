"""Real files of two tiny images: each is there, and measured as it lies there."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from invcomp.bitstream import IvcFile
from invcomp.bundle import read_bundle
from invcomp.codec import Codec
from invcomp.distilled.aids import SearchAids
from invcomp.distilled.encoder import InversionEncoder
from invcomp.errors import OptionError
from invcomp.evaluation.codecs import available_codecs
from invcomp.evaluation.comparison import MOST_PSNR, Comparison, Subject
from invcomp.evaluation.curves import COMPARED, OURS, QUALITIES
from invcomp.evaluation.metrics import Metrics, bytes_of, tensor_of
from invcomp.evaluation.plan import Plan
from invcomp.inversion.options import SearchOptions
from invcomp.perception.identity import Face
from invcomp.perception.kid import Kid, features_here
from invcomp.preprocessing.frame import from_tensor

SEARCH = SearchOptions(iterations=6, starts=1)
PLAN = Plan(("webp",), (34, 82), (1.0, 0.5), ("lpips_alex", "psnr"), SEARCH)

Compare = Callable[..., Comparison]


@pytest.fixture(scope="module")
def codec(tiny_cache: Path) -> Codec:
    return Codec(read_bundle(tiny_cache / "models" / "tiny.ivm"), "cpu", compiled=False)


@pytest.fixture
def compare(codec: Codec, images: list[Path], tmp_path: Path) -> Compare:
    """A comparison of the first two images in a folder of its own."""

    def make(plan: Plan = PLAN, photos: list[Path] = images[:2], **options: object) -> Comparison:
        subjects = [Subject(path.name, lambda path=path: Image.open(path)) for path in photos]
        return Comparison(codec, subjects, plan, tmp_path / "report", **options)  # type: ignore

    return make


def test_every_file_is_there_and_measured_as_it_lies_there(compare: Compare, codec: Codec) -> None:
    comparison = compare()
    comparison.run()
    files = comparison.files()
    assert len(files) == 2 * (2 + 2 * len(QUALITIES["webp"]))
    metrics = Metrics(names=PLAN.metrics)
    for file in files:
        path = comparison.path(file.image, file.codec, file.size, file.quality)
        assert path.stat().st_size == file.bytes
        [subject] = [s for s in comparison.subjects if s.name == file.image]
        if file.codec == OURS:
            decoded = codec.decompress(path.read_bytes())
        else:
            decoded = Image.open(path).convert("RGB")
            assert decoded.size == (file.size, file.size)
            decoded = decoded.resize((64, 64), Image.Resampling.LANCZOS)
        original = comparison.frame(subject)
        assert original.size == (64, 64)
        again = metrics.measure(tensor_of(original), tensor_of(decoded))
        assert file.values == pytest.approx(again, abs=1e-4)


def test_ours_has_no_size_in_its_header(compare: Compare) -> None:
    """All codecs get images of the frame's size, so that none pays for another."""
    comparison = compare()
    comparison.run()
    data = comparison.path("b.jpg", OURS, 64, 34).read_bytes()
    assert IvcFile.unpack(data).original_size is None


def test_kid_is_of_the_decoded_set(compare: Compare) -> None:
    comparison = compare()
    comparison.run()
    points = comparison.points()
    assert {(p.codec, p.size, p.quality) for p in points} == set(comparison.all_settings)
    point = points[3]
    images = [
        comparison.decoded(s.name, point.codec, point.size, point.quality)
        for s in comparison.subjects
    ]
    frames = [comparison.frame(subject) for subject in comparison.subjects]
    as_bytes = [[bytes_of(p) for p in some] for some in (frames, images)]
    kid = Kid(as_bytes[0])
    assert comparison.kid_features == kid.features == features_here()
    assert point.values["kid"] == pytest.approx(kid(as_bytes[1]), rel=1e-3, abs=1e-5)


def test_one_image_has_no_kid(compare: Compare, images: list[Path]) -> None:
    comparison = compare(photos=images[:1])
    comparison.run()
    assert comparison.kid_features is None
    assert all("kid" not in point.values for point in comparison.points())


def test_what_is_there_is_not_made_anew(compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compare()
    first.run()
    before = first.results.path.read_bytes()
    gone = first.path("a.png", "webp", 32, QUALITIES["webp"][0])
    gone.unlink()

    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("a file that is there was made anew")

    monkeypatch.setattr(Codec, "stream", never)
    stages = []
    again = compare(moved=lambda stage, done, total, note: stages.append((stage, total)))
    again.run()
    assert gone.is_file()  # the one that was missing
    assert ("codecs", 1) in stages
    assert {stage for stage, _ in stages} == {"images", "codecs"}
    added = again.results.path.read_bytes()[len(before) :]
    assert again.results.path.read_bytes().startswith(before)
    assert len(added.splitlines()) == 1
    assert len(again.files()) == len(first.files())


def test_more_can_be_added(compare: Compare, images: list[Path]) -> None:
    compare().run()
    plan = Plan(("webp", "jpeg"), (34, 50, 82), (1.0, 0.5), PLAN.metrics, SEARCH)
    larger = compare(plan, images)
    larger.run()
    settings = 3 + 2 * (len(QUALITIES["webp"]) + len(QUALITIES["jpeg"]))
    assert len(larger.files()) == 3 * settings
    assert len(larger.points()) == settings
    smaller = compare()
    assert len(smaller.files()) == 2 * (2 + 2 * len(QUALITIES["webp"]))


def test_with_another_search_only_ours_are_made_anew(compare: Compare) -> None:
    first = compare()
    first.run()
    before = first.results.path.read_text().splitlines()
    other = replace(PLAN, search=replace(SEARCH, iterations=7))
    again = compare(other)
    ours = len(PLAN.qualities or ())
    theirs = len(first.all_settings) - ours
    assert {file.codec for file in again.files()} == set(PLAN.codecs)
    again.run()
    added = [json.loads(line) for line in again.results.path.read_text().splitlines()]
    added = added[len(before) :]
    assert {row["codec"] for row in added} == {OURS}
    assert len(added) == 3 * ours  # of two images, and KID of the set
    assert len(again.points()) == ours + theirs
    assert len(compare().points()) == theirs  # those of the first search were replaced


def test_other_defaults_are_another_search(
    compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(PLAN, search=SearchOptions())
    before = compare(plan).made
    assert compare(plan).made == before
    monkeypatch.setattr("invcomp.inversion.options.ITERATIONS", 99)
    assert compare(plan).made != before


def test_other_weights_of_likeness_are_another_search(
    compare: Compare, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = set()
    for face in (None, Face(), Face(dlib=0.3)):
        settings = replace(codec.bundle.settings, face=face)
        monkeypatch.setattr(codec, "bundle", replace(codec.bundle, settings=settings))
        made.add(compare(Plan(("webp",), metrics=("psnr",), search=SEARCH)).made)
    assert len(made) == 3


def test_another_encoder_is_another_search(compare: Compare, codec: Codec) -> None:
    plain = compare()
    made = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        aided = replace(
            codec.bundle, aids=SearchAids(InversionEncoder(8).eval().requires_grad_(False))
        )
        plain.codec = Codec(aided, "cpu", compiled=False)
        plain.__dict__.pop("made", None)
        made.add(plain.made)
    assert len(made) == 2


def test_a_changed_image_is_measured_anew(compare: Compare, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    for colour in ("red", "blue"):
        Image.new("RGB", (64, 64), colour).save(path)
        comparison = compare(photos=[path])
        assert comparison.files() == []
        comparison.run()
        assert len(comparison.files()) == 2 + 2 * len(QUALITIES["webp"])


def test_equal_images_count_as_a_hundred_decibels(compare: Compare, tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    Image.new("RGB", (64, 64), (128, 128, 128)).save(path)  # which any codec gets exactly
    comparison = compare(photos=[path])
    comparison.run()
    values = [file.values["psnr"] for file in comparison.files()]
    assert max(values) == MOST_PSNR
    assert all(map(math.isfinite, values))


def test_metrics_that_need_larger_images_are_refused(compare: Compare) -> None:
    plan = Plan(("webp",), metrics=("psnr", "ms_ssim"), search=SEARCH)
    with pytest.raises(OptionError, match="ms_ssim cannot measure images of 64 px"):
        compare(plan)


def test_all_codecs_and_all_metrics(compare: Compare, vgg_trunk: None) -> None:
    codecs = available_codecs(COMPARED)
    metrics = ("lpips_alex", "lpips_vgg", "dists", "psnr")
    comparison = compare(Plan(codecs, (50,), (0.5,), metrics, SEARCH))
    comparison.run()
    points = comparison.points()
    assert {point.codec for point in points} == {OURS, *codecs}
    for point in points:
        assert set(point.values) == {*metrics, "kid"}
    for codec in codecs:
        first, *_, last = [point for point in points if point.codec == codec]
        assert first.bytes < last.bytes
        assert first.values["psnr"] < last.values["psnr"]


def test_the_frame_is_the_largest_centred_square(compare: Compare) -> None:
    wide = Image.new("RGB", (100, 50), "red")
    wide.paste("blue", (25, 0, 75, 50))
    frame = compare().frame(Subject("wide", lambda: wide))
    assert (
        frame.tobytes()
        == from_tensor(tensor_of(Image.new("RGB", (64, 64), "blue")) * 2 - 1).tobytes()
    )
