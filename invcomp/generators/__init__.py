"""Generator networks behind one small interface, and their weights as safetensors."""

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
