"""The surrogate, and the correction that makes up for what it gets wrong."""

import pytest
import torch

from invcomp.distilled.surrogate import TRUNK, Surrogate
from invcomp.errors import OptionError
from invcomp.generators import MobileStyleGAN, StyleGAN2
from invcomp.generators.base import Generator, normal
from invcomp.generators.proxy import Proxy
from invcomp.inversion.distortion import CORRECT_EVERY, Distortion, Target
from invcomp.perception.features import PerceptualFeatures
from invcomp.perception.identity import Face


def large(kind: str) -> Generator:
    """512 px or, where the last block has half of them, 1024; thin, with some contrast."""
    torch.manual_seed(0)
    if kind == "stylegan2":
        generator: Generator = StyleGAN2((8,) * 8, 8, 8, 2)
    else:
        generator = MobileStyleGAN(style=8, channels=(8,) * 8)
    return generator.eval().requires_grad_(False)


def latents_of(generator: Generator, count: int) -> torch.Tensor:
    return generator.spread(generator.sample(normal(count, generator.z_size, seed=1)))


@pytest.mark.parametrize("kind", ["stylegan2", "mobile_stylegan"])
def test_the_trunk_knows_only_its_own_layers(kind: str) -> None:
    generator = large(kind)
    latents = latents_of(generator, 2)
    used = sum(layer.size for layer in generator.layers[: generator.trunk_layers(TRUNK)])
    assert 0 < used < generator.latent_size
    trunk = generator.trunk(latents, TRUNK)
    assert trunk.shape[2:] == (TRUNK, TRUNK)
    later, last = latents.clone(), latents.clone()
    later[:, used:] += 1
    assert torch.equal(generator.trunk(later, TRUNK), trunk)
    last[:, used - 1] += 1
    assert not torch.equal(generator.trunk(last, TRUNK), trunk)


@pytest.mark.parametrize("kind", ["stylegan2", "mobile_stylegan"])
def test_a_short_cut_makes_the_small_image(kind: str) -> None:
    generator = large(kind)
    surrogate = Surrogate.of(generator)
    latents = latents_of(generator, 2)
    assert surrogate.image(generator, latents).shape == (2, 3, 256, 256)
    again = Surrogate(**surrogate.options())
    again.load_state_dict(surrogate.state_dict())
    assert torch.equal(again.image(generator, latents), surrogate.image(generator, latents))


@pytest.mark.parametrize(
    "generator", [MobileStyleGAN(8, (8,) * 5), StyleGAN2((8,) * 5, 8, 8, 2)], ids=["mobile", "two"]
)
def test_small_generators_need_none(generator: Generator) -> None:
    assert not Surrogate.fits(generator)
    with pytest.raises(OptionError, match="no use for a surrogate"):
        Surrogate.of(generator)


@torch.no_grad()
def test_the_correction_is_exact_where_it_was_taken() -> None:
    generator = large("mobile_stylegan")
    features = PerceptualFeatures(0.5)
    full = Distortion(generator, features, mixed=False, compiled=False)
    quick = Distortion(generator, features, False, False, Surrogate.of(generator))
    here, there, image = latents_of(generator, 3)[:, None]
    wanted = full.target(generator(image))
    target = Target(wanted, full, quick)
    with torch.enable_grad():
        corrected = target.distance(here, quickly=True)
    truth = full(here, wanted)
    assert float(corrected) == pytest.approx(float(truth), rel=1e-4)
    assert float(quick(here, wanted)) != pytest.approx(float(truth), rel=0.05)
    assert torch.equal(target.distance(here), truth)  # not quickly: the generator itself
    for _ in range(CORRECT_EVERY - 1):  # elsewhere the correction is old until it is taken anew
        with torch.enable_grad():
            old = target.distance(there, quickly=True)
    with torch.enable_grad():
        new = target.distance(there, quickly=True)
    truth = full(there, wanted)
    assert abs(new - truth) < abs(old - truth)
    assert float(new) == pytest.approx(float(truth), rel=1e-4)


@torch.no_grad()
def test_the_surrogate_compares_without_512_px() -> None:
    generator = large("mobile_stylegan")
    features = PerceptualFeatures(0.5, face=Face(), closer=Face())
    full = Distortion(generator, features, mixed=False, compiled=False)
    coarse = features.coarse()
    quick = Distortion(generator, coarse, False, False, Surrogate.of(generator))
    here, image = latents_of(generator, 2)[:, None]
    image = generator(image)
    wanted, first = full.target(image), coarse(image)
    assert features.closer is not None
    assert first.shape[1] < wanted.shape[1]
    assert torch.equal(wanted[:, : first.shape[1]], first)
    weights = torch.linspace(0, 2, wanted.shape[1])[None]
    target = Target(wanted, full, quick, weights)
    with torch.enable_grad():
        corrected = target.distance(here, quickly=True)
        truth = full.features_of(here)[:, : first.shape[1]] - first
        screened = target.screen(here)
        direct = quick.features_of(here) - first
    weights = weights[:, : first.shape[1]]
    assert float(corrected) == pytest.approx(float((weights * truth.square()).sum()), rel=1e-4)
    assert float(screened) == pytest.approx(float((weights * direct.square()).sum()), rel=1e-4)


def test_other_kinds_have_no_trunk() -> None:
    generator = Proxy(4, (8, 8))
    assert generator.trunk_layers(TRUNK) == 0
    with pytest.raises(OptionError, match="Proxy has no inner layer"):
        generator.trunk(torch.zeros(1, 4), TRUNK)
