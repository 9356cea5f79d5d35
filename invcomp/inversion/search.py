"""The search: gradient descent from a photograph to quantised perceptual coordinates.

Partly whitened variables v, Adam, in three phases: free, additive uniform noise in place of
rounding, straight-through rounding. The loss is LPIPS + beta * MSE + lambda * bits with lambda tied
to the step, so the step is the only knob of quality.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError
from ..generators.base import Generator, check_class
from ..latents.coordinates import Coordinates
from ..latents.features import RESOLUTION, PerceptualFeatures
from ..latents.rate import PriorShape, step_of

ACTIVE = 0.15  # a prior scale under this many steps: the coordinate stays zero
MEANS = 64  # classes whose means are all screened; of more, those of the candidates
FOLLOWED_CLASSES = 8
PIVOT = 0.3  # the deviation at which `whitening` makes no difference


@dataclass(frozen=True)
class SearchOptions:
    """How much the search tries.

    Attributes:
        steps: gradient steps from the chosen start to the file.
        starts: how many starts, the mean among them, are followed for `trial_steps` before one is
            chosen; 1: the mean. Four are better still and take half as long again.
        candidates: prior samples screened for those starts.
        trial_steps: gradient steps in each of the two rounds of trials; each round drops half.
        learning_rate: Adam's, on the variables.
        whitening: c = deviation^whitening * PIVOT^(1 - whitening) * v. 1: whitened variables, 0:
            coordinates themselves. Between them strong coordinates move less in a step and weak
            ones more: a fifth fewer bytes on real portraits than with 1 (docs/experiments.md).
        rate_weight: factor on the lambda of high-rate theory, (ln 2 / 6) step^2.
        seed: of the noise that stands in for rounding.
        class_index: of a class-conditional generator; None: the means of the eight likeliest
            classes are followed in place of other starts, and the one that is chosen has the class.
    """

    steps: int = 120
    starts: int = 2
    candidates: int = 64
    trial_steps: int = 12
    learning_rate: float = 0.2
    whitening: float = 0.6
    rate_weight: float = 0.5
    seed: int = 0
    class_index: int | None = None

    def gradient_steps(self, classes: int = 1) -> int:
        """Gradient steps for one photograph of a model with so many classes, trials included."""
        return self.steps + self.trial_steps * sum(_rounds(self.followed(classes)))

    def followed(self, classes: int = 1) -> int:
        """How many starts are followed before one is chosen."""
        if classes == 1 or self.class_index is not None:
            return self.starts
        return min(classes, max(self.starts, FOLLOWED_CLASSES))

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise OptionError(f"steps is {self.steps}: at least 1 is needed")
        if self.starts < 1:
            raise OptionError(f"starts is {self.starts}: at least 1 is needed")

    def screened(self, classes: int = 1) -> int:
        """How many starts are looked at before some are followed, at most."""
        if classes > 1 and self.class_index is None:
            return min(classes, MEANS)
        return self.candidates if self.starts > 1 else 0


@dataclass(frozen=True)
class Progress:
    """Where a search stands: `step` of `steps`, mean loss, mean bytes of payload (an estimate)."""

    stage: str
    step: int
    steps: int
    loss: float
    bytes: float


ProgressCallback = Callable[[Progress], None]


class Distortion:
    """LPIPS + beta * MSE between the pictures of latents and target features, with its gradient.

    Args:
        generator: G.
        features: f.
        mixed: bfloat16 autocast.
        compiled: through torch.compile; the first call of a shape then takes a minute.
    """

    def __init__(
        self, generator: Generator, features: PerceptualFeatures, mixed: bool, compiled: bool
    ) -> None:
        self.generator, self.features, self.mixed = generator, features, mixed
        self.resolution = min(RESOLUTION, generator.resolution)
        self._distance = self._eager
        if compiled:  # where CUDA is installed without a GPU, torch warns of it as it compiles
            logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
            self._distance = torch.compile(self._eager, dynamic=False)

    def target(self, pictures: Tensor) -> Tensor:
        """Features of photographs [N, 3, H, W] in [-1, 1], computed once a search."""
        with torch.no_grad():
            return self.features(pictures)  # type: ignore[no-any-return]

    def __call__(self, latents: Tensor, target: Tensor) -> Tensor:
        """[N, D] and [N, F] to [N]."""
        with torch.autocast(latents.device.type, torch.bfloat16, enabled=self.mixed):
            return self._distance(latents, target)

    def _eager(self, latents: Tensor, target: Tensor) -> Tensor:
        picture = self.generator.forward_reduced(latents, self.resolution)
        distance: Tensor = (self.features(picture).float() - target).square().sum(1)
        return distance


@dataclass(frozen=True)
class Starts:
    """Places to start from, or where a search ended.

    Attributes:
        coordinates: [N, k], the first k of all K; or steps of them, integers [N, K].
        classes: int64 [N], zero where there are none.
    """

    coordinates: Tensor
    classes: Tensor

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, index: Tensor | slice) -> Starts:
        return Starts(self.coordinates[index], self.classes[index])

    @classmethod
    def join(cls, parts: Sequence[Starts]) -> Starts:
        """All of them in order."""
        return cls(
            torch.cat([part.coordinates for part in parts]),
            torch.cat([part.classes for part in parts]),
        )


class Search:
    """Finds the integers of photographs for one bundle.

    Args:
        distortion: of latents against targets.
        coordinates: the bundle's.
        scales: b_k, the prior scale of every coordinate, [K].
        shape: the prior's shape.
        candidates: coordinates of prior samples to screen as starts, [M, K].
        candidate_classes: of each, int64 [M]; None: all of the first.
    """

    def __init__(
        self,
        distortion: Distortion,
        coordinates: Coordinates,
        scales: Tensor,
        shape: PriorShape,
        candidates: Tensor,
        candidate_classes: Tensor | None = None,
    ) -> None:
        self.distortion, self.coordinates = distortion, coordinates
        self.basis = coordinates.basis()
        self.scales, self.shape, self.candidates = scales, shape, candidates
        if candidate_classes is None:
            candidate_classes = torch.zeros(len(candidates), dtype=torch.long)
        self.candidate_classes = candidate_classes.to(candidates.device)
        self.classes = len(coordinates.mean)

    def latents(self, coordinates: Tensor, classes: Tensor | None = None) -> Tensor:
        """Flat latents [N, D] of the first coordinates [N, k] and classes [N]; None: the first."""
        means = self.coordinates.means(classes)
        return means + coordinates @ self.basis[: coordinates.shape[1]]

    def active(self, delta: float) -> int:
        """How many coordinates, from the first, can round to more than zero at this step."""
        reaching = (self.scales > ACTIVE * delta).nonzero()
        return int(reaching[-1]) + 1 if len(reaching) else 1

    def run(
        self,
        photographs: Tensor,
        step_index: int,
        options: SearchOptions,
        progress: ProgressCallback | None = None,
        places: int = 1,
    ) -> Starts:
        """Quantised coordinates and classes of photographs.

        Args:
            photographs: [N, 3, H, W] in [-1, 1], in the generator's frame.
            step_index: of the quantiser's step, 2^(-index/16).
            options: how much to try.
            progress: called after every step.
            places: of the descent's graph; where there are fewer photographs, copies fill it.

        Returns:
            Integers, int32 [N, K], and classes.

        Raises:
            OptionError: as `start`.
        """
        target = self.distortion.target(photographs)
        start = self.start(target, step_index, options, progress)
        copies = max(places - len(target), 0)
        start = Starts.join([start, *[start[-1:]] * copies])
        target = torch.cat([target, *[target[-1:]] * copies])
        found = self._descend(start, target, step_index, options, progress)
        return Starts(found, start.classes)[: len(photographs)]

    def start(
        self,
        target: Tensor,
        step_index: int,
        options: SearchOptions,
        progress: ProgressCallback | None = None,
    ) -> Starts:
        """The best start of each target [N, F]: screening, then successive halving.

        Raises:
            OptionError: there are fewer candidates than starts ask for, or no such class.
        """
        if options.class_index is not None:
            check_class(options.class_index, self.classes)
        screened = min(options.candidates, len(self.candidates))
        if options.starts > screened + 1:
            raise OptionError(
                f"starts is {options.starts}: at most {screened + 1}, the mean and the candidates"
            )
        return Starts.join(
            [self._start_of_one(one[None], step_index, options, progress) for one in target]
        )

    def _start_of_one(
        self,
        target: Tensor,
        step_index: int,
        options: SearchOptions,
        progress: ProgressCallback | None,
    ) -> Starts:
        means = self._means(options)
        if len(means) > 1:  # means alone: from candidates the class is found less often
            order = self._screen(means, target, progress).argsort()
            starts = means[order[: options.followed(self.classes)]]
        elif options.starts == 1:
            return means
        else:
            others = self._others(options)
            order = self._screen(others, target, progress).argsort()
            starts = Starts.join([means, others[order[: options.starts - 1]]])
        runs = [
            _Run(self, starts[index : index + 1], target, step_index, options)
            for index in range(len(starts))
        ]
        total, done = sum(_rounds(len(runs))) * options.trial_steps, 0
        while len(runs) > 1:
            for run in runs:
                for _ in range(options.trial_steps):
                    run.step(options.learning_rate * min(1.0, (run.taken + 1) / 8))
                    done += 1
                    if progress:
                        progress(Progress("starts", done, total, run.loss, run.bits / 8))
            runs = sorted(runs, key=lambda run: run.loss)[: len(runs) // 2]
        return Starts(runs[0].coordinates().detach(), runs[0].classes)  # [1, active]

    def _means(self, options: SearchOptions) -> Starts:
        """The means of the classes that may be: the given one, all, or those of the candidates."""
        device = self.candidates.device
        if options.class_index is not None:
            classes = torch.tensor([options.class_index], device=device)
        elif self.classes <= MEANS:
            classes = torch.arange(self.classes, device=device)
        else:
            classes = self.candidate_classes[: options.candidates].unique()
        return Starts(self.candidates.new_zeros(len(classes), self.candidates.shape[1]), classes)

    def _others(self, options: SearchOptions) -> Starts:
        """The candidates, all in the given class if there is one.

        Coordinates count from the mean of a class, so a candidate of one serves in any.
        """
        found = Starts(self.candidates, self.candidate_classes)[: options.candidates]
        if options.class_index is None:
            return found
        return Starts(found.coordinates, torch.full_like(found.classes, options.class_index))

    def _screen(self, starts: Starts, target: Tensor, progress: ProgressCallback | None) -> Tensor:
        """The distortion of each start, [N]."""
        found = [target.new_zeros(0)]
        for index in range(len(starts)):
            one = starts[index : index + 1]
            # with gradients on, though none is asked for: so the steps' graph serves, compiled once
            latents = self.latents(one.coordinates, one.classes).requires_grad_()
            value = self.distortion(latents, target).detach()
            found.append(value)
            if progress:
                progress(Progress("screening", index + 1, len(starts), float(value), 0.0))
        return torch.cat(found)

    def _descend(
        self,
        start: Starts,
        target: Tensor,
        step_index: int,
        options: SearchOptions,
        progress: ProgressCallback | None,
    ) -> Tensor:
        run = _Run(self, start, target, step_index, options)
        for step in range(options.steps):
            run.mode = _phase(step / options.steps)
            run.step(_learning_rate(step, options))
            if progress:
                progress(Progress("search", step + 1, options.steps, run.loss, run.bits / 8))
        return run.integers()


def _rounds(runs: int) -> list[int]:
    """Numbers of runs in each round of halving until one is left."""
    return [] if runs <= 1 else [runs, *_rounds(runs // 2)]


def _phase(fraction: float) -> str:
    return "free" if fraction < 0.4 else "noise" if fraction < 0.7 else "round"


def _learning_rate(step: int, options: SearchOptions) -> float:
    """Eight steps of ramp, then a cosine down to 2%."""
    ramp = min(1.0, (step + 1) / 8)
    return options.learning_rate * ramp * (0.51 + 0.49 * math.cos(math.pi * step / options.steps))


class _Run:
    """One descent: the variables, their optimiser and what the last step saw."""

    def __init__(
        self, search: Search, start: Starts, target: Tensor, step_index: int, options: SearchOptions
    ) -> None:
        self.search, self.target, self.delta = search, target, step_of(step_index)
        active = search.active(self.delta)
        deviations = search.coordinates.deviations[:active]
        self.units = deviations**options.whitening * PIVOT ** (1 - options.whitening)
        self.scales = search.scales[:active] / self.delta
        self.variables = (start.coordinates[:, :active] / self.units).requires_grad_()
        self.classes = start.classes
        self.optimiser = torch.optim.Adam([self.variables], betas=(0.9, 0.99))
        self.generator = torch.Generator().manual_seed(options.seed)
        self.rate_weight = options.rate_weight * math.log(2) / 6 * self.delta**2
        self.mode, self.taken, self.loss, self.bits = "free", 0, math.inf, 0.0

    def coordinates(self) -> Tensor:
        """[N, K]."""
        coordinates: Tensor = self.units * self.variables
        return coordinates

    def integers(self) -> Tensor:
        """int32 [N, K]."""
        found = (self.coordinates().detach() / self.delta).round().int()
        return F.pad(found, (0, self.search.coordinates.count - found.shape[1]))

    def step(self, learning_rate: float) -> None:
        """One gradient step."""
        steps = self.coordinates() / self.delta
        if self.mode == "noise":
            noise = torch.rand(steps.shape, generator=self.generator).to(steps.device) - 0.5
            steps = steps + noise * (steps.detach().abs() > 0.5)  # the rest rounds to zero
        elif self.mode == "round":
            steps = steps + (steps.round() - steps).detach()
        bits = self.search.shape.bits(steps, self.scales).sum(1)
        latents = self.search.latents(steps * self.delta, self.classes)
        loss = self.search.distortion(latents, self.target) + self.rate_weight * bits
        self.optimiser.param_groups[0]["lr"] = learning_rate
        self.optimiser.zero_grad()
        loss.sum().backward()
        self.optimiser.step()
        self.taken += 1
        self.loss, self.bits = float(loss.detach().mean()), float(bits.detach().mean())
