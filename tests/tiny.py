"""A real bundle of 64 px, small enough that a search takes a second: random weights, seeded."""

import torch

from invcomp.bundle import Bundle, Settings
from invcomp.generators import MobileStyleGAN
from invcomp.generators.base import normal
from invcomp.latents.coordinates import Coordinates, quantise_rows
from invcomp.latents.rate import PriorShape, make_tables

COORDINATES = 64


def tiny_bundle() -> Bundle:
    generator = MobileStyleGAN(style=32, channels=(32, 32, 32, 32))
    with torch.no_grad():
        for index, parameter in enumerate(generator.parameters()):
            fan = parameter[0].numel() if parameter.ndim > 1 else 25
            drawn = normal(1, parameter.numel(), seed=index).reshape(parameter.shape)
            parameter.copy_(drawn / max(fan, 1) ** 0.5)
        latents = generator.spread(generator.sample(normal(8, 32, seed=100)))
        contrast = generator(latents).std()
        generator.to_image.weight /= 2 * contrast  # pictures with a deviation of 1/2
        generator.to_image.bias /= 2 * contrast
    deviations = torch.logspace(0, -1.5, COORDINATES)
    rows = torch.linalg.qr(normal(generator.latent_size, COORDINATES, seed=101)).Q.T
    codes, code_scales = quantise_rows(3 * rows)
    scales = (16 * (deviations / 2**0.5).log2()).round().to(torch.int16).numpy()
    return Bundle(
        generator=generator.eval().requires_grad_(False),
        coordinates=Coordinates(latents[0], codes, code_scales, deviations),
        tables=make_tables(scales, PriorShape(), (8, 24, COORDINATES)),
        candidates=0.8 * normal(8, COORDINATES, seed=102) * deviations,
        settings=Settings(name="tiny"),
    )
