"""The channels of inner maps that a detail codes, for every design of generator."""

from pathlib import Path

import pytest
import torch

from invcomp.detail_preparation import MapMeasurement, coded_maps
from invcomp.generators import MobileStyleGAN, StyleGAN2, StyleGAN3
from invcomp.generators.base import Generator
from invcomp.latents.detail import DetailedGenerator
from invcomp.latents.prior import prior_of
from invcomp.perception.features import PerceptualFeatures

DESIGNS: dict[str, tuple[Generator, dict[int, int]]] = {
    "MobileStyleGAN": (MobileStyleGAN(8, (8,) * 5), {16: 8, 32: 8}),
    "StyleGAN2": (StyleGAN2((8,) * 5, 8, 8, 2), {16: 8}),
    "StyleGAN3": (
        StyleGAN3(256, 8, 8, 2, {"channel_base": 1024, "channel_max": 8}),
        {36: 8, 52: 8},
    ),
    "too small": (MobileStyleGAN(8, (8, 8, 8)), {}),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_the_two_coarsest_useful_maps_are_coded(name: str) -> None:
    generator, coded = DESIGNS[name]
    assert coded_maps(generator) == coded


def test_maps_that_do_not_divide_each_other_are_measured(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator, coded = DESIGNS["StyleGAN3"]
    generator = generator.eval().requires_grad_(False)
    device = torch.device("cpu")
    prior, _ = prior_of(generator, 32, 0.5, 0, device)
    measurement = MapMeasurement(generator, PerceptualFeatures(1.0), prior, 0.5, 0, device)
    detail = measurement.run(tmp_path / "draws", draws=2)
    assert detail is not None
    assert {shape.size: shape.channels for shape in detail.model.shapes} == coded
    latents = generator.spread(generator.sample(torch.randn(1, generator.z_size)))
    joint = DetailedGenerator(generator, detail)
    moved = torch.full((1, detail.count), 0.05)
    assert not torch.equal(joint(torch.cat([latents, moved], 1)), generator(latents))


def test_measured_channels_are_kept(tmp_path: Path) -> None:
    """With another number of threads, their last bits would differ, and so the detail's digest."""
    generator = DESIGNS["MobileStyleGAN"][0].eval().requires_grad_(False)
    device, features = torch.device("cpu"), PerceptualFeatures(1.0)
    prior, _ = prior_of(generator, 32, 0.5, 0, device)
    details = []
    for _ in range(2):
        measurement = MapMeasurement(generator, features, prior, 0.5, 0, device)
        details.append(measurement.run(tmp_path / "draws", draws=2))
        with torch.no_grad():
            generator.constant.mul_(1.5)  # type: ignore[operator]
    assert details[0] is not None
    assert details[1] is not None
    assert details[0].digest == details[1].digest
