"""The limits of a domain: what they say, how they are fitted, and how a bundle keeps them."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.stats import t

from invcomp.bitstream import IvcFile
from invcomp.bundle import read_bundle, read_metadata
from invcomp.calibration import code_images, with_limits
from invcomp.codec import Codec
from invcomp.domain import DomainLimits, Reached, fit_limits, prediction_limit
from invcomp.errors import BundleError
from invcomp.generators.base import normal
from invcomp.inversion.options import SearchOptions
from invcomp.perception.identity import Face
from invcomp.preprocessing.frame import from_tensor

from .tiny import tiny_bundle

LIMITS = DomainLimits((60, 80, 100), (0.3, 0.2, 0.15), (0.5, 0.4, 0.4))
SHORT = SearchOptions(iterations=20)


@pytest.mark.parametrize(
    ("step_index", "limit"), [(0, 0.3), (60, 0.3), (65, 0.275), (80, 0.2), (90, 0.175), (255, 0.15)]
)
def test_limits_are_linear_between_step_indices_and_constant_beyond(
    step_index: int, limit: float
) -> None:
    assert LIMITS.doubt(step_index, limit - 1e-6, None) is None
    assert f"above {limit:.3f}," in str(LIMITS.doubt(step_index, limit + 1e-6, 0.1))


def test_doubt_is_one_line_with_figure_and_limit() -> None:
    assert LIMITS.doubt(80, 0.31, 0.2) == (
        "LPIPS 0.310 is above 0.200, the limit for images of this model's domain: "
        "it may not show the original"
    )
    assert LIMITS.doubt(80, 0.1, 0.712) == (
        "identity distance 0.712 is above 0.400, the limit for images of this model's domain: "
        "it may not show the same person"
    )
    assert LIMITS.doubt(80, math.nan, 0.2) is not None
    assert dataclasses.replace(LIMITS, identity=None).doubt(80, 0.1, 9.0) is None


def test_values_read_back_and_bad_ones_are_refused() -> None:
    values = json.loads(json.dumps(dataclasses.asdict(LIMITS)))
    assert DomainLimits.from_json(values) == LIMITS
    assert DomainLimits.from_json({**values, "identity": None}).identity is None
    bad: list[dict[str, Any]] = [
        {"step_indices": []},
        {"step_indices": [60, 80, 80]},
        {"step_indices": [80, 60, 100]},
        {"step_indices": [60, 80, 256]},
        {"step_indices": [60, 80.0, 100]},
        {"lpips": [0.3, 0.2]},
        {"lpips": [0.3, 0.2, math.inf]},
        {"lpips": [0.3, math.nan, 0.1]},
        {"lpips": [0.3, 0.2, -0.1]},
        {"identity": [0.5]},
        {"identity": [0.5, 0.4, math.nan]},
    ]
    for change in bad:
        with pytest.raises(ValueError, match=r"step indices|limits"):
            DomainLimits.from_json({**values, **change})


def test_the_prediction_limit_holds_for_as_many_as_it_says() -> None:
    """Of further values of the same distribution, 2% lie above, however few it was fitted to."""
    draws = np.exp(np.random.default_rng(0).normal(-2, 0.3, (20_000, 7)))
    above = [row[6] > prediction_limit(row[:6]) for row in draws]
    assert np.mean(above) == pytest.approx(0.02, abs=0.004)
    spread = math.sqrt(2) * math.log(2)  # of one and four
    assert prediction_limit([1, 4]) == pytest.approx(
        2 * math.exp(t.ppf(0.98, 1) * spread * math.sqrt(1.5))
    )


def test_limits_are_fitted_by_step_index_to_the_worst_file_of_each_image() -> None:
    values = [0.1, 0.12, 0.13, 0.15, 0.2]
    reached = [Reached(f"{i}", 60 + i, value, 2 * value) for i, value in enumerate(values)]
    better = [dataclasses.replace(one, lpips=one.lpips / 2) for one in reached]
    few = [Reached("0", 90, 9.0, 9.0)]
    limits = fit_limits([*reached, *better, *few])
    assert limits is not None
    assert limits.step_indices == (62,)
    assert limits.lpips == (pytest.approx(prediction_limit(values), abs=1e-3),)
    assert limits.identity == (pytest.approx(2 * prediction_limit(values), abs=2e-3),)
    assert limits.lpips[0] >= max(values)
    roomy = fit_limits(reached, head_room=1.5)
    assert roomy is not None
    assert roomy.lpips[0] == pytest.approx(1.5 * limits.lpips[0], abs=2e-3)
    assert fit_limits(few) is None
    assert fit_limits([]) is None
    plain = fit_limits([dataclasses.replace(one, identity=None) for one in reached])
    assert plain is not None
    assert plain.identity is None


def own(codec: Codec, seed: int) -> Image.Image:
    """An image that the generator can make."""
    c = normal(1, 64, seed=seed) * codec.decoder.coordinates.deviations
    with torch.no_grad():
        return from_tensor(codec.decoder.generator(codec.decoder.coordinates.latents(c)))


def foreign() -> Image.Image:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = (255, 0, 0)
    return Image.fromarray(stripes)


def with_images(folder: Path) -> Path:
    codec = Codec(tiny_bundle(), "cpu", compiled=False)
    for seed in range(6):
        own(codec, seed).save(folder / f"{seed}.png")
    return folder


def test_an_image_outside_of_the_domain_is_doubted_and_one_inside_is_not(tmp_path: Path) -> None:
    bundle, folder = tiny_bundle(), tmp_path / "coded"
    images = sorted(with_images(tmp_path).glob("*.png"))
    coded = code_images(bundle, images, folder, (60, 90), device="cpu", search=SHORT)
    limited = with_limits(bundle, coded)
    assert limited.settings.limits is not None
    assert limited.settings.limits.step_indices == (60, 90)
    assert limited.fingerprint == bundle.fingerprint
    assert with_limits(limited, coded[:2]) == limited

    codec, old = (Codec(each, "cpu", compiled=False) for each in (limited, bundle))
    for quality in (20, 50):
        inside, outside = codec.encode([own(codec, 20), foreign()], quality=quality, search=SHORT)
        assert inside.doubt is None
        step = IvcFile.unpack(outside.data).step_index
        assert outside.doubt == limited.settings.limits.doubt(step, outside.lpips, None)
        assert str(outside.doubt).startswith("LPIPS")
        assert codec.measure(foreign(), outside.data).doubt == outside.doubt
        assert old.measure(foreign(), outside.data).doubt is None


def test_identity_is_compared_in_a_bundle_of_faces() -> None:
    limits = DomainLimits((80,), (9.0,), (1e-6,))
    settings = dataclasses.replace(tiny_bundle().settings, face=Face(), limits=limits)
    codec = Codec(dataclasses.replace(tiny_bundle(), settings=settings), "cpu", compiled=False)
    encoded = next(codec.encode([own(codec, 3)], search=SearchOptions(iterations=2)))
    assert str(encoded.doubt).startswith("identity distance")


def test_a_bundle_keeps_its_limits_and_not_in_its_fingerprint(tmp_path: Path) -> None:
    bundle, path = tiny_bundle(), tmp_path / "tiny.ivm"
    settings = dataclasses.replace(bundle.settings, limits=LIMITS)
    limited = dataclasses.replace(bundle, settings=settings)
    assert (limited.fingerprint, limited.digest) == (bundle.fingerprint, bundle.digest)
    limited.save(path)
    again = read_bundle(path)
    assert again.settings == settings
    assert again.fingerprint == bundle.fingerprint

    tensors, metadata = load_file(path), read_metadata(path)
    values = json.loads(metadata["settings"])
    values["limits"]["lpips"] = [0.3]
    save_file(tensors, path, {**metadata, "settings": json.dumps(values)})
    with pytest.raises(BundleError, match="damaged"):
        read_bundle(path)
    del values["limits"]  # as in bundles older than limits
    save_file(tensors, path, {**metadata, "settings": json.dumps(values)})
    assert read_bundle(path).settings.limits is None
