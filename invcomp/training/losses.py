"""Adversarial losses and regularisers, each a mean over logits or images of the batch."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Literal["nonsaturating", "rpgan"]


def discriminator_loss(
    kind: Loss, real: Tensor, fake: Tensor, weights: Tensor | None = None
) -> Tensor:
    """The discriminator's loss from logits [N] of real and generated images.

    Logits may be [N, K], of K places with these weights [K].

    "nonsaturating": Goodfellow et al. 2014 (arXiv:1406.2661, section 3). "rpgan": the relativistic
    pairing loss of R3GAN (Huang et al. 2024, arXiv:2501.05441, section 2), which compares each
    generated image with a real one.
    """
    if kind == "rpgan":
        return _mean(F.softplus(fake - real), weights)
    return _mean(F.softplus(fake), weights) + _mean(F.softplus(-real), weights)


def generator_loss(
    kind: Loss, real: Tensor | None, fake: Tensor, weights: Tensor | None = None
) -> Tensor:
    """The generator's loss; logits of real images are only used by "rpgan".

    Logits may be [N, K], of K places with these weights [K].
    """
    if kind == "rpgan" and real is not None:
        return _mean(F.softplus(real - fake), weights)
    return _mean(F.softplus(-fake), weights)


def _mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    return losses.mean() if weights is None else (losses @ weights).mean()


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Mean squared norm of the gradient of the logits with respect to the images.

    R1 on real images, R2 on generated ones (Mescheder et al. 2018, arXiv:1801.04406, section
    4.1), without the factor gamma / 2.

    Args:
        logits: [N], computed from `images` with gradients on.
        images: [N, C, H, W].
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().sum([1, 2, 3]).mean()


def path_lengths(images: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """Lengths [N] of |J_w^T y| for normal images y, as in StyleGAN2 (arXiv:1912.04958, 3.2).

    Args:
        images: [N, C, H, W], computed from `ws` with gradients on.
        ws: [N, layers, w_size].
        noise: standard normal, in the shape of the images.
    """
    scaled = noise / (images.shape[2] * images.shape[3]) ** 0.5
    (gradient,) = torch.autograd.grad((images * scaled).sum(), ws, create_graph=True)
    return gradient.float().square().sum(2).mean(1).sqrt()
