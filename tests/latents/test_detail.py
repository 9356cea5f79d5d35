from dataclasses import replace
from pathlib import Path

import pytest
import torch

from invcomp.bundle import read_bundle
from invcomp.entropy.detail_calibration import provisional_detail
from invcomp.errors import BundleError
from invcomp.generators.base import normal
from invcomp.latents.detail import DIGEST, Detail, DetailedGenerator, MapChannels

from ..tiny import tiny_bundle, tiny_detailed_bundle


def test_the_squared_sum_of_coefficients_is_distortion_to_first_order() -> None:
    gradients = normal(400, 12, seed=1) * torch.linspace(0.2, 2, 12)
    values = normal(300, 12, seed=2) @ normal(12, 12, seed=3)
    metric, covariance = gradients.T @ gradients / 400, values.T @ values / 300
    found = MapChannels.measured(metric, covariance, torch.ones(4, 4), 12)
    coefficients = normal(1, 12 * 16, seed=4).view(1, 12, 4, 4)
    offset = found.offset(coefficients)
    distortion = torch.einsum("nchw,cd,ndhw->", offset, metric, offset)
    assert float(distortion) == pytest.approx(float(coefficients.square().sum()), rel=0.02)
    assert found.deviations.tolist() == sorted(found.deviations.tolist(), reverse=True)
    # under the prior, coefficients are uncorrelated and have these deviations
    drawn = values @ metric @ found.basis.float().T
    assert torch.allclose(
        drawn.T @ drawn / 300, torch.diag(found.deviations.square()), atol=0.03 * 10
    )


def test_places_that_matter_more_have_smaller_units() -> None:
    places = torch.ones(6, 6)
    places[2:4, 2:4] = 9.0
    units = MapChannels.measured(torch.eye(3), torch.eye(3), places, 2).units
    assert units[2, 2] < units[0, 0]


def test_offsets_and_the_joint_generator_agree() -> None:
    bundle = tiny_detailed_bundle()
    detail, generator = bundle.detail, bundle.generator
    assert detail is not None
    latents = bundle.coordinates.means().repeat(2, 1)
    coefficients = 0.3 * normal(2, detail.count, seed=5)
    joint = DetailedGenerator(generator, detail)
    both = torch.cat([latents, coefficients], 1)
    wanted = generator(latents, detail.offsets(coefficients))
    assert torch.equal(joint(both), wanted)
    assert torch.equal(joint(latents), generator(latents))
    assert not torch.allclose(wanted, generator(latents), atol=0.01)
    wanted = generator.forward_reduced(latents, 32, detail.offsets(coefficients))
    assert torch.equal(joint.forward_reduced(both, 32), wanted)


def test_a_bundle_keeps_its_detail_and_its_fingerprint(tmp_path: Path) -> None:
    bundle = tiny_detailed_bundle()
    assert bundle.detail is not None
    bundle.save(tmp_path / "tiny.ivm")
    again = read_bundle(tmp_path / "tiny.ivm")
    assert again.fingerprint == tiny_bundle().fingerprint
    assert again.detail is not None
    assert again.detail.digest == bundle.detail.digest
    coefficients = normal(1, bundle.detail.count, seed=6)
    for size, offset in bundle.detail.offsets(coefficients).items():
        assert torch.equal(again.detail.offsets(coefficients)[size], offset)


def test_an_altered_detail_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    bundle, path = tiny_detailed_bundle(), tmp_path / "tiny.ivm"
    bundle.save(path)
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors["detail.0.units"] = tensors["detail.0.units"] * 2
    save_file(tensors, path, metadata)
    with pytest.raises(BundleError, match="fingerprint"):
        read_bundle(path)


def test_a_layer_of_another_detail_has_no_payload() -> None:
    detail = tiny_detailed_bundle().detail
    assert detail is not None
    layer = detail.pack(b"abc")
    assert len(layer) == DIGEST + 3
    assert detail.unpack(layer) == b"abc"
    assert detail.unpack(b"xx" + layer[2:]) is None
    assert detail.unpack(b"") is None


def test_maps_must_be_those_of_model_and_generator() -> None:
    bundle = tiny_detailed_bundle()
    detail = bundle.detail
    assert detail is not None
    with pytest.raises(BundleError, match="entropy model"):
        Detail(detail.maps[:1], detail.model)
    wide = MapChannels.measured(torch.eye(7), torch.eye(7), torch.ones(8, 8), 3)
    other = Detail((wide,), provisional_detail([wide.shape], wide.deviations))
    with pytest.raises(BundleError, match="no such maps"):
        Detail.of(replace(detail, maps=other.maps, model=other.model).tensors(), bundle.generator)
