"""The coefficients of the detail while a search finds them, by proximal gradient descent.

Their squared sum is distortion to first order, so plain gradient steps suit all of them alike; an
optimiser that normalises each coefficient, as Adam does, would move thousands that do not matter.
The rate of a coefficient is linear in its magnitude, with a steeper slope up to the first integer.
Its proximal step sets coefficients that do not pay to exactly zero (FISTA, with constant momentum:
Beck and Teboulle 2009). Bits of the entropy model instead are flat under half a step: thousands of
coefficients grow there and are rounded to zero at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..entropy.density import q_step_of

STEP = 0.08  # of the gradient; 0.03 converges later (docs/experiments.md)
# times its first norm, or 1, beyond which a gradient says that steps are too long for a generator;
# of trained ones it stays under 1.1 (docs/experiments.md)
WILD = 4.0
MOMENTUM = 0.9
FIRST_BITS, MORE_BITS = 14.0, 2.5  # slope of the rate up to the first integer, and after it
FIRST_END = 0.8  # q_steps at which the slope changes
DEAD_ZONE = 0.6  # q_steps under which a coefficient is rounded to zero
# Step indices between which the rate falls from DEAR times to its true one. At COARSEST and before,
# a file has no detail: the vector makes more of the bytes (docs/experiments.md).
COARSEST, FINER, DEAR = 78, 92, 3.0


class Coefficients:
    """The coefficients of N images.

    Args:
        images: N.
        count: coefficients of each.
        device: of the search.
        seed: of the noise in place of rounding.
    """

    def __init__(self, images: int, count: int, device: torch.device, seed: int = 0) -> None:
        self.values = torch.zeros(images, count, device=device)
        self._step = torch.full((images, 1), STEP, device=device)
        self._wild: Tensor | None = None  # norms of gradients, [N, 1]
        self._random = torch.Generator().manual_seed(seed)
        self._point = torch.zeros_like(self.values).requires_grad_()

    def seen(self, q_step: Tensor, mode: str) -> Tensor:
        """What the image is made of in a phase of the descent, [N, count], with a gradient.

        Args:
            q_step: of each image, [N, 1].
            mode: the phase.
        """
        scaled = self._point / q_step
        if mode == "noise":
            noise = torch.rand(scaled.shape, generator=self._random).to(scaled.device) - 0.5
            scaled = scaled + noise * (scaled.detach().abs() > 0.5)  # the rest rounds to zero
        elif mode == "round":
            scaled = scaled + (rounded(scaled) - scaled).detach()
        return scaled * q_step

    @torch.no_grad()
    def step(self, q_step: Tensor, rate_weight: Tensor) -> None:
        """A step along the gradient that `backward` has left, and the proximal step of the rate.

        Where the gradient shows that steps are too long, half as long ones start from zero.

        Args:
            q_step: of each image, [N, 1].
            rate_weight: weight of a bit in the loss of each image, [N].
        """
        assert self._point.grad is not None
        norm = self._point.grad.norm(dim=1, keepdim=True)
        if self._wild is None:
            self._wild = WILD * norm.clamp_min(1)
        tame = norm <= self._wild
        self._step = torch.where(tame, self._step, self._step / 2)
        moved = self._point - self._step * self._point.grad
        slope = torch.where(moved.abs() < FIRST_END * q_step, FIRST_BITS, MORE_BITS)
        dear = 1 + (DEAR - 1) * ((FINER + 16 * q_step.log2()) / (FINER - COARSEST)).clamp(0, 1)
        threshold = self._step * slope * dear * rate_weight[:, None] / q_step
        moved = moved.sign() * (moved.abs() - threshold).clamp_min(0)
        moved = torch.where(tame & (q_step < q_step_of(COARSEST + 0.5)), moved, 0.0)
        self._point.copy_(torch.where(tame, moved + MOMENTUM * (moved - self.values), 0.0))
        self.values = moved
        self._point.grad = None

    def bits(self, q_step: Tensor) -> float:
        """Approximate code length of an image in bits, for the progress."""
        magnitudes = rounded(self.values / q_step).abs()
        bits = (magnitudes > 0) * (FIRST_BITS - 2 * MORE_BITS) + magnitudes * MORE_BITS
        return float(bits.sum(1).mean())


def rounded(scaled: Tensor) -> Tensor:
    """Coefficients in units of q_step, rounded with the dead zone."""
    return scaled.sign() * (scaled.abs() + (1 - DEAD_ZONE)).floor()


def integers_of(scaled: NDArray[Any]) -> NDArray[np.int64]:
    """The integers of coefficients in units of q_step, with the dead zone."""
    found: NDArray[Any] = np.sign(scaled) * np.floor(np.abs(scaled) + (1 - DEAD_ZONE))
    return found.astype(np.int64)
