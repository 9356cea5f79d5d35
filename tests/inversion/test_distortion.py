"""What the search minimises: distances of features, and structure beside them."""

import os
import tempfile
from pathlib import Path

import pytest
import torch
import torch._inductor.config as inductor_config

from invcomp import __version__
from invcomp.device import has_compiled_code
from invcomp.generators import StyleGAN2
from invcomp.generators.base import normal
from invcomp.inversion.distortion import FLOOR, Distortion, Target
from invcomp.perception.features import PerceptualFeatures
from invcomp.perception.ms_ssim import ms_ssim

from ..tiny import tiny_bundle


@pytest.fixture(scope="module")
def features() -> PerceptualFeatures:
    return PerceptualFeatures(0.5)


def thin(blocks: int, features: PerceptualFeatures) -> Distortion:
    torch.manual_seed(0)
    generator = StyleGAN2((8,) * blocks, 8, 8, 2).eval().requires_grad_(False)
    return Distortion(generator, features, mixed=False, compiled=False)


def test_pixels_come_back_from_features(features: PerceptualFeatures) -> None:
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    torch.testing.assert_close(features.pixels(features(image), 64), image)


@torch.no_grad()
def test_structure_is_added_to_large_images(features: PerceptualFeatures) -> None:
    distortion = thin(7, features)  # 256 px
    generator = distortion.generator
    latents = generator.spread(generator.sample(normal(2, 8, seed=1)))
    image, decoded = generator(latents).split(1)
    wanted = distortion.target(image)
    without, given = (Target(wanted, distortion, structure=w) for w in (0.0, 0.3))
    with torch.enable_grad():
        found = float(given.distance(latents[1:]) - without.distance(latents[1:]))
    assert found == pytest.approx(0.3 * float(1 - ms_ssim(decoded, image, FLOOR)), rel=1e-4)
    assert found > 0.01


@torch.no_grad()
def test_structure_counts_less_where_less_matters(features: PerceptualFeatures) -> None:
    distortion = thin(7, features)
    generator = distortion.generator
    latents = generator.spread(generator.sample(normal(2, 8, seed=1)))
    image = generator(latents[:1])
    wanted, region = distortion.target(image), torch.full((1, 1, 256, 256), 0.1)
    region[..., :128] = 1.0
    weights = features.weights(image, region)

    def structure(weights: torch.Tensor | None) -> float:
        both = [
            Target(wanted, distortion, weights=weights, structure=w).distance(latents[1:])
            for w in (0.0, 1.0)
        ]
        return float(both[1] - both[0])

    assert 0 < structure(weights) < structure(None)
    everywhere = features.weights(image, torch.full((1, 1, 256, 256), 0.1))
    assert structure(everywhere) == pytest.approx(structure(None), rel=1e-4)


@torch.no_grad()
def test_small_images_and_features_without_pixels_go_without(
    features: PerceptualFeatures,
) -> None:
    for distortion in (thin(6, features), thin(7, PerceptualFeatures(0.0))):
        generator = distortion.generator
        latents = generator.spread(generator.sample(normal(2, 8, seed=1)))
        wanted = distortion.target(generator(latents[:1]))
        given = Target(wanted, distortion, structure=0.3).distance(latents[1:])
        assert torch.equal(given, Target(wanted, distortion).distance(latents[1:]))


@pytest.mark.parametrize("chosen", [True, False])
def test_what_is_compiled_is_kept_where_it_lasts(
    features: PerceptualFeatures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: bool
) -> None:
    torchs_own = Path(tempfile.gettempdir()) / "torchinductor_somebody"
    given = tmp_path / "chosen" if chosen else torchs_own
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(given))
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path))
    Distortion(tiny_bundle().generator, features, mixed=False, compiled=True)
    own = tmp_path / "compiled" / f"{__version__}-torch-{torch.__version__}"
    expected = given if chosen else own
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(expected)
    assert not has_compiled_code()
    (expected / "aa").mkdir(parents=True)
    assert has_compiled_code()


def test_without_a_compiler_that_works_it_goes_on_eagerly(
    features: PerceptualFeatures, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = tiny_bundle()
    compiler = tmp_path / "c++"
    compiler.write_text('#!/bin/sh\ncase "$*" in *version*) echo "c++ 13.0";; *) exit 1;; esac\n')
    compiler.chmod(0o755)
    compiled, eager = (Distortion(bundle.generator, features, False, on) for on in (True, False))
    latents = bundle.coordinates.means()
    with inductor_config.patch({"cpp.cxx": (None, str(compiler)), "force_disable_caches": True}):
        compiled.rehearse(latents)
    assert not compiled.compiled
    assert "compiling fails here" in caplog.text
    assert torch.equal(compiled.features_of(latents), eager.features_of(latents))
