"""Established metrics that compare a decoded image with its original."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lpips
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from ..errors import OptionError
from ..generators.base import reduce_images
from ..perception.dists import Dists
from ..perception.features import RESOLUTION, at_least, seen_size
from ..perception.identity import Face, Identity
from ..perception.lpips_network import load_lpips
from ..perception.ms_ssim import LEAST_SIDE, ms_ssim
from .judge import Judge, Seen

NAMES = ("lpips_alex", "lpips_vgg", "dists", "ms_ssim", "psnr")  # for any image
OF_FACES = ("identity", "judge")  # for portraits only
NEED_VGG = frozenset({"lpips_vgg", "dists"})


class Metrics:
    """Metrics of images [N, 3, H, W] in [0, 1]; networks are loaded once.

    - `lpips_alex`, `lpips_vgg` (Zhang et al., 2018, version 0.1) and `dists` (Ding et al., 2020):
      0 is equal. Computed on the area average at 256 px; smaller images are not resized, except
      that images under 32 px are enlarged.
    - `ms_ssim` (Wang et al., 2003; 1 is equal) and `psnr` in dB, at full size.
    - `identity`: distance of dlib's face descriptors (King, 2017; 0.6 is its limit for one person).
      The search optimises it. `judge`: cosine of descriptors of a network it does not optimise.

    Args:
        device: where the networks run.
        names: metrics of `measure`; `lpips_vgg` and `dists` need the VGG trunk.
        face: where the face of a portrait is; needed for `identity`.
        judge: needed for `judge`.

    Raises:
        MissingBundleError: a metric needs the VGG trunk, which is not on this machine.
        OptionError: an unknown metric, or one that lacks what it needs.
    """

    def __init__(
        self,
        device: torch.device | str = "cpu",
        names: Sequence[str] = NAMES,
        face: Face | None = None,
        judge: Judge | None = None,
    ) -> None:
        self.device = torch.device(device)
        given = {} if face is None else {"identity": _identity(face, self.device)}
        if judge is not None:
            given["judge"] = _Metric(judge.see, _cosine)
        self._metrics = {name: given.get(name) or _load(name, self.device) for name in names}

    @torch.inference_mode()
    def distances(self, name: str, original: Tensor, decoded: Tensor) -> Tensor:
        """One metric of every pair of two batches [N, 3, H, W]: [N], on the CPU."""
        metric = self._metrics[name]
        pair = (metric.seen(image.to(self.device)) for image in (original, decoded))
        return metric.distance(*pair).cpu()

    def of(self, original: Tensor) -> Reference:
        """An original [1, 3, H, W] to compare many decoded images with."""
        return Reference(self._metrics, original.to(self.device))

    def measure(self, original: Tensor, decoded: Tensor) -> dict[str, float]:
        """All metrics of one pair [1, 3, H, W].

        Raises:
            OptionError: `ms_ssim` of an image under 176 px.
        """
        return self.of(original).measure(decoded)


class Reference:
    """One original; the networks process it only once."""

    @torch.inference_mode()
    def __init__(self, metrics: Mapping[str, _Metric], original: Tensor) -> None:
        self._metrics, self._device = metrics, original.device
        self._original = {name: metric.seen(original) for name, metric in metrics.items()}

    @torch.inference_mode()
    def measure(self, decoded: Tensor) -> dict[str, float]:
        """All metrics of a decoded image [1, 3, H, W] in the original's size.

        Raises:
            OptionError: `ms_ssim` of an image under 176 px.
        """
        decoded = decoded.to(self._device)
        return {
            name: float(metric.distance(self._original[name], metric.seen(decoded)))
            for name, metric in self._metrics.items()
        }


@dataclass(frozen=True)
class _Metric:
    """A metric in two parts, so that the features of an original can be kept.

    Attributes:
        seen: features of images [N, 3, H, W] in [0, 1].
        distance: [N], from the features of two batches.
    """

    seen: Callable[[Tensor], Any]
    distance: Callable[[Any, Any], Tensor]


def _load(name: str, device: torch.device) -> _Metric:
    if name in ("lpips_alex", "lpips_vgg"):
        return _lpips(load_lpips("alex" if name == "lpips_alex" else "vgg", device))
    if name == "dists":
        dists = Dists().to(device)
        return _Metric(lambda x: dists.maps(seen_size(x)), dists.distance)
    if name == "ms_ssim":
        return _Metric(_as_it_is, _ms_ssim)
    if name == "psnr":
        return _Metric(_as_it_is, _psnr)
    if name in OF_FACES:
        raise OptionError(f"{name} needs a model of faces, and judge also needs a judge")
    raise OptionError(f"unknown metric {name!r}; there are {', '.join((*NAMES, *OF_FACES))}")


def _identity(face: Face, device: torch.device) -> _Metric:
    network = Identity(face, RESOLUTION).to(device)

    def seen(images: Tensor) -> Tensor:
        return network.dlib_descriptors(at_least(reduce_images(images, RESOLUTION) * 2 - 1))

    return _Metric(seen, lambda x, y: torch.linalg.vector_norm(x - y, dim=1))


def _cosine(original: Seen, decoded: Seen) -> Tensor:
    return torch.tensor([original.cosine(decoded)])


def _lpips(network: Any) -> _Metric:  # its package has no types
    """`lpips.LPIPS.forward` in two parts."""

    def seen(image: Tensor) -> list[Tensor]:
        layers = network.net(network.scaling_layer(seen_size(image) * 2 - 1))
        return [lpips.normalize_tensor(layer) for layer in layers]

    def distance(one: list[Tensor], other: list[Tensor]) -> Tensor:
        layers = zip(network.lins, one, other, strict=True)
        parts = [head((x - y).square()).mean((1, 2, 3)) for head, x, y in layers]
        return torch.stack(parts).sum(0)

    return _Metric(seen, distance)


def _as_it_is(image: Tensor) -> Tensor:
    return image


def _psnr(x: Tensor, y: Tensor) -> Tensor:
    return peak_signal_noise_ratio(x, y, data_range=1.0, reduction="none", dim=(1, 2, 3))


def _ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    if min(x.shape[-2:]) < LEAST_SIDE:
        raise OptionError(f"MS-SSIM needs images of at least {LEAST_SIDE} px")
    return ms_ssim(x * 2 - 1, y * 2 - 1)


def bytes_of(image: Image.Image) -> Tensor:
    """An RGB image as uint8 [1, 3, H, W]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


def tensor_of(image: Image.Image) -> Tensor:
    """An RGB image as a tensor [1, 3, H, W] in [0, 1]."""
    return bytes_of(image).float() / 255
