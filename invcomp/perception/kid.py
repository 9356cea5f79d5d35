"""Kernel distance between sets of images (KID, Binkowski et al. 2018, arXiv:1801.01401).

The estimator is torchmetrics'. Its usual features come from an Inception network, whose weights
torch-fidelity downloads from GitHub. If they are not available, the features come from the AlexNet
that ships for LPIPS. Figures of different features must not be compared: `Kid.features` names them.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance

from ..errors import OptionError
from ..generators.base import reduce_images
from .features import RESOLUTION
from .lpips_network import Network, load_lpips

SUBSETS = 50
SUBSET_SIZE = 500
NETWORKS: dict[str, Network] = {"lpips-alex": "alex", "lpips-vgg": "vgg"}
LEAST = 64  # pixels: smaller images are enlarged, AlexNet's strides would leave nothing


class LpipsFeatures(nn.Module):
    """Mean and deviation over the image of LPIPS's five feature maps: of AlexNet, [N, 2304].

    Larger images are reduced to 256 px, as for LPIPS: at 1024 px AlexNet only sees texture.
    Feature vectors have unit length at each place, as in LPIPS, and all are scaled so that
    |x|^2 / d = 1, as the kernel (x.y / d + 1)^3 expects. torchmetrics reads `num_features`.

    Args:
        network: "alex", or "vgg" ([N, 2944]), which no training and no search sees.

    Raises:
        MissingBundleError: the VGG trunk is not on this machine.
    """

    def __init__(self, network: Network = "alex") -> None:
        super().__init__()
        found: Any = load_lpips(network)
        self.network, self.channels = found, tuple(found.chns)
        self.num_features = 2 * sum(self.channels)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W], uint8."""
        x = reduce_images(images.float() / 127.5 - 1, RESOLUTION)
        if x.shape[-1] < LEAST:
            x = F.interpolate(x, size=(LEAST, LEAST), mode="nearest")
        network: Any = self.network
        seen = network.net(network.scaling_layer(x))
        maps = [F.normalize(each, eps=1e-8) for each in seen]
        parts = [part for each in maps for part in (each.mean([2, 3]), _deviation(each))]
        features: Tensor = torch.cat(parts, 1) * (self.num_features / len(self.channels)) ** 0.5
        return features


def _deviation(x: Tensor) -> Tensor:
    """Standard deviation over the image: [N, C, H, W] to [N, C]."""
    return x.var([2, 3], unbiased=False).sqrt()


class Kid:
    """KID of generated images against one set of real ones, whose features are computed once.

    Args:
        real: batches of images [N, 3, H, W], uint8.
        device: where the network runs.
        features: the network of the features, "inception", "lpips-alex" or "lpips-vgg". None:
            `features_here`.

    Attributes:
        features: the network of the features.

    Raises:
        OptionError: there are no such features.
        MissingBundleError: their weights are not on this machine.
    """

    def __init__(
        self,
        real: Iterable[Tensor],
        device: torch.device | str = "cpu",
        features: str | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.features = features or features_here()
        if self.features not in ("inception", *NETWORKS):
            raise OptionError(f"no features {self.features}: inception, {', '.join(NETWORKS)}")
        own = NETWORKS.get(self.features)
        feature = 2048 if own is None else LpipsFeatures(own)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchmetrics warns about the memory for features
            self._metric = KernelInceptionDistance(
                feature,
                subsets=SUBSETS,
                subset_size=SUBSET_SIZE,
                reset_real_features=False,
                sync_on_compute=False,  # only the main process of a training computes it
            ).to(self.device)
        self._real = 0
        for batch in real:
            self._metric.update(batch.to(self.device), real=True)
            self._real += len(batch)

    @torch.no_grad()
    def __call__(self, fake: Iterable[Tensor]) -> float:
        """KID of batches of generated images, uint8; both sets need at least two images."""
        self._metric.reset()
        count = 0
        for batch in fake:
            self._metric.update(batch.to(self.device), real=False)
            count += len(batch)
        self._metric.subset_size = min(SUBSET_SIZE, count, self._real)
        with torch.random.fork_rng(devices=[]):  # the same subsets each time
            torch.manual_seed(0)
            return float(self._metric.compute()[0])


def features_here() -> str:
    """The network of the features on this machine, "inception" or "lpips-alex"."""
    return "inception" if _inception_weights() else "lpips-alex"


def _inception_weights() -> bool:
    """Whether torch-fidelity and its weights are installed; never downloads them."""
    if importlib.util.find_spec("torch_fidelity") is None:
        return False
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    return any(folder.glob("weights-inception-2015-12-05-*.pth"))
