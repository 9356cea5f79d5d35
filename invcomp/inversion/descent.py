"""One descent: variables, optimiser, phases, and when it is over."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from ..entropy.density import PriorScales, PriorShape, step_of
from ..latents.coordinates import Coordinates
from .distortion import Target
from .options import QUICKER, SearchOptions

ACTIVE = 0.15  # a prior scale under this many steps: the coordinate stays zero
PIVOT = 0.3  # the deviation at which `whitening` makes no difference
PHASES = (("free", 0.4), ("noise", 0.7), ("round", 1.0))  # and the fraction at which each ends
WINDOW = 12  # losses whose mean is compared with that of as many before them
RESTART = 0.3  # of the learning rate, where the generator takes over from its surrogate
FLAT = 0.001  # a loss that falls by less than this part from window to window is flat


@dataclass(frozen=True)
class Space:
    """Where the search moves: coordinates and what they cost.

    Attributes:
        coordinates: the bundle's.
        scales: b_k, the prior scale of every coordinate.
        shape: the prior's shape.
    """

    coordinates: Coordinates
    scales: PriorScales
    shape: PriorShape

    @cached_property
    def basis(self) -> Tensor:
        """[K, D]."""
        return self.coordinates.basis()

    def latents(self, coordinates: Tensor, classes: Tensor | None = None) -> Tensor:
        """Flat latents [N, D] of the first coordinates [N, k] and classes [N]; None: the first."""
        means = self.coordinates.means(classes)
        return means + coordinates @ self.basis[: coordinates.shape[1]]

    def active(self, step_index: int) -> int:
        """How many coordinates, from the first, can round to more than zero at this step."""
        reaching = (self.scales.at(step_index) > ACTIVE * step_of(step_index)).nonzero()
        return int(reaching[-1]) + 1 if len(reaching) else 1


class Schedule:
    """How far a descent is: by its steps or by the clock, and ahead where the loss is flat.

    Args:
        options: of the search.
        seconds: in place of a number of steps.
        quick: whether there is a surrogate, for all but the last steps.
    """

    def __init__(
        self, options: SearchOptions, seconds: float | None = None, quick: bool = False
    ) -> None:
        self.options, self.seconds = options, seconds
        self.full_part = options.full_part if quick else 1.0
        self.fraction, self._done, self._started = 0.0, Fraction(0), time.monotonic()
        self._losses: list[float] = []  # of this phase
        self._comparable = 0  # index of the first of them that is of the present loss

    @property
    def mode(self) -> str:
        """The phase: free, noise or round."""
        return next((name for name, end in PHASES if self.fraction < end), "round")

    @property
    def quickly(self) -> bool:
        """Whether a surrogate will do: its losses jump where it is corrected, so none is flat."""
        return self.fraction < 1 - self.full_part

    @property
    def learning_rate(self) -> float:
        """Eight steps of ramp, then a cosine down to 2%.

        The generator's own steps after those of a surrogate begin higher than the cosine is there.
        """
        ramp = min(1.0, (len(self._losses) + 1) / 8) if self.mode == "free" else 1.0
        factor = ramp * (0.51 + 0.49 * math.cos(math.pi * self.fraction))
        if not self.quickly and self.full_part < 1:
            left = (1 - self.fraction) / self.full_part
            factor = max(factor, 0.02 + (RESTART - 0.02) * left)
        return self.options.rate * factor

    def advance(self, loss: float, step_index: int = 0) -> None:
        """After a step that saw this loss, with a quantiser's step of this index."""
        self._losses.append(loss)
        before = self.mode, self.quickly
        if self.seconds is not None:
            self.fraction = self._by_time((time.monotonic() - self._started) / self.seconds)
        else:
            self._done += Fraction(1, self.options.steps_at(step_index))  # the pace may change
            if self._flat():
                self._done = max(self._done, Fraction(str(dict(PHASES)[self.mode])))
            self.fraction = float(self._done)
        self.fraction = min(self.fraction, 1.0)
        if (self.mode, self.quickly) != before:
            self._losses, self._comparable = [], 0

    def loss_changes(self) -> None:
        """The loss is another one from here on: what it was before says nothing of its slope."""
        self._comparable = len(self._losses)

    def _by_time(self, elapsed: float) -> float:
        """The fraction of steps of a fraction of time, the last steps taking longer."""
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
    """The variables of one or several images, their optimiser, and what the last step saw.

    Args:
        space: where it moves.
        target: what is to be reached.
        start: coordinates [N, k] to start from.
        classes: of each, int64 [N].
        step_index: of the quantiser's step; `aim` changes it.
        options: of the search.
        spread: how far each coordinate may be from its start, [K].
    """

    def __init__(
        self,
        space: Space,
        target: Target,
        start: Tensor,
        classes: Tensor,
        step_index: int,
        options: SearchOptions,
        spread: Tensor,
    ) -> None:
        self.space, self.target, self.classes, self.options = space, target, classes, options
        self.units = spread**options.whitening * PIVOT ** (1 - options.whitening)
        start = F.pad(start, (0, len(self.units) - start.shape[1]))
        self.variables = (start / self.units).requires_grad_()
        self.aim([step_index] * len(start))
        self.optimiser: torch.optim.Optimizer = (
            torch.optim.NAdam([self.variables], betas=(0.8, 0.99))
            if options.hurried
            else torch.optim.Adam([self.variables], betas=(0.9, 0.99))
        )
        self.generator = torch.Generator().manual_seed(options.seed)
        self.taken, self.loss, self.bits = 0, math.inf, 0.0

    def aim(self, step_indices: list[int]) -> None:
        """Sets the quantiser's step of each image; the coordinates stay where they are."""
        self.step_indices = step_indices
        self.delta = self.variables.new_tensor([[step_of(index)] for index in step_indices])
        self.active = self.space.active(max(step_indices))
        scales = torch.stack([self.space.scales.at(index) for index in step_indices])
        self.scales = scales[:, : self.active] / self.delta  # [N, active]
        weight = self.options.rate_weight * math.log(2) / 6
        self.rate_weight = weight * self.delta[:, 0] ** 2  # [N]

    def coordinates(self) -> Tensor:
        """[N, active]."""
        coordinates: Tensor = (self.units * self.variables)[:, : self.active]
        return coordinates

    def integers(self) -> Tensor:
        """int32 [N, K]."""
        found = (self.coordinates().detach() / self.delta).round().int()
        return F.pad(found, (0, self.space.coordinates.count - found.shape[1]))

    def step(self, learning_rate: float, mode: str = "free", quickly: bool = False) -> None:
        """One gradient step."""
        steps = self.coordinates() / self.delta
        if mode == "noise":
            noise = torch.rand(steps.shape, generator=self.generator).to(steps.device) - 0.5
            steps = steps + noise * (steps.detach().abs() > 0.5)  # the rest rounds to zero
        elif mode == "round":
            steps = steps + (steps.round() - steps).detach()
        bits = self.space.shape.bits(steps, self.scales).sum(1)
        latents = self.space.latents(steps * self.delta, self.classes)
        loss = self.target.distance(latents, quickly) + self.rate_weight * bits
        self.optimiser.param_groups[0]["lr"] = learning_rate
        self.optimiser.zero_grad()
        loss.sum().backward()
        self.optimiser.step()
        self.taken += 1
        self.loss, self.bits = float(loss.detach().mean()), float(bits.detach().mean())
