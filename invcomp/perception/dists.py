"""DISTS (Ding et al., 2020), with the VGG16 trunk of LPIPS-VGG instead of a download from a hub.

torchmetrics also has DISTS, but its class downloads VGG16 when it is constructed. Only its
calibrated weights alpha and beta are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import as_file, files

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .lpips_network import load_trunk

STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))  # VGG16's convolutions
CHANNELS = (3, 64, 128, 256, 512, 512)  # of the image itself and of each stage
STABILITY = 1e-6


class Dists(nn.Module):
    """Distance of structure and texture: 0 for equal images, at most about 1.

    Raises:
        MissingBundleError: the VGG trunk is not on this machine.
    """

    mean: Tensor
    deviation: Tensor
    filter: Tensor
    alpha: Tensor
    beta: Tensor

    def __init__(self) -> None:
        super().__init__()
        trunk = load_trunk("vgg")
        for name, value in trunk.items():
            self.register_buffer(name.replace(".", "_"), value)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))
        hanning = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("filter", (torch.outer(hanning, hanning) / 16)[None, None])
        with as_file(files("torchmetrics.functional.image") / "dists_models/weights.pt") as path:
            weights = torch.load(path, map_location="cpu", weights_only=True)
        total = weights["alpha"].sum() + weights["beta"].sum()
        self.register_buffer("alpha", (weights["alpha"] / total).detach())
        self.register_buffer("beta", (weights["beta"] / total).detach())

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances [N] of two batches of images [N, 3, H, W] in [0, 1]."""
        return self.distance(self.maps(first), self.maps(second))

    def distance(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Distances [N] of two batches of images, from their `maps`."""
        similarity = torch.zeros(len(first[0]), device=first[0].device)
        alphas, betas = (torch.split(w, list(CHANNELS), dim=1) for w in (self.alpha, self.beta))
        for x, y, alpha, beta in zip(first, second, alphas, betas, strict=True):
            x_mean, y_mean = (m.mean((2, 3), keepdim=True) for m in (x, y))
            x_variance = (x - x_mean).square().mean((2, 3), keepdim=True)
            y_variance = (y - y_mean).square().mean((2, 3), keepdim=True)
            covariance = (x * y).mean((2, 3), keepdim=True) - x_mean * y_mean
            texture = (2 * x_mean * y_mean + STABILITY) / (
                x_mean.square() + y_mean.square() + STABILITY
            )
            structure = (2 * covariance + STABILITY) / (x_variance + y_variance + STABILITY)
            similarity = similarity + (alpha * texture + beta * structure).sum((1, 2, 3))
        return 1 - similarity

    def maps(self, image: Tensor) -> list[Tensor]:
        """The images [N, 3, H, W] in [0, 1] and the last feature map of each stage of VGG16."""
        maps, x = [image], (image - self.mean) / self.deviation
        for stage, convolutions in enumerate(STAGES):
            if stage:
                x = self._pool(x)
            for index in convolutions:
                weight = self.get_buffer(f"features_{index}_weight")
                bias = self.get_buffer(f"features_{index}_bias")
                x = F.relu(F.conv2d(x, weight, bias, padding=1))
            maps.append(x)
        return maps

    def _pool(self, x: Tensor) -> Tensor:
        """Hanning-weighted L2 pooling, instead of VGG's max pooling."""
        kernel = self.filter.expand(x.shape[1], -1, -1, -1)
        squares = F.conv2d(x.square(), kernel, stride=2, padding=1, groups=x.shape[1])
        return (squares + 1e-12).sqrt()
