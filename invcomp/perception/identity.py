"""Identity as a part of the distortion: face descriptors of two networks.

An image can match the descriptors of one network although other networks, and people, see another
person. Two independently trained networks make that less likely.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import BundleError
from ..model_zoo.catalogue import pretrained_path
from . import dlib_face, mobile_face
from .dlib_face import DlibFace
from .mobile_face import MobileFace

Network = TypeVar("Network", bound=nn.Module)

FFHQ_CHIP = (186 / 1024, 292 / 1024, 839 / 1024, 945 / 1024)
DESCRIPTOR_SIZE = 128 + 256  # values of both networks
# MobileFace's crop, in sides of dlib's chip: the eyes are lower, and it has more hair
MOBILE_CHIP = (-0.110, -0.274, 1.107, 0.943)


@dataclass(frozen=True)
class Face:
    """Where the face is in a bundle's frame, and the weights of identity in the distortion.

    Attributes:
        chip: the square that dlib's network sees, (left, top, right, bottom) in sides of the
            frame.
        dlib: weight of the squared distance of dlib's descriptors.
        mobile: weight of the squared distance of MobileFace's descriptors, 2 - 2 cosine.
        closer: weight, in the search, of LPIPS and MSE of the chip at twice the resolution.
        around: the same of the whole image.
    """

    chip: tuple[float, float, float, float] = FFHQ_CHIP
    dlib: float = 0.15
    mobile: float = 0.2
    closer: float = 1.0
    around: float = 0.5

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Face:
        """The inverse of `dataclasses.asdict` through JSON.

        Raises:
            ValueError, TypeError, KeyError: the values are not valid settings.
        """
        left, top, right, bottom = (float(side) for side in values["chip"])
        weights = {name: float(values[name]) for name in ("dlib", "mobile")}
        for name in ("closer", "around"):  # older bundles have none
            weights[name] = float(values.get(name, getattr(cls, name)))
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ValueError("the face chip is not within the frame")
        if not all(0 <= weight < 100 for weight in weights.values()):
            raise ValueError("a face weight is out of range")
        return cls((left, top, right, bottom), **weights)


class Identity(nn.Module):
    """Descriptors whose squared distance is the identity part of the distortion.

    Args:
        face: its place, and the weights.
        resolution: of the images, in pixels.
    """

    roots: Tensor

    def __init__(self, face: Face, resolution: int) -> None:
        super().__init__()
        # a tensor, so that other weights need no recompilation
        roots = torch.tensor([face.dlib**0.5] * 128 + [face.mobile**0.5] * 256)
        self.register_buffer("roots", roots, persistent=False)
        left, top, right, bottom = face.chip
        width, height = right - left, bottom - top
        wide = (
            left + MOBILE_CHIP[0] * width,
            top + MOBILE_CHIP[1] * height,
            left + MOBILE_CHIP[2] * width,
            top + MOBILE_CHIP[3] * height,
        )
        self.dlib, self.mobile = load_dlib_face(), load_mobile_face()
        self.dlib_crop = Crop(face.chip, dlib_face.SIZE, resolution)
        self.mobile_crop = Crop(wide, mobile_face.SIZE, resolution)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, R, R] in [-1, 1] to weighted descriptors, float32 [N, 384]."""
        dlib, mobile = self.dlib_descriptors(images), self.mobile(self.mobile_crop(images))
        return torch.cat([dlib.float(), mobile.float()], 1) * self.roots

    def dlib_descriptors(self, images: Tensor) -> Tensor:
        """Images [N, 3, R, R] in [-1, 1] to dlib's descriptors, unweighted: [N, 128]."""
        found: Tensor = self.dlib(self.dlib_crop(images))
        return found


class Crop(nn.Module):
    """Crops a square and resizes it with a triangle filter: two small matrices, one per axis.

    Args:
        square: (left, top, right, bottom) in sides of the image; edge pixels repeat outside.
        size: of the output in pixels.
        resolution: of the image.
    """

    rows: Tensor
    columns: Tensor

    def __init__(
        self, square: tuple[float, float, float, float], size: int, resolution: int
    ) -> None:
        super().__init__()
        left, top, right, bottom = square
        self.register_buffer("rows", _resampling(top, bottom, size, resolution), persistent=False)
        columns = _resampling(left, right, size, resolution).T.contiguous()
        self.register_buffer("columns", columns, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, R, R] to [N, C, size, size]."""
        found: Tensor = self.rows @ images @ self.columns
        return found


def _resampling(low: float, high: float, size: int, resolution: int) -> Tensor:
    """The matrix [size, resolution] that resamples one axis between `low` and `high`."""
    scale = (high - low) * resolution / size  # image pixels per crop pixel
    centres = low * resolution + scale * (torch.arange(size) + 0.5) - 0.5
    centres = centres.clamp(0, resolution - 1)
    distances = (torch.arange(resolution) - centres[:, None]).abs()
    weights = (1 - distances / max(scale, 1.0)).clamp_min(0)
    return weights / weights.sum(1, keepdim=True)


def load_dlib_face() -> DlibFace:
    """dlib's network from the shipped file, frozen.

    Raises:
        BundleError: the file is missing or damaged.
    """
    return _load("identity-dlib", DlibFace(), dlib_face.unpacked)


def load_mobile_face() -> MobileFace:
    """MobileFace from the shipped file, frozen.

    Raises:
        BundleError: the file is missing or damaged.
    """
    return _load(
        "identity-mobileface",
        MobileFace(),
        lambda stored: {name: value.float() for name, value in stored.items()},
    )


def _load(
    name: str, network: Network, state: Callable[[dict[str, Tensor]], Mapping[str, Tensor]]
) -> Network:
    path = pretrained_path(f"{name}.safetensors")
    try:
        network.load_state_dict(state(load_file(path)))
    except (SafetensorError, OSError, RuntimeError, KeyError) as error:
        raise BundleError(f"{path} does not contain the network: {error}") from error
    return network.eval().requires_grad_(False)
