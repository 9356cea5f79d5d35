import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invcomp.conventional.codecs import LABELS, LEAST_QUALITY, Reduced, decode
from invcomp.evaluation.codecs import (
    ALL_CODECS,
    CODECS,
    CodecResult,
    available_codecs,
    best_within,
    smallest_possible,
    smallest_reaching,
)
from invcomp.evaluation.metrics import Metrics
from invcomp.model_zoo.catalogue import pretrained_path

SIZES = (48, 96, 192)


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    return Image.open(pretrained_path("portrait.jpg")).resize((192, 192), Image.Resampling.BOX)


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255


def mean_square(image: Image.Image) -> Callable[[torch.Tensor], float]:
    original = tensor(image)
    return lambda decoded: (decoded - original).square().mean().item()


def test_the_wheels_of_pillow_have_all_codecs() -> None:
    assert available_codecs() == CODECS
    assert set(ALL_CODECS) == LABELS.keys() == LEAST_QUALITY.keys()


def test_jpeg_xl_and_lossless_webp(portrait: Image.Image) -> None:
    pytest.importorskip("pillow_jxl", reason="pillow-jxl-plugin is not installed")
    assert set(available_codecs(ALL_CODECS)) >= {"jxl", "webp-lossless"}
    names, metric = ("jxl", "webp-lossless"), mean_square(portrait)
    lossy, lossless = smallest_reaching(portrait, metric, 0.003, names, SIZES)
    assert lossy.value <= 0.003
    assert lossy.bytes < lossless.bytes
    for result in smallest_reaching(portrait, metric, 0.0, names, (192,)):  # the very pixels
        assert result.value == 0


@pytest.mark.parametrize("name", ["heic", "jp2"])
def test_heic_and_jpeg_2000(portrait: Image.Image, name: str) -> None:
    if not available_codecs([name]):
        pytest.skip(f"Pillow cannot write {name} here")
    metric = mean_square(portrait)
    [result] = smallest_reaching(portrait, metric, 0.003, (name,), SIZES)
    assert metric(tensor(result.decoded)) == result.value <= 0.003
    data = Reduced(name, portrait, result.size).encode(result.quality)
    assert len(data) == result.bytes
    assert Image.open(io.BytesIO(data)).format == {"heic": "HEIF", "jp2": "JPEG2000"}[name]
    [floor] = smallest_possible(portrait, metric, (name,), SIZES[0])
    assert floor.bytes < result.bytes


@pytest.mark.parametrize("name", ALL_CODECS)
@pytest.mark.parametrize("size", [16, 17, 96])
def test_every_codec_makes_real_files_of_every_size(
    portrait: Image.Image, name: str, size: int
) -> None:
    if not available_codecs([name]):
        pytest.skip(f"Pillow cannot write {name} here")
    reduced = Reduced(name, portrait, size)
    low, high = max(LEAST_QUALITY[name], 1), 60 if name != "webp-lossless" else 100
    data = reduced.encode(high)
    assert reduced.length(low) <= len(data)
    assert Image.open(io.BytesIO(data)).size == (size, size)
    decoded = decode(data, portrait.size)
    assert decoded.size == portrait.size
    assert decoded.tobytes() == reduced.decode(high).tobytes()
    assert mean_square(portrait)(tensor(decoded)) < 0.02  # it is that image


@pytest.mark.parametrize("target", [0.01, 0.003])
def test_reaches_the_target_with_real_files(portrait: Image.Image, target: float) -> None:
    metric = mean_square(portrait)
    results = smallest_reaching(portrait, metric, target, sizes=SIZES)
    assert [result.codec for result in results] == list(CODECS)
    for result in results:
        assert result.value <= target
        assert metric(tensor(result.decoded)) == result.value
        assert result.decoded.size == portrait.size


def test_is_the_smallest_of_all_jpegs(portrait: Image.Image) -> None:
    metric, target = mean_square(portrait), 0.004
    [result] = smallest_reaching(portrait, metric, target, ("jpeg",), SIZES)
    reaching = []
    for size in SIZES:
        for quality in range(1, 101):
            buffer = io.BytesIO()
            reduced = portrait.resize((size, size), Image.Resampling.LANCZOS)
            reduced.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
            decoded = Image.open(buffer).resize(portrait.size, Image.Resampling.LANCZOS)
            if metric(tensor(decoded)) <= target:
                reaching.append(buffer.tell())
    assert result.bytes == min(reaching)


def test_leaves_out_a_codec_that_does_not_reach_the_target(portrait: Image.Image) -> None:
    assert smallest_reaching(portrait, mean_square(portrait), -1.0, sizes=(48,)) == []


def test_stricter_targets_take_more_bytes(portrait: Image.Image) -> None:
    metric = mean_square(portrait)
    loose = smallest_reaching(portrait, metric, 0.02, sizes=SIZES)
    strict = smallest_reaching(portrait, metric, 0.002, sizes=SIZES)
    for one, other in zip(loose, strict, strict=True):
        assert one.bytes < other.bytes


def test_never_enlarges(portrait: Image.Image) -> None:
    results = smallest_reaching(portrait, mean_square(portrait), 0.02, sizes=(768, 1024))
    assert {result.size for result in results} == {192}


def test_keeps_the_shape_and_drops_metadata(portrait: Image.Image) -> None:
    wide = portrait.crop((0, 0, 192, 120)).convert("RGBA")
    plain = smallest_possible(wide, mean_square(wide.convert("RGB")), size=96)
    wide.info = {"exif": b"x" * 5000, "icc_profile": b"x" * 5000}
    full = smallest_possible(wide, mean_square(wide.convert("RGB")), size=96)
    assert [result.bytes for result in plain] == [result.bytes for result in full]
    assert all(result.decoded.size == (192, 120) for result in full)


def test_nothing_reaching_is_smaller_than_the_smallest_possible(portrait: Image.Image) -> None:
    metric = mean_square(portrait)
    floors = smallest_possible(portrait, metric, size=SIZES[0])
    reaching = smallest_reaching(portrait, metric, target=1.0, sizes=SIZES)
    for floor, result in zip(floors, reaching, strict=True):
        assert floor.codec == result.codec
        assert floor.bytes <= result.bytes < 1.1 * floor.bytes


def test_results_are_json(portrait: Image.Image) -> None:
    [result] = smallest_possible(portrait, mean_square(portrait), ("webp",), 48)
    assert isinstance(result, CodecResult)
    assert json.loads(json.dumps(result.as_json())) == {
        "codec": "webp",
        "bytes": result.bytes,
        "size": 48,
        "quality": 0,
        "value": result.value,
    }


def test_a_portrait_at_equal_lpips(faces: list[Path]) -> None:
    """What the prototype of this project found for AVIF and WebP lies between 1,350 and 3,150 B."""
    photo = Image.open(faces[0])
    original, metrics = tensor(photo), Metrics(names=("lpips_alex",))
    results = smallest_reaching(
        photo,
        lambda decoded: metrics.measure(original, decoded)["lpips_alex"],
        target=0.14,
        codecs=("webp",),
    )
    assert 500 < results[0].bytes < 5000


@pytest.mark.parametrize("limit", [400, 1200])
def test_the_best_thumbnail_within_some_bytes(portrait: Image.Image, limit: int) -> None:
    metric = mean_square(portrait)
    found = best_within(portrait, metric, limit, ["webp", "jpeg"], (24, *SIZES))
    assert [result.codec for result in found] == (["webp"] if limit == 400 else ["webp", "jpeg"])
    for result in found:
        assert result.bytes <= limit
        assert result.decoded.size == portrait.size
        assert result.value == pytest.approx(metric(tensor(result.decoded)))
        for size in (24, *SIZES):  # no other size has a nearer one
            trial = Reduced(result.codec, portrait, size)
            lengths = {quality: trial.length(quality) for quality in range(1, 101, 9)}
            fitting = [quality for quality, length in lengths.items() if length <= limit]
            if fitting:
                assert result.value <= metric(tensor(trial.decode(max(fitting)))) * 1.05


def test_no_thumbnail_is_so_small(portrait: Image.Image) -> None:
    assert best_within(portrait, mean_square(portrait), 20, ["webp", "avif"], SIZES) == []
