"""Photos: faces by a generator in their places, and the rest by a conventional codec."""

from .composition import composed
from .files import conventional_file, conventional_image, own_size, shown_size, with_photo
from .layers import CodedFace, FacesLayer, PhotoLayer, Place, photo_in, quantised

__all__ = [
    "CodedFace",
    "FacesLayer",
    "PhotoLayer",
    "Place",
    "composed",
    "conventional_file",
    "conventional_image",
    "own_size",
    "photo_in",
    "quantised",
    "shown_size",
    "with_photo",
]
