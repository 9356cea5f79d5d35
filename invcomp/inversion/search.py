"""The search: gradient descent from an image to quantised perceptual coordinates.

Partly whitened variables v, Adam, in three phases: free, additive uniform noise in place of
rounding, straight-through rounding. The loss is LPIPS + beta * MSE + structure + lambda * bits with
lambda tied to the step, so the step is the only knob of quality.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..distilled.encoder import InversionEncoder, see
from ..entropy.density import PriorScales, PriorShape
from ..errors import OptionError
from ..generators.base import check_class
from ..latents.coordinates import Coordinates
from .descent import Descent, Schedule, Space
from .distortion import Distortion, Target
from .options import MEANS, QUICKER, SCREENING_COST, SearchOptions, rounds


@dataclass(frozen=True)
class Progress:
    """Where a search stands.

    Attributes:
        stage: "screening", "starts" or "search"; with a goal "settling" too.
        step, steps: within the stage.
        loss: mean over the batch.
        bytes: of payload, mean over the batch, an estimate.
        fraction: of the whole batch's work.
    """

    stage: str
    step: int
    steps: int
    loss: float
    bytes: float
    fraction: float = 0.0


ProgressCallback = Callable[[Progress], None]


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
    """Finds the integers of images for one bundle.

    Args:
        distortion: of latents against targets.
        coordinates: the bundle's.
        scales: b_k, the prior scale of every coordinate.
        shape: the prior's shape.
        candidates: coordinates of prior samples to screen as starts, [M, K].
        candidate_classes: of each, int64 [M]; None: all of the first.
        encoder: that says where to start, if there is one.
        quick: the distortion of the generator's surrogate, if there is one.
    """

    def __init__(
        self,
        distortion: Distortion,
        coordinates: Coordinates,
        scales: PriorScales,
        shape: PriorShape,
        candidates: Tensor,
        candidate_classes: Tensor | None = None,
        encoder: InversionEncoder | None = None,
        quick: Distortion | None = None,
    ) -> None:
        self.distortion, self.quick, self.encoder = distortion, quick, encoder
        self.space, self.candidates = Space(coordinates, scales, shape), candidates
        if candidate_classes is None:
            candidate_classes = torch.zeros(len(candidates), dtype=torch.long)
        self.candidate_classes = candidate_classes.to(candidates.device)
        self.classes = len(coordinates.mean)

    def run(
        self,
        images: Tensor,
        step_index: int,
        options: SearchOptions,
        progress: ProgressCallback | None = None,
        places: int = 1,
        region: Tensor | None = None,
    ) -> Starts:
        """Quantised coordinates and classes of images.

        Args:
            images: [N, 3, H, W] in [-1, 1], in the generator's frame.
            step_index: of the quantiser's step, 2^(-index/16).
            options: how much to try.
            progress: called after every step.
            places: of the descent's graph; where there are fewer images, copies fill it.
            region: how much each place matters, [1, 1, R, R]; None: all alike.

        Returns:
            Integers, int32 [N, K], and classes.

        Raises:
            OptionError: as `start`.
        """
        steps = self.descend(images, step_index, options, progress, places, region)
        for descent, _ in steps:
            last = descent
        return Starts(last.integers(), last.classes)[: len(images)]

    def descend(
        self,
        images: Tensor,
        step_index: int,
        options: SearchOptions,
        progress: ProgressCallback | None = None,
        places: int = 1,
        region: Tensor | None = None,
    ) -> Iterator[tuple[Descent, Schedule]]:
        """The descent of `run` after each of its steps; whoever watches may change its aim."""
        copies = max(places - len(images), 0)
        self.rehearse(options, len(images) + copies)
        work = _Work(self, options, len(images), step_index, progress)
        start = self.start(images, step_index, options, work, region)
        start = Starts.join([start, *[start[-1:]] * copies])
        features = self.distortion.target(images)
        features = torch.cat([features, *[features[-1:]] * copies])
        target = self._target(features, images, options, region)
        descent = Descent(
            self.space,
            target,
            start.coordinates,
            start.classes,
            step_index,
            options,
            self.spread(options),
        )
        quick = self.quick_for(options) is not None
        schedule = Schedule(options, work.seconds_left(), quick)
        while schedule.fraction < 1:
            descent.step(schedule.learning_rate, schedule.mode, schedule.quickly)
            schedule.advance(descent.loss, max(descent.step_indices))
            work.searched(descent, schedule)
            yield descent, schedule

    def rehearse(self, options: SearchOptions, places: int) -> None:
        """Compiles what a search of so many places will run, before its clock."""
        trials = options.followed(self.classes, self.warm(options)) > 1
        for count in {1, places} if trials else {places}:
            latents = self.space.coordinates.means().repeat(count, 1)
            for distortion in (self.distortion, self.quick_for(options)):
                if distortion is not None:
                    distortion.rehearse(latents)

    def guess(self, images: Tensor) -> Tensor:
        """What the encoder says: coordinates [N, K] of images [N, 3, H, W] in [-1, 1]."""
        assert self.encoder is not None
        with torch.no_grad():
            found = self.encoder(see(self.distortion.features, images))
        return F.pad(found, (0, self.space.coordinates.count - found.shape[1]))

    def start(
        self,
        images: Tensor,
        step_index: int,
        options: SearchOptions,
        work: _Work | None = None,
        region: Tensor | None = None,
    ) -> Starts:
        """The best start of each image [N, 3, H, W]: screening, then successive halving.

        Raises:
            OptionError: there are fewer candidates than starts ask for, or no such class.
        """
        if options.class_index is not None:
            check_class(options.class_index, self.classes)
        screened = min(options.candidates, len(self.candidates))
        if (options.starts or 0) > screened + 1:
            raise OptionError(
                f"starts is {options.starts}: at most {screened + 1}, the mean and the candidates"
            )
        work = work or _Work(self, options, len(images), step_index, None)
        return Starts.join(
            [self._start_of_one(one[None], step_index, options, work, region) for one in images]
        )

    def _target(
        self,
        features: Tensor,
        images: Tensor,
        options: SearchOptions,
        region: Tensor | None,
    ) -> Target:
        """The features of images as what is to be reached, in the region that matters."""
        weights = None
        if region is not None:
            weights = self.distortion.features.weights(images, region)
        quick = self.quick_for(options)
        return Target(features, self.distortion, quick, weights, options.structure)

    def warm(self, options: SearchOptions) -> bool:
        """Whether the encoder says where to start."""
        return self.encoder is not None and options.warm_start and self.classes == 1

    def quick_for(self, options: SearchOptions) -> Distortion | None:
        """The distortion of the surrogate, where the search takes it."""
        return self.quick if options.hurried else None

    def spread(self, options: SearchOptions) -> Tensor:
        """How far what is sought may be from the start, by coordinate: [K].

        An encoder knows the leading coordinates well: steps as wide as the prior would lose that.
        """
        deviations = self.space.coordinates.deviations
        if not self.warm(options):
            return deviations
        assert self.encoder is not None
        errors = self.encoder.errors
        return torch.cat([errors.minimum(deviations[: len(errors)]), deviations[len(errors) :]])

    def _start_of_one(
        self,
        image: Tensor,
        step_index: int,
        options: SearchOptions,
        work: _Work,
        region: Tensor | None,
    ) -> Starts:
        first = self._means(options)
        if self.warm(options):
            first = Starts(self.guess(image), first.classes)
        followed = options.followed(self.classes, self.warm(options))
        if followed == 1 and len(first) == 1:
            return first
        features = self.distortion.target(image)
        target = self._target(features, image, options, region)
        if len(first) > 1:  # means alone: from candidates the class is found less often
            order = self._screen(first, target, work).argsort()
            starts = first[order[:followed]]
        else:
            others = self._others(options)
            order = self._screen(others, target, work).argsort()
            starts = Starts.join([first, others[order[: followed - 1]]])
        descents = [
            Descent(
                self.space,
                self._target(features, image, options, region),
                starts.coordinates[index : index + 1],
                starts.classes[index : index + 1],
                step_index,
                options,
                self.spread(options),
            )
            for index in range(len(starts))
        ]
        steps = sum(rounds(len(descents))) * options.trial_steps
        while len(descents) > 1:
            for descent in descents:
                for _ in range(options.trial_steps):
                    rate = options.rate * min(1.0, (descent.taken + 1) / 8)
                    descent.step(rate, quickly=True)
                    work.tried(descent, steps)
            descents = sorted(descents, key=lambda descent: descent.loss)[: len(descents) // 2]
        return Starts(descents[0].coordinates().detach(), descents[0].classes)  # [1, active]

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

    def _screen(self, starts: Starts, target: Target, work: _Work) -> Tensor:
        """The distortion of each start, [N]."""
        found = [target.features.new_zeros(0)]
        for index in range(len(starts)):
            one = starts[index : index + 1]
            found.append(target.screen(self.space.latents(one.coordinates, one.classes)))
            work.screened(float(found[-1]), index + 1, len(starts))
        return torch.cat(found)


class _Work:
    """How much of a batch's search is done, by what its steps cost or by the clock."""

    def __init__(
        self,
        search: Search,
        options: SearchOptions,
        images: int,
        step_index: int,
        progress: ProgressCallback | None,
    ) -> None:
        self.options, self.images, self.progress = options, images, progress
        self.seconds = None if options.seconds is None else options.seconds * images
        self.started, self.done, self.tries = time.monotonic(), 0.0, 0
        quick = search.quick_for(options) is not None
        self.quick = 1 / QUICKER if quick else 1.0
        cost = options.starts_cost(search.classes, search.warm(options), quick)
        self.starts = images * cost
        self.descent = images * options.descent_cost(step_index, quick)

    def seconds_left(self) -> float | None:
        """For the descent, where there is a limit: a tenth of a second at least."""
        if self.seconds is None:
            return None
        return max(self.seconds - (time.monotonic() - self.started), 0.1)

    def screened(self, loss: float, step: int, steps: int) -> None:
        """One start was looked at."""
        self.done += SCREENING_COST * self.quick
        self._say("screening", step, steps, loss, 0.0)

    def tried(self, descent: Descent, steps: int) -> None:
        """A start was followed for a step."""
        self.done += self.quick
        self.tries += 1
        step = (self.tries - 1) % steps + 1
        self._say("starts", step, steps, descent.loss, descent.bits / 8)

    def searched(self, descent: Descent, schedule: Schedule) -> None:
        """A step of the descent was done."""
        ahead = self.starts + self.descent * self._share(schedule.fraction)
        self.done = max(self.done, ahead)
        steps = self.options.steps_at(max(descent.step_indices))
        step = max(round(schedule.fraction * steps), 1)  # by the clock: as of so many
        self._say("search", step, steps, descent.loss, descent.bits / 8)

    def _share(self, fraction: float) -> float:
        """The part of the descent's cost that is behind at a fraction of its steps."""
        full = self.options.full_part if self.quick < 1 else 1.0
        quick = (1 - full) * self.quick
        behind = min(fraction, 1 - full) * self.quick + max(fraction - (1 - full), 0.0)
        return behind / (quick + full)

    def _say(self, stage: str, step: int, steps: int, loss: float, size: float) -> None:
        if self.progress:
            fraction = min(self.done / (self.starts + self.descent), 1.0)
            if self.seconds is not None:
                fraction = min((time.monotonic() - self.started) / self.seconds, 1.0)
            self.progress(Progress(stage, step, steps, loss, size, fraction))
