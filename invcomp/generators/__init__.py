"""Networks behind one small interface, where their weights come from, and how they are read."""

from .base import Generator, LatentLayer
from .mobile_stylegan import MobileStyleGAN
from .stylegan2 import StyleGAN2

GENERATOR_KINDS: dict[str, type[Generator]] = {
    "mobile_stylegan": MobileStyleGAN,
    "stylegan2": StyleGAN2,
}

__all__ = ["GENERATOR_KINDS", "Generator", "LatentLayer", "MobileStyleGAN", "StyleGAN2"]
