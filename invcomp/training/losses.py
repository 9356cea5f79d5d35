"""Adversarial losses and their regularisers, each a mean over the batch's logits or pictures."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Literal["nonsaturating", "rpgan"]


def discriminator_loss(kind: Loss, real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss of logits [N] of real and generated pictures.

    "nonsaturating": Goodfellow et al. 2014 (arXiv:1406.2661, section 3). "rpgan": the relativistic
    pairing loss of R3GAN (Huang et al. 2024, arXiv:2501.05441, section 2), which compares each
    generated picture with a real one.
    """
    if kind == "rpgan":
        return F.softplus(fake - real).mean()
    return F.softplus(fake).mean() + F.softplus(-real).mean()


def generator_loss(kind: Loss, real: Tensor | None, fake: Tensor) -> Tensor:
    """The generator's loss; the real pictures' logits [N] count for "rpgan" alone."""
    if kind == "rpgan" and real is not None:
        return F.softplus(real - fake).mean()
    return F.softplus(-fake).mean()


def gradient_penalty(logits: Tensor, pictures: Tensor) -> Tensor:
    """Mean squared norm of the logits' gradient by the pictures.

    R1 on real pictures, R2 on generated ones (Mescheder et al. 2018, arXiv:1801.04406, section
    4.1), without its factor gamma / 2.

    Args:
        logits: [N], made of `pictures` with gradients on.
        pictures: [N, C, H, W].
    """
    (gradient,) = torch.autograd.grad(logits.sum(), pictures, create_graph=True)
    return gradient.float().square().sum([1, 2, 3]).mean()


def path_lengths(pictures: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """Lengths [N] of |J_w^T y| with y normal pictures, as of StyleGAN2 (arXiv:1912.04958, 3.2).

    Args:
        pictures: [N, C, H, W], made of `ws` with gradients on.
        ws: [N, layers, w_size].
        noise: standard normal, the pictures' shape.
    """
    scaled = noise / (pictures.shape[2] * pictures.shape[3]) ** 0.5
    (gradient,) = torch.autograd.grad((pictures * scaled).sum(), ws, create_graph=True)
    return gradient.float().square().sum(2).mean(1).sqrt()
