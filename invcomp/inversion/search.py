"""The search: gradient descent from an image to quantised perceptual coordinates.

Partly whitened variables v, Adam, in three phases: free, additive uniform noise in place of
rounding, straight-through rounding. The loss is LPIPS + beta * MSE + structure + lambda * bits.
lambda depends on q_step alone, so q_step is the only parameter of quality.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..distilled.encoder import InversionEncoder, see
from ..entropy.model import Density
from ..errors import GoalError, OptionError
from ..generators.base import check_class
from ..latents.space import LatentSpace
from .control import Control, files_of
from .descent import Descent, Schedule
from .distortion import Distortion, Target
from .options import MEANS, SearchOptions, rounds
from .progress import ProgressCallback, ProgressTracker


@dataclass(frozen=True)
class ClassedCoordinates:
    """Starts of a search: coordinates with their classes.

    Attributes:
        coordinates: [N, k], the first k of all K.
        classes: int64 [N], zero if there are no classes.
    """

    coordinates: Tensor
    classes: Tensor

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, index: Tensor | slice) -> ClassedCoordinates:
        return ClassedCoordinates(self.coordinates[index], self.classes[index])

    @classmethod
    def join(cls, parts: Sequence[ClassedCoordinates]) -> ClassedCoordinates:
        """The parts one after another."""
        return cls(
            torch.cat([part.coordinates for part in parts]),
            torch.cat([part.classes for part in parts]),
        )


class Search:
    """Finds the coordinates of images for one bundle.

    Args:
        distortion: of latents against targets.
        space: that the search moves in, the bundle's coordinates.
        density: of the bundle's entropy model.
        candidates: stored starts, coordinates [M, K].
        candidate_classes: class of each candidate, int64 [M]; None: all are of class 0.
        encoder: network that predicts a start, if there is one.
        quick: distortion through the surrogate, if there is one.
        details: number of coefficients of the detail, which latents may end with.
    """

    def __init__(
        self,
        distortion: Distortion,
        space: LatentSpace,
        density: Density,
        candidates: Tensor,
        candidate_classes: Tensor | None = None,
        encoder: InversionEncoder | None = None,
        quick: Distortion | None = None,
        details: int = 0,
    ) -> None:
        self.distortion, self.quick, self.encoder = distortion, quick, encoder
        self.details = details
        self.space, self.density, self.candidates = space.expanded(), density, candidates
        if candidate_classes is None:
            candidate_classes = torch.zeros(len(candidates), dtype=torch.long)
        self.candidate_classes = candidate_classes.to(candidates.device)
        self.classes = space.classes

    def run(
        self,
        images: Tensor,
        controls: Sequence[Control],
        step_index: int,
        options: SearchOptions,
        progress: ProgressCallback | None = None,
        batch_size: int = 1,
        region: Tensor | None = None,
    ) -> list[bytes | GoalError]:
        """The file of each image, or why its goal cannot be met.

        Args:
            images: [N, 3, H, W] in [-1, 1], in the generator's frame.
            controls: of the images: each decides the q_step of its image. An image that is refused
                takes no part in the search.
            step_index: of the q_step to begin with, 2^(-step_index/16).
            options: of the search.
            progress: called after every iteration.
            batch_size: of the descent's graph. Fewer images are padded with copies.
            region: weight of each pixel, [1, 1, R, R]; None: all are equal.

        Raises:
            OptionError: see `check`.
        """
        results: list[bytes | GoalError | None] = [control.refusal for control in controls]
        rows = [row for row, refusal in enumerate(results) if refusal is None]
        if rows:
            searched = [controls[row] for row in rows]
            share = max(control.share for control in searched)
            work = self.tracker(options, len(rows), step_index, progress, share)
            descents = self.descend(images[rows], step_index, options, work, batch_size, region)
            for row, file in zip(rows, files_of(descents, searched, work), strict=True):
                results[row] = file
        return [result for result in results if result is not None]

    def descend(
        self,
        images: Tensor,
        step_index: int,
        options: SearchOptions,
        work: ProgressTracker | None = None,
        batch_size: int = 1,
        region: Tensor | None = None,
    ) -> Iterator[tuple[Descent, Schedule]]:
        """The descent of `run` after each of its iterations. The caller may change its aim."""
        copies = max(batch_size - len(images), 0)
        self.rehearse(options, len(images) + copies)
        work = work or self.tracker(options, len(images), step_index)
        work.begin()
        start = self.start(images, step_index, options, work, region)
        start = ClassedCoordinates.join([start, *[start[-1:]] * copies])
        features = self.distortion.target(images)
        features = torch.cat([features, *[features[-1:]] * copies])
        target = self._target(features, images, options, region)
        descent = Descent(
            self.space,
            self.density,
            target,
            start.coordinates,
            start.classes,
            step_index,
            options,
            self.spread(options),
            self.details_for(options),
        )
        quick = self.quick_for(options) is not None
        schedule = Schedule(options, work.seconds_left(), quick)
        while schedule.fraction < 1:
            descent.iterate(schedule.learning_rate, schedule.mode, schedule.quickly)
            schedule.advance(descent.loss, max(descent.step_indices))
            work.searched(descent, schedule)
            yield descent, schedule

    def tracker(
        self,
        options: SearchOptions,
        images: int,
        step_index: int,
        progress: ProgressCallback | None = None,
        settling: float = 0.0,
    ) -> ProgressTracker:
        """What reports the progress of a search of so many images."""
        quick = self.quick_for(options) is not None
        return ProgressTracker(
            options,
            images,
            options.starts_cost(self.classes, self.uses_encoder(options), quick),
            options.descent_cost(step_index, quick),
            quick,
            settling,
            progress,
        )

    def check(self, options: SearchOptions) -> None:
        """Checks options that depend on the bundle.

        Raises:
            OptionError: more starts are asked for than there are, or there is no such class.
        """
        if options.class_index is not None:
            check_class(options.class_index, self.classes)
        most = min(options.candidates, len(self.candidates)) + 1
        if (options.starts or 0) > most:
            raise OptionError(
                f"starts is {options.starts}: at most {most}, the mean and the candidates"
            )

    def rehearse(self, options: SearchOptions, batch_size: int) -> None:
        """Compiles the graphs of a search of this batch size, before its time is measured."""
        trials = options.followed(self.classes, self.uses_encoder(options)) > 1
        for count in {1, batch_size} if trials else {batch_size}:
            latents = F.pad(self.space.means(), (0, self.details_for(options))).repeat(count, 1)
            for distortion in (self.distortion, self.quick_for(options)):
                if distortion is not None:
                    distortion.rehearse(latents)

    def predict(self, images: Tensor) -> Tensor:
        """The encoder's prediction: coordinates [N, K] of images [N, 3, H, W] in [-1, 1]."""
        assert self.encoder is not None
        with torch.no_grad():
            found = self.encoder(see(self.distortion.features, images))
        return F.pad(found, (0, self.space.count - found.shape[1]))

    def start(
        self,
        images: Tensor,
        step_index: int,
        options: SearchOptions,
        work: ProgressTracker | None = None,
        region: Tensor | None = None,
    ) -> ClassedCoordinates:
        """The best start of each image [N, 3, H, W]: screening, then successive halving.

        Raises:
            OptionError: see `check`.
        """
        self.check(options)
        work = work or self.tracker(options, len(images), step_index)
        return ClassedCoordinates.join(
            [self._start_of_one(one[None], step_index, options, work, region) for one in images]
        )

    def _target(
        self,
        features: Tensor,
        images: Tensor,
        options: SearchOptions,
        region: Tensor | None,
    ) -> Target:
        """The target of the descent: features of images, weighted by region."""
        weights = None
        if region is not None:
            weights = self.distortion.features.weights(images, region)
        quick = self.quick_for(options)
        return Target(features, self.distortion, quick, weights, options.structure)

    def uses_encoder(self, options: SearchOptions) -> bool:
        """Whether the search starts at the encoder's prediction."""
        return self.encoder is not None and options.use_encoder and self.classes == 1

    def quick_for(self, options: SearchOptions) -> Distortion | None:
        """The distortion through the surrogate, if the search uses it."""
        return self.quick if options.hurried else None

    def details_for(self, options: SearchOptions) -> int:
        """Number of coefficients of the detail that latents end with."""
        return self.details if options.detail else 0

    def spread(self, options: SearchOptions) -> Tensor:
        """Expected deviation of each coordinate from the start: [K].

        An encoder predicts the leading coordinates well. Steps as large as the prior's deviations
        would lose this.
        """
        deviations = self.space.deviations
        if not self.uses_encoder(options):
            return deviations
        assert self.encoder is not None
        errors = self.encoder.errors
        return torch.cat([errors.minimum(deviations[: len(errors)]), deviations[len(errors) :]])

    def _start_of_one(
        self,
        image: Tensor,
        step_index: int,
        options: SearchOptions,
        work: ProgressTracker,
        region: Tensor | None,
    ) -> ClassedCoordinates:
        first = self._means(options)
        if self.uses_encoder(options):
            first = ClassedCoordinates(self.predict(image), first.classes)
        followed = options.followed(self.classes, self.uses_encoder(options))
        if followed == 1 and len(first) == 1:
            return first
        features = self.distortion.target(image)
        target = self._target(features, image, options, region)
        if len(first) > 1:  # means only: candidates find the right class less often
            order = self._screen(first, target, work, options).argsort()
            starts = first[order[:followed]]
        else:
            others = self._others(options)
            order = self._screen(others, target, work, options).argsort()
            starts = ClassedCoordinates.join([first, others[order[: followed - 1]]])
        descents = [
            Descent(
                self.space,
                self.density,
                self._target(features, image, options, region),
                starts.coordinates[index : index + 1],
                starts.classes[index : index + 1],
                step_index,
                options,
                self.spread(options),
                self.details_for(options),
                detailed=False,
            )
            for index in range(len(starts))
        ]
        iterations = sum(rounds(len(descents))) * options.trial_iterations
        while len(descents) > 1:
            for descent in descents:
                for _ in range(options.trial_iterations):
                    rate = options.rate * min(1.0, (descent.taken + 1) / 8)
                    descent.iterate(rate, quickly=True)
                    work.tried(descent, iterations)
            descents = sorted(descents, key=lambda descent: descent.loss)[: len(descents) // 2]
        best = descents[0]
        return ClassedCoordinates(best.coordinates().detach(), best.classes)  # [1, active]

    def _means(self, options: SearchOptions) -> ClassedCoordinates:
        """Means of the possible classes: the given one, all, or those of the candidates."""
        device = self.candidates.device
        if options.class_index is not None:
            classes = torch.tensor([options.class_index], device=device)
        elif self.classes <= MEANS:
            classes = torch.arange(self.classes, device=device)
        else:
            classes = self.candidate_classes[: options.candidates].unique()
        return ClassedCoordinates(
            self.candidates.new_zeros(len(classes), self.candidates.shape[1]), classes
        )

    def _others(self, options: SearchOptions) -> ClassedCoordinates:
        """The candidates, all with the given class if there is one.

        Coordinates are relative to the mean of a class, so a candidate fits every class.
        """
        found = ClassedCoordinates(self.candidates, self.candidate_classes)[: options.candidates]
        if options.class_index is None:
            return found
        return ClassedCoordinates(
            found.coordinates, torch.full_like(found.classes, options.class_index)
        )

    def _screen(
        self,
        starts: ClassedCoordinates,
        target: Target,
        work: ProgressTracker,
        options: SearchOptions,
    ) -> Tensor:
        """The distortion of each start, [N]."""
        found = [target.features.new_zeros(0)]
        for index in range(len(starts)):
            one = starts[index : index + 1]
            latents = self.space.latents(one.coordinates, one.classes)
            found.append(target.screen(F.pad(latents, (0, self.details_for(options)))))
            work.screened(float(found[-1]), index + 1, len(starts))
        return torch.cat(found)
