"""How far a decoded picture is from its original, by metrics that people know."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
)

from ..errors import OptionError
from ..latents.features import seen_size
from ..latents.lpips_network import load_lpips
from .dists import Dists

NAMES = ("lpips_alex", "lpips_vgg", "dists", "ms_ssim", "psnr")
NEED_VGG = frozenset({"lpips_vgg", "dists"})
MS_SSIM_LEAST = 176  # its five scales and 11-pixel window need a picture of this size


class Metrics:
    """Metrics between pictures [N, 3, H, W] in [0, 1]; networks are loaded once.

    - `lpips_alex`, `lpips_vgg` (Zhang et al., 2018, version 0.1) and `dists` (Ding et al., 2020):
      0 is equal. On the area average at 256 px, smaller pictures as they are, those under 32 px
      enlarged.
    - `ms_ssim` (Wang et al., 2003; 1 is equal) and `psnr` in dB, at full size.

    Args:
        device: where the networks run.
        names: which metrics `measure` takes; the VGG trunk is needed by `lpips_vgg` and `dists`.

    Raises:
        MissingBundleError: a metric needs the VGG trunk, which is not on this machine.
        OptionError: a name that is none of the five.
    """

    def __init__(self, device: torch.device | str = "cpu", names: Sequence[str] = NAMES) -> None:
        self.device = torch.device(device)
        self._distances: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
        for name in names:
            self._distances[name] = self._load(name)

    def _load(self, name: str) -> Callable[[Tensor, Tensor], Tensor]:
        if name in ("lpips_alex", "lpips_vgg"):
            network = load_lpips("alex" if name == "lpips_alex" else "vgg", self.device)
            return lambda x, y: network(seen_size(x) * 2 - 1, seen_size(y) * 2 - 1).flatten()
        if name == "dists":
            dists = Dists().to(self.device)
            return lambda x, y: dists(seen_size(x), seen_size(y))
        if name == "ms_ssim":
            return _ms_ssim
        if name == "psnr":
            return lambda x, y: peak_signal_noise_ratio(
                x, y, data_range=1.0, reduction="none", dim=(1, 2, 3)
            )
        raise OptionError(f"no metric is called {name!r}; there are {', '.join(NAMES)}")

    @torch.inference_mode()
    def distances(self, name: str, original: Tensor, decoded: Tensor) -> Tensor:
        """One metric of every pair of two batches [N, 3, H, W]: [N], on the CPU."""
        pair = (picture.to(self.device, torch.float32) for picture in (original, decoded))
        return self._distances[name](*pair).cpu()

    def measure(self, original: Tensor, decoded: Tensor) -> dict[str, float]:
        """All metrics of one pair [1, 3, H, W].

        Raises:
            OptionError: `ms_ssim` of a picture under 176 px.
        """
        return {name: float(self.distances(name, original, decoded)) for name in self._distances}


def _ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    if min(x.shape[-2:]) < MS_SSIM_LEAST:
        raise OptionError(f"MS-SSIM needs pictures of at least {MS_SSIM_LEAST} px")
    value = multiscale_structural_similarity_index_measure(x, y, reduction="none", data_range=1.0)
    assert isinstance(value, Tensor)
    return value
