"""Search aids on disk: alone, and in a bundle."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from invcomp.bundle import read_bundle, read_metadata
from invcomp.distilled.aids import SearchAids
from invcomp.distilled.encoder import InversionEncoder, see
from invcomp.distilled.surrogate import Surrogate
from invcomp.errors import BundleError
from invcomp.generators.base import normal
from invcomp.model_zoo.catalogue import KNOWN_MODELS
from invcomp.perception.features import PerceptualFeatures

from ..tiny import COORDINATES, tiny_bundle


@pytest.fixture(scope="module")
def aids() -> SearchAids:
    torch.manual_seed(0)
    encoder = InversionEncoder(COORDINATES, width=16, hidden=8).eval().requires_grad_(False)
    return SearchAids(encoder, Surrogate(8, 24, width=8).eval().requires_grad_(False))


def guess(aids: SearchAids) -> torch.Tensor:
    assert aids.encoder is not None
    images = normal(2, 3 * 64 * 64, seed=5).reshape(2, 3, 64, 64).clamp(-1, 1)
    return aids.encoder(see(PerceptualFeatures(0.5), images))


def test_there_and_back(aids: SearchAids, tmp_path: Path) -> None:
    path = tmp_path / "aids.safetensors"
    aids.save(path, b"\1" * 32)
    again = SearchAids.load(path, b"\1" * 32)
    assert torch.allclose(guess(again), guess(aids), atol=2e-2)
    assert again.surrogate is not None
    with pytest.raises(BundleError, match="another bundle"):
        SearchAids.load(path, b"\2" * 32)


@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
def test_a_damaged_file_is_refused(aids: SearchAids, tmp_path: Path, part: float) -> None:
    path = tmp_path / "aids.safetensors"
    aids.save(path, b"\1" * 32)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(BundleError, match="damaged"):
        SearchAids.load(path, b"\1" * 32)


def test_a_bundle_carries_them_and_stays_itself(aids: SearchAids, tmp_path: Path) -> None:
    bundle = tiny_bundle()
    with_aids = replace(bundle, aids=aids)
    assert with_aids.fingerprint == bundle.fingerprint
    with_aids.save(tmp_path / "with.ivm")
    bundle.save(tmp_path / "without.ivm")
    again = read_bundle(tmp_path / "with.ivm")
    assert again.fingerprint == bundle.fingerprint
    assert torch.allclose(guess(again.aids), guess(aids), atol=2e-2)
    assert read_bundle(tmp_path / "without.ivm").aids == SearchAids()


def test_those_of_the_face_model_ship_and_fit() -> None:
    model = KNOWN_MODELS["faces-1024"]
    assert model.aids is not None
    fingerprint = bytes.fromhex(read_metadata(model.prepared)["fingerprint"])
    found = SearchAids.load(model.aids, fingerprint)
    assert found.encoder is not None
    assert found.surrogate is not None
    assert bool((found.encoder.errors > 0).all())
    assert model.aids.stat().st_size <= 6_000_000
