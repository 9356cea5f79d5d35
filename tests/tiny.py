"""Real bundles, small enough that a search takes a second: random weights, seeded."""

from dataclasses import replace

import torch

from invcomp.bundle import Bundle, Settings
from invcomp.entropy.density import make_mixture
from invcomp.entropy.detail_calibration import provisional_detail
from invcomp.entropy.mixture import PriorShape
from invcomp.generators import MobileStyleGAN, StyleGAN2
from invcomp.generators.base import normal
from invcomp.latents.coordinates import Coordinates, quantise_rows
from invcomp.latents.detail import Detail, MapChannels
from invcomp.latents.prior import Prior

COORDINATES = 64
CLASSES = 3


def tiny_bundle() -> Bundle:
    generator = MobileStyleGAN(style=32, channels=(32, 32, 32, 32))
    with torch.no_grad():
        for index, parameter in enumerate(generator.parameters()):
            fan = parameter[0].numel() if parameter.ndim > 1 else 25
            drawn = normal(1, parameter.numel(), seed=index).reshape(parameter.shape)
            parameter.copy_(drawn / max(fan, 1) ** 0.5)
        latents = generator.spread(generator.sample(normal(8, 32, seed=100)))
        contrast = generator(latents).std()
        generator.to_image.weight /= 2 * contrast  # images with a deviation of 1/2
        generator.to_image.bias /= 2 * contrast
    deviations = torch.logspace(0, -1.5, COORDINATES)
    rows = torch.linalg.qr(normal(generator.latent_size, COORDINATES, seed=101)).Q.T
    codes, code_scales = quantise_rows(3 * rows)
    scales = (16 * (deviations / 2**0.5).log2()).round().to(torch.int16).numpy()
    mixture = make_mixture(scales, PriorShape())
    tables = replace(mixture.tables, segment_ends=(8, 24, COORDINATES))
    return Bundle(
        generator=generator.eval().requires_grad_(False),
        coordinates=Coordinates(latents[:1], codes, code_scales, deviations),
        entropy=replace(mixture, tables=tables),
        candidates=0.8 * normal(8, COORDINATES, seed=102) * deviations,
        settings=Settings(name="tiny"),
    )


def tiny_conditional_generator() -> StyleGAN2:
    """32 px and three classes, whose images differ."""
    generator = StyleGAN2((8, 8, 8, 8), 8, 8, 2, classes=CLASSES)
    with torch.no_grad():
        for index, (name, value) in enumerate(generator.state_dict().items()):
            if not name.endswith(("bias", "w_avg", "strength")):
                drawn = normal(1, value.numel(), seed=index).reshape(value.shape)
                value.copy_(100 * drawn if "mapping.fc" in name else drawn)
        images = generator(
            generator.spread(generator.sample(normal(9, 8, seed=100), torch.arange(9) % CLASSES))
        )
        for size in generator.synthesis.blocks:
            to_rgb = getattr(generator.synthesis, f"b{size}").torgb
            to_rgb.weight /= 2 * images.std()
    return generator.eval().requires_grad_(False)


def tiny_conditional_bundle() -> Bundle:
    generator = tiny_conditional_generator()
    z, layers = normal(200, 8, seed=103), len(generator.layers)
    samples = torch.stack([generator.sample(z, torch.full((200,), c)) for c in range(CLASSES)])
    prior = Prior.fit(samples, layers, tau=0.3)
    count = 24
    rows = torch.linalg.qr(normal(generator.latent_size, count, seed=104)).Q.T
    codes, code_scales = quantise_rows(prior.push(torch.cat([rows[:, :8], rows], 1)))
    deviations = torch.logspace(0, -1, count)
    scales = (16 * (deviations / 2**0.5).log2()).round().to(torch.int16).numpy()
    return Bundle(
        generator=generator,
        coordinates=Coordinates(prior.mean.repeat(1, layers), codes, code_scales, deviations),
        entropy=make_mixture(scales, PriorShape(), CLASSES),
        candidates=0.8 * normal(6, count, seed=105) * deviations,
        settings=Settings(name="tiny-classes"),
        candidate_classes=torch.arange(6) % CLASSES,
    )


def tiny_detailed_bundle() -> Bundle:
    """The tiny bundle with a detail: 3 channels of the map of 8 px, 2 of that of 16 px."""
    maps = []
    for size, count in ((8, 3), (16, 2)):
        source = torch.Generator().manual_seed(size)
        gradients = torch.randn(64, 32, generator=source) / size
        values = torch.randn(64, 32, generator=source) / 2
        places = 0.5 + torch.rand(size, size, generator=source)
        covariance, metric = values.T @ values / 64, gradients.T @ gradients / 64
        maps.append(MapChannels.measured(metric, covariance, places, count))
    shapes = [each.shape for each in maps]
    deviations = torch.cat([each.deviations for each in maps])
    detail = Detail(tuple(maps), provisional_detail(shapes, deviations))
    return replace(tiny_bundle(), detail=detail)
