"""One descent: variables, optimiser, phases, and its end."""

from __future__ import annotations

import math
import time
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from ..entropy.density import q_step_of
from ..entropy.model import Density
from ..latents.space import LatentSpace
from .detail import Coefficients
from .distortion import Target
from .options import QUICKER, SearchOptions

PIVOT = 0.3  # the deviation at which `whitening` has no effect
PHASES = (("free", 0.4), ("noise", 0.7), ("round", 1.0))  # with the fraction at which each ends
WINDOW = 12  # number of losses whose mean is compared with the mean of as many before them
RESTART = 0.3  # factor on the learning rate where the generator replaces its surrogate
FLAT = 0.001  # a loss is flat if it falls by a smaller fraction from window to window


class Schedule:
    """Progress of a descent, by iterations or by time. A flat loss ends a phase early.

    Args:
        options: of the search.
        seconds: time limit, instead of a number of iterations.
        quick: whether a surrogate runs all but the last iterations.
    """

    def __init__(
        self, options: SearchOptions, seconds: float | None = None, quick: bool = False
    ) -> None:
        self.options, self.seconds = options, seconds
        self.full_part = options.full_part_at(0) if quick else 1.0
        self.fraction, self._done, self._started = 0.0, Fraction(0), time.monotonic()
        self._losses: list[float] = []  # in this phase
        self._comparable = 0  # index of the first one of the present loss

    @property
    def mode(self) -> str:
        """The phase: free, noise or round."""
        return next((name for name, end in PHASES if self.fraction < end), "round")

    @property
    def quickly(self) -> bool:
        """Whether the surrogate is used now. Its losses jump at corrections, so none is flat."""
        return self.fraction < 1 - self.full_part

    @property
    def learning_rate(self) -> float:
        """A ramp of eight iterations, then a cosine down to 2%.

        Where the generator replaces its surrogate, the rate restarts above the cosine.
        """
        ramp = min(1.0, (len(self._losses) + 1) / 8) if self.mode == "free" else 1.0
        factor = ramp * (0.51 + 0.49 * math.cos(math.pi * self.fraction))
        if not self.quickly and self.full_part < 1:
            left = (1 - self.fraction) / self.full_part
            factor = max(factor, 0.02 + (RESTART - 0.02) * left)
        return self.options.rate * factor

    def advance(self, loss: float, step_index: int = 0) -> None:
        """Counts an iteration with this loss, at this step index."""
        self._losses.append(loss)
        before = self.mode, self.quickly
        if self.quickly and self.seconds is None:  # the step index decides until the generator runs
            self.full_part = self.options.full_part_at(step_index)
        if self.seconds is not None:
            self.fraction = self._by_time((time.monotonic() - self._started) / self.seconds)
        else:
            # summed, because the step index may change
            self._done += Fraction(1, self.options.iterations_at(step_index))
            if self._flat():
                self._done = max(self._done, Fraction(str(dict(PHASES)[self.mode])))
            self.fraction = float(self._done)
        self.fraction = min(self.fraction, 1.0)
        if (self.mode, self.quickly) != before:
            self._losses, self._comparable = [], 0

    def loss_changes(self) -> None:
        """The loss function has changed: earlier losses are not compared with later ones."""
        self._comparable = len(self._losses)

    def _by_time(self, elapsed: float) -> float:
        """The fraction of iterations at a fraction of time: the last ones take longer."""
        full = self.full_part
        quick = 1 - full
        switch = quick / (quick + QUICKER * full)
        if elapsed < switch:
            return elapsed / switch * quick
        return quick + (elapsed - switch) / (1 - switch) * full

    def _flat(self) -> bool:
        losses = self._losses[self._comparable :]
        if self.quickly or len(losses) < 2 * WINDOW:
            return False
        earlier, later = losses[-2 * WINDOW : -WINDOW], losses[-WINDOW:]
        return sum(later) > (1 - FLAT) * sum(earlier)


class Descent:
    """The variables of one or several images, their optimiser, and the last loss.

    Args:
        space: that the descent moves in.
        density: of the coordinates, in bits.
        target: the images.
        start: coordinates [N, k].
        classes: of the images, int64 [N].
        step_index: of q_step; `aim` changes it.
        options: of the search.
        spread: expected deviation of each coordinate from its start, [K].
        details: number of coefficients of the detail, which the target's latents end with.
        detailed: whether they are searched for; else they are zero.
    """

    def __init__(
        self,
        space: LatentSpace,
        density: Density,
        target: Target,
        start: Tensor,
        classes: Tensor,
        step_index: int,
        options: SearchOptions,
        spread: Tensor,
        details: int = 0,
        detailed: bool = True,
    ) -> None:
        self.space, self.density, self.target = space, density, target
        self.details = details
        self.coefficients = (
            Coefficients(len(start), details, start.device, options.seed)
            if details and detailed
            else None
        )
        self.classes, self.options = classes, options
        self.units = spread**options.whitening * PIVOT ** (1 - options.whitening)
        start = F.pad(start, (0, len(self.units) - start.shape[1]))
        self.variables = (start / self.units).requires_grad_()
        self.aim([step_index] * len(start))
        self.optimiser: torch.optim.Optimizer = (
            torch.optim.NAdam([self.variables], betas=(0.8, 0.99))
            if options.hurried
            else torch.optim.Adam([self.variables], betas=(0.9, 0.99))
        )
        self.random = torch.Generator().manual_seed(options.seed)
        self.taken, self.loss, self.bits = 0, math.inf, 0.0

    def aim(self, step_indices: list[int]) -> None:
        """Sets the q_step of each image. The coordinates do not change."""
        self.step_indices = step_indices
        self.q_step = self.variables.new_tensor([[q_step_of(index)] for index in step_indices])
        self.active = self.density.active(max(step_indices))
        weight = self.options.rate_weight * math.log(2) / 6
        self.rate_weight = weight * self.q_step[:, 0] ** 2  # [N]

    def coordinates(self) -> Tensor:
        """[N, active]."""
        coordinates: Tensor = (self.units * self.variables)[:, : self.active]
        return coordinates

    def integers(self) -> Tensor:
        """int32 [N, K]."""
        found = (self.coordinates().detach() / self.q_step).round().int()
        return F.pad(found, (0, self.space.count - found.shape[1]))

    def iterate(self, learning_rate: float, mode: str = "free", quickly: bool = False) -> None:
        """One iteration: a step of the optimiser. `quickly`: with the surrogate."""
        scaled = self.coordinates() / self.q_step
        if mode == "noise":
            noise = torch.rand(scaled.shape, generator=self.random).to(scaled.device) - 0.5
            scaled = scaled + noise * (scaled.detach().abs() > 0.5)  # the rest rounds to zero
        elif mode == "round":
            scaled = scaled + (scaled.round() - scaled).detach()
        bits = self.density.bits(scaled, self.step_indices).sum(1)
        latents = self.space.latents(scaled * self.q_step, self.classes)
        if self.coefficients is not None:
            seen = self.coefficients.seen(self.q_step, mode)
            latents = torch.cat([latents, seen], 1)
        else:
            latents = F.pad(latents, (0, self.details))
        loss = self.target.distance(latents, quickly) + self.rate_weight * bits
        self.optimiser.param_groups[0]["lr"] = learning_rate
        self.optimiser.zero_grad()
        loss.sum().backward()
        self.optimiser.step()
        self.taken += 1
        self.loss, self.bits = float(loss.detach().mean()), float(bits.detach().mean())
        if self.coefficients is not None:
            self.coefficients.step(self.q_step, self.rate_weight)
            self.bits += self.coefficients.bits(self.q_step)
