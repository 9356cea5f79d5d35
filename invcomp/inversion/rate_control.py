"""Rate control: adapts the q_step of each image during one search until its file meets a goal.

There is one search, not one for each q_step. During the descent, the q_step of each image moves to
the value at which its file would meet the goal if the search ended there. After the descent, the
search settles: a few straight-through iterations adapt the coordinates to the last change.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from ..errors import GoalError
from ..quality import FINEST
from .descent import Descent
from .options import SearchOptions
from .quantiser import FILL, Optimum, Quantiser
from .search import Progress, ProgressCallback, Search

OVER = 1.02  # fraction of the limit that the search aims at; the excess is trimmed
# fractions of the descent at which q_step moves
BYTE_MOVES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LPIPS_MOVES = (0.4, 0.6, 0.8)  # fewer, because each decodes an image
FAR, NEAR = 16, 5  # largest move in step indices: in the free phase, and after it
SLOPE = 0.015  # approximate decrease of log LPIPS for each step index
ROUNDS = 3  # of settling, at most
PROBES = 6  # largest number of step indices tried for an LPIPS goal after the search
TRIMS = 3  # attempts to trim the smallest file that meets an LPIPS goal
SETTLING_RATE = 0.1  # of the learning rate
BYTE_SHARE, LPIPS_SHARE = 0.15, 0.35  # largest cost of settling, as a fraction of the search's

LpipsOf = Callable[[int, bytes], float]  # of the image with this index and this file


class RateControl:
    """Searches for files that meet a goal.

    Args:
        search: of the bundle.
        step_index: of the q_step to begin with.
        options: of the search.
        progress: called after every iteration.
        region: see `Search.run`.
    """

    def __init__(
        self,
        search: Search,
        step_index: int,
        options: SearchOptions,
        progress: ProgressCallback | None = None,
        region: Tensor | None = None,
    ) -> None:
        self.search, self.step_index, self.progress = search, step_index, progress
        self.region = region
        self.options, self.deadline = options, math.inf

    def within_bytes(
        self,
        images: Tensor,
        quantisers: Sequence[Quantiser],
        limits: Sequence[int],
        batch_size: int = 1,
    ) -> list[bytes]:
        """Files within limits in bytes, which use 93% of the limit if the image can.

        Args:
            images: [N, 3, H, W] in [-1, 1], in the generator's frame.
            quantisers: one for each image.
            limits: one for each image, in bytes of the whole file.
            batch_size: see `Search.run`.

        Raises:
            GoalError: a limit is below the smallest possible file.
            OptionError: see `Search.run`.
        """
        for quantiser, limit in zip(quantisers, limits, strict=True):
            if limit < quantiser.least:
                raise GoalError(
                    f"{limit} bytes are too few: the smallest file of this image takes "
                    f"{quantiser.least}"
                )

        def wanted(row: int, optimum: Optimum, index: int) -> int:
            return quantisers[row].index_for(optimum, OVER * limits[row])

        descent = self._descend(images, batch_size, BYTE_MOVES, wanted, BYTE_SHARE)
        for count in range(ROUNDS):
            current = _optima(descent, len(images))
            indices = list(descent.step_indices)
            for row, optimum in enumerate(current):
                size = len(quantisers[row].file(optimum, indices[row]))
                if not FILL * limits[row] <= size <= (2 - FILL) * limits[row]:
                    indices[row] = _nearer(indices[row], wanted(row, optimum, indices[row]), FAR)
            if indices == descent.step_indices or self._late():
                break
            self._settle(descent, indices, BYTE_SHARE, count, ROUNDS)
        return [
            quantiser.filling(optimum, index, limit)
            for quantiser, optimum, index, limit in zip(
                quantisers,
                _optima(descent, len(images)),
                descent.step_indices,  # the copies that pad the batch come last
                limits,
                strict=False,
            )
        ]

    def within_lpips(
        self,
        images: Tensor,
        quantisers: Sequence[Quantiser],
        limit: float,
        lpips_of: LpipsOf,
        batch_size: int = 1,
    ) -> list[bytes]:
        """The smallest files found whose LPIPS is at most the limit; see `within_bytes`.

        Raises:
            GoalError: the limit is out of reach for one image.
            OptionError: see `Search.run`.
        """
        trials = [_Bisection(limit) for _ in quantisers]

        def wanted(row: int, optimum: Optimum, index: int) -> int:
            found = lpips_of(row, quantisers[row].file(optimum, index))
            return index + round(math.log(max(found, 1e-6) / limit) / SLOPE)

        descent = self._descend(images, batch_size, LPIPS_MOVES, wanted, LPIPS_SHARE)
        for count in range(PROBES):
            indices = list(descent.step_indices)
            for row, optimum in enumerate(_optima(descent, len(images))):
                if trials[row].over:
                    continue
                data = quantisers[row].file(optimum, indices[row])
                trials[row].add(_TriedFile(indices[row], lpips_of(row, data), data, optimum))
                if not trials[row].over:
                    indices[row] = trials[row].next_index()
            if all(trial.over for trial in trials) or self._late() or count == PROBES - 1:
                break
            self._settle(descent, indices, LPIPS_SHARE, count, PROBES - 1)
        return [
            _smallest(trial, quantiser, partial(lpips_of, row))
            for row, (trial, quantiser) in enumerate(zip(trials, quantisers, strict=True))
        ]

    def _descend(
        self,
        images: Tensor,
        batch_size: int,
        moves: Sequence[float],
        wanted: Callable[[int, Optimum, int], int],
        share: float,
    ) -> Descent:
        """The search; the q_step of each image moves at the given fractions of it.

        Args:
            images, batch_size: see `Search.run`.
            moves: fractions, ascending.
            wanted: maps the index of an image, its optimum so far and its step index to the step
                index that it should have.
            share: cost of settling afterwards, as a fraction of the search's.
        """
        options, left = self.options, list(moves)
        if options.seconds is not None:
            self.search.rehearse(options, max(batch_size, len(images)))
            self.deadline = time.monotonic() + options.seconds * len(images)
            options = replace(options, seconds=options.seconds / (1 + share))
        for descent, schedule in self.search.descend(
            images, self.step_index, options, self._scaled(share), batch_size, self.region
        ):
            due = [move for move in left if move <= schedule.fraction < 1]
            if due:
                left = left[len(due) :]
                reach = FAR if schedule.mode == "free" else NEAR
                self._move(descent, len(images), wanted, reach)
                schedule.loss_changes()
        return descent

    def _move(
        self,
        descent: Descent,
        count: int,
        wanted: Callable[[int, Optimum, int], int],
        reach: int,
    ) -> None:
        indices = list(descent.step_indices)
        for row, optimum in enumerate(_optima(descent, count)):
            indices[row] = _nearer(indices[row], wanted(row, optimum, indices[row]), reach)
        descent.aim(indices)

    def _settle(
        self, descent: Descent, indices: list[int], share: float, count: int, of: int
    ) -> None:
        """A few straight-through iterations at new step indices: round `count` of `of`."""
        descent.aim(indices)
        quick = self.search.quick_for(self.options) is not None
        cost = self.options.descent_cost(max(indices), quick)
        iterations = min(max(round(share * cost / of), 2), 10)
        for iteration in range(iterations):
            descent.iterate(SETTLING_RATE * self.options.rate, "round")
            if self.progress:
                done = (count + (iteration + 1) / iterations) / of
                self.progress(
                    Progress(
                        "settling",
                        count * iterations + iteration + 1,
                        of * iterations,
                        descent.loss,
                        descent.bits / 8,
                        (1 + share * done) / (1 + share),
                    )
                )

    def _scaled(self, share: float) -> ProgressCallback | None:
        """The callback with the fraction of the search scaled to the whole with settling."""
        told = self.progress
        if told is None:
            return None
        return lambda state: told(replace(state, fraction=state.fraction / (1 + share)))

    def _late(self) -> bool:
        """Whether a time limit has passed."""
        return time.monotonic() > self.deadline


@dataclass(frozen=True)
class _TriedFile:
    """A file that was tried, with its step index, LPIPS and coordinates."""

    index: int
    lpips: float
    data: bytes
    optimum: Optimum


@dataclass
class _Bisection:
    """Bisection of the step index of one image for an LPIPS goal."""

    limit: float
    passed: list[_TriedFile] = field(default_factory=list)
    failed: list[_TriedFile] = field(default_factory=list)

    def add(self, trial: _TriedFile) -> None:
        (self.passed if trial.lpips <= self.limit else self.failed).append(trial)

    @property
    def over(self) -> bool:
        """Whether the bisection has ended."""
        finest_failed = max((trial.index for trial in self.failed), default=-1)
        coarsest_passed = min((trial.index for trial in self.passed), default=FINEST + 1)
        return coarsest_passed - finest_failed <= 2

    def next_index(self) -> int:
        """The step index to try: between those that passed and those that failed, or outside."""
        if not self.failed:
            high = min(self.passed, key=lambda trial: trial.index)
            guess = math.log(self.limit / max(high.lpips, 1e-6)) / SLOPE
            return max(high.index - max(round(guess), 3), 0)
        low = max(self.failed, key=lambda trial: trial.index)
        if not self.passed:
            guess = max(math.log(low.lpips / self.limit) / SLOPE, 2 * 2.0 ** len(self.failed))
            return min(low.index + round(guess), FINEST)
        return (low.index + min(trial.index for trial in self.passed)) // 2


def _smallest(
    trials: _Bisection, quantiser: Quantiser, lpips_of: Callable[[bytes], float]
) -> bytes:
    """The smallest file that passed, trimmed as long as it passes.

    Raises:
        GoalError: none passed.
    """
    if not trials.passed:
        best = min(trials.failed, key=lambda trial: trial.lpips)
        raise GoalError(
            f"LPIPS {trials.limit:g} is out of reach: the best reached is {best.lpips:.4f}, "
            f"with {len(best.data)} bytes"
        )
    best = min(trials.passed, key=lambda trial: len(trial.data))
    data, failed = best.data, max(quantiser.least, round(0.9 * len(best.data))) - 1
    for _ in range(TRIMS):
        middle = (failed + len(data)) // 2
        if middle <= failed:
            break
        smaller = quantiser.trimmed(best.optimum, best.index, middle)
        if lpips_of(smaller) <= trials.limit:
            data = smaller
        else:
            failed = middle
    return data


def _optima(descent: Descent, count: int) -> list[Optimum]:
    """What the descent has found for the first `count` images."""
    found = descent.coordinates().detach()
    found = F.pad(found, (0, descent.space.count - found.shape[1]))
    coordinates, classes = found.cpu().double().numpy(), descent.classes.tolist()
    return [Optimum(coordinates[row], classes[row]) for row in range(count)]


def _nearer(index: int, wanted: int, reach: int) -> int:
    """The step index closest to `wanted` that is at most `reach` from `index`."""
    return min(max(wanted, index - reach, 0), index + reach, FINEST)
