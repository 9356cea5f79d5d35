"""Networks behind one small interface, where their weights come from, and how they are read."""

from .base import Generator, LatentLayer
from .biggan import BigGAN
from .dcgan import DCGAN
from .mobile_stylegan import MobileStyleGAN
from .registry import GENERATOR_KINDS, register
from .stylegan2 import StyleGAN2
from .stylegan3 import StyleGAN3

__all__ = [
    "DCGAN",
    "GENERATOR_KINDS",
    "BigGAN",
    "Generator",
    "LatentLayer",
    "MobileStyleGAN",
    "StyleGAN2",
    "StyleGAN3",
    "register",
]
