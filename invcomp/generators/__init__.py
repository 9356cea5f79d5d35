"""Networks behind one small interface, where their weights come from, and how they are read."""

from .base import Generator, LatentLayer
from .biggan import BigGAN
from .dcgan import DCGAN
from .mobile_stylegan import MobileStyleGAN
from .stylegan2 import StyleGAN2
from .stylegan3 import StyleGAN3

GENERATOR_KINDS: dict[str, type[Generator]] = {
    "biggan": BigGAN,
    "dcgan": DCGAN,
    "mobile_stylegan": MobileStyleGAN,
    "stylegan2": StyleGAN2,
    "stylegan3": StyleGAN3,
}

__all__ = [
    "DCGAN",
    "GENERATOR_KINDS",
    "BigGAN",
    "Generator",
    "LatentLayer",
    "MobileStyleGAN",
    "StyleGAN2",
    "StyleGAN3",
]
