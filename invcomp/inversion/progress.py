"""How much of a batch's search is done, by the cost of its iterations or by time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .descent import Descent, Schedule
from .options import QUICKER, SCREENING_COST, SearchOptions


@dataclass(frozen=True)
class Progress:
    """Progress of a search.

    Attributes:
        stage: "screening", "starts" or "search"; with a goal also "settling".
        iteration, iterations: done and in all, within the stage. In screening they count starts.
        loss: mean over the batch.
        bytes: estimated size of the payload, mean over the batch.
        fraction: of the whole batch's work that is done, 0 to 1.
    """

    stage: str
    iteration: int
    iterations: int
    loss: float
    bytes: float
    fraction: float = 0.0


ProgressCallback = Callable[[Progress], None]


class ProgressTracker:
    """Reports the progress of a batch, and keeps its time limit.

    Args:
        options: of the search.
        images: in the batch.
        starts, descent: costs of both parts of the search of one image, in iterations.
        quick: whether the surrogate is used.
        settling: largest cost of the settling after the search, as a fraction of the search's.
        progress: is called.
    """

    def __init__(
        self,
        options: SearchOptions,
        images: int,
        starts: float,
        descent: float,
        quick: bool,
        settling: float = 0.0,
        progress: ProgressCallback | None = None,
    ) -> None:
        self.options, self.settling, self.progress = options, settling, progress
        self.seconds = None if options.seconds is None else options.seconds * images
        self.done, self.tries = 0.0, 0
        self.quick = 1 / QUICKER if quick else 1.0
        self.starts, self.descent = images * starts, images * descent
        self.begin()

    def begin(self) -> None:
        """Time is measured from here."""
        self.started = time.monotonic()

    def seconds_left(self) -> float | None:
        """Time left for the descent, at least 0.1 s; None: no limit."""
        if self.seconds is None:
            return None
        return max(self._search_seconds(self.seconds) - self._elapsed(), 0.1)

    def late(self) -> bool:
        """Whether a time limit has passed."""
        return self.seconds is not None and self._elapsed() > self.seconds

    def screened(self, loss: float, count: int, total: int) -> None:
        """One start was screened."""
        self.done += SCREENING_COST * self.quick
        self._report("screening", count, total, loss, 0.0)

    def tried(self, descent: Descent, iterations: int) -> None:
        """A start was followed for one iteration."""
        self.done += self.quick
        self.tries += 1
        iteration = (self.tries - 1) % iterations + 1
        self._report("starts", iteration, iterations, descent.loss, descent.bits / 8)

    def searched(self, descent: Descent, schedule: Schedule) -> None:
        """An iteration of the descent was done."""
        ahead = self.starts + self.descent * self._share(schedule.fraction, schedule.full_part)
        self.done = max(self.done, ahead)
        iterations = self.options.iterations_at(max(descent.step_indices))
        iteration = max(round(schedule.fraction * iterations), 1)  # with a time limit, a fraction
        self._report("search", iteration, iterations, descent.loss, descent.bits / 8)

    def settling_cost(self, step_index: int) -> float:
        """Largest cost of the settling of one image, in iterations of the generator."""
        return self.settling * self.options.descent_cost(step_index, self.quick < 1)

    def settled(self, descent: Descent, iteration: int, iterations: int) -> None:
        """An iteration of the settling was done, of so many if all rounds are as long."""
        if self.progress:
            done = (1 + self.settling * iteration / iterations) / (1 + self.settling)
            size = descent.bits / 8
            self.progress(Progress("settling", iteration, iterations, descent.loss, size, done))

    def _share(self, fraction: float, full: float) -> float:
        """The fraction of the descent's cost at a fraction of its iterations.

        Args:
            fraction: of the iterations.
            full: the fraction of them, at the end, that run the generator.
        """
        quick = (1 - full) * self.quick
        behind = min(fraction, 1 - full) * self.quick + max(fraction - (1 - full), 0.0)
        return behind / (quick + full)

    def _elapsed(self) -> float:
        return time.monotonic() - self.started

    def _search_seconds(self, seconds: float) -> float:
        return seconds / (1 + self.settling)

    def _report(
        self, stage: str, iteration: int, iterations: int, loss: float, size: float
    ) -> None:
        if self.progress:
            fraction = min(self.done / (self.starts + self.descent), 1.0)
            if self.seconds is not None:
                fraction = min(self._elapsed() / self._search_seconds(self.seconds), 1.0)
            fraction /= 1 + self.settling
            self.progress(Progress(stage, iteration, iterations, loss, size, fraction))
