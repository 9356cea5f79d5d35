"""Rate control: the steps of a search move until every file meets its goal.

It is one search, not one for each step that is tried. As it descends, the step of every image
goes where the file would meet the goal if the search ended there. At its end a few straight-through
steps from the latents that were found make up for what is still missing.
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
from .quantiser import FILL, Place, Quantiser
from .search import Progress, ProgressCallback, Search

OVER = 1.02  # the search aims at so much of the limit: what is too much is trimmed off its end
BYTE_MOVES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # fractions at which the step moves
LPIPS_MOVES = (0.4, 0.6, 0.8)  # fewer, as each makes an image
FAR, NEAR = 16, 5  # step indices that a move goes at most: in the free phase, and after it
SLOPE = 0.015  # by which the logarithm of LPIPS falls from one step index to the next, roughly
ROUNDS = 3  # of settling, at most
PROBES = 6  # steps tried for an LPIPS after the search
TRIMS = 3  # trims tried on the smallest file that reaches an LPIPS
SETTLING_RATE = 0.1  # of the learning rate
BYTE_SHARE, LPIPS_SHARE = 0.15, 0.35  # of the search's own cost that settling takes at most

LpipsOf = Callable[[int, bytes], float]  # of the image of this number, and this file


class RateControl:
    """Searches for files that meet a goal.

    Args:
        search: of the bundle.
        step_index: of the quantiser's step to begin with.
        options: how much to try.
        progress: called after every step.
        region: as of `Search.run`.
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
        places: int = 1,
    ) -> list[bytes]:
        """Files of at most so many bytes, and of 93% of them where the image can use them.

        Args:
            images: [N, 3, H, W] in [-1, 1], in the generator's frame.
            quantisers: one for each.
            limits: one for each, in bytes of the whole file.
            places: as of `Search.run`.

        Raises:
            GoalError: no file can be so small.
            OptionError: as `Search.run`.
        """
        for quantiser, limit in zip(quantisers, limits, strict=True):
            if limit < quantiser.least:
                raise GoalError(
                    f"{limit} bytes are too few: the smallest file of this image takes "
                    f"{quantiser.least}"
                )

        def wanted(row: int, place: Place, index: int) -> int:
            return quantisers[row].index_for(place, OVER * limits[row])

        descent = self._descend(images, places, BYTE_MOVES, wanted, BYTE_SHARE)
        for count in range(ROUNDS):
            current = _places(descent, len(images))
            indices = list(descent.step_indices)
            for row, place in enumerate(current):
                size = len(quantisers[row].file(place, indices[row]))
                if not FILL * limits[row] <= size <= (2 - FILL) * limits[row]:
                    indices[row] = _nearer(indices[row], wanted(row, place, indices[row]), FAR)
            if indices == descent.step_indices or self._late():
                break
            self._settle(descent, indices, BYTE_SHARE, count, ROUNDS)
        return [
            quantiser.filling(place, index, limit)
            for quantiser, place, index, limit in zip(
                quantisers,
                _places(descent, len(images)),
                descent.step_indices,  # copies that fill the places come last
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
        places: int = 1,
    ) -> list[bytes]:
        """The smallest files found whose LPIPS is at most the limit; see `within_bytes`.

        Raises:
            GoalError: it is out of reach for one of them.
            OptionError: as `Search.run`.
        """
        trials = [_Trials(limit) for _ in quantisers]

        def wanted(row: int, place: Place, index: int) -> int:
            found = lpips_of(row, quantisers[row].file(place, index))
            return index + round(math.log(max(found, 1e-6) / limit) / SLOPE)

        descent = self._descend(images, places, LPIPS_MOVES, wanted, LPIPS_SHARE)
        for count in range(PROBES):
            indices = list(descent.step_indices)
            for row, place in enumerate(_places(descent, len(images))):
                if trials[row].over:
                    continue
                data = quantisers[row].file(place, indices[row])
                trials[row].add(_Trial(indices[row], lpips_of(row, data), data, place))
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
        places: int,
        moves: Sequence[float],
        wanted: Callable[[int, Place, int], int],
        share: float,
    ) -> Descent:
        """The search, its steps moved at the given fractions of it.

        Args:
            images, places: as of `Search.run`.
            moves: ascending.
            wanted: the step index that an image at a place should have, of its number, the
                place and the present index.
            share: of the search's cost that is needed afterwards.
        """
        options, left = self.options, list(moves)
        if options.seconds is not None:
            self.search.rehearse(options, max(places, len(images)))
            self.deadline = time.monotonic() + options.seconds * len(images)
            options = replace(options, seconds=options.seconds / (1 + share))
        for descent, schedule in self.search.descend(
            images, self.step_index, options, self._scaled(share), places, self.region
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
        wanted: Callable[[int, Place, int], int],
        reach: int,
    ) -> None:
        indices = list(descent.step_indices)
        for row, place in enumerate(_places(descent, count)):
            indices[row] = _nearer(indices[row], wanted(row, place, indices[row]), reach)
        descent.aim(indices)

    def _settle(
        self, descent: Descent, indices: list[int], share: float, count: int, of: int
    ) -> None:
        """A few straight-through steps at other step indices: round `count` of so many."""
        descent.aim(indices)
        quick = self.search.quick_for(self.options) is not None
        cost = self.options.descent_cost(max(indices), quick)
        steps = min(max(round(share * cost / of), 2), 10)
        for step in range(steps):
            descent.step(SETTLING_RATE * self.options.rate, "round")
            if self.progress:
                done = (count + (step + 1) / steps) / of
                self.progress(
                    Progress(
                        "settling",
                        count * steps + step + 1,
                        of * steps,
                        descent.loss,
                        descent.bits / 8,
                        (1 + share * done) / (1 + share),
                    )
                )

    def _scaled(self, share: float) -> ProgressCallback | None:
        """The progress of the search itself, as the part that it is of the whole."""
        told = self.progress
        if told is None:
            return None
        return lambda state: told(replace(state, fraction=state.fraction / (1 + share)))

    def _late(self) -> bool:
        """Whether there was a limit of time and it has passed."""
        return time.monotonic() > self.deadline


@dataclass(frozen=True)
class _Trial:
    """A file that was tried, and what it was made from."""

    index: int
    lpips: float
    data: bytes
    place: Place


@dataclass
class _Trials:
    """The steps tried for one image, and which is next: bisection of the step index."""

    limit: float
    passed: list[_Trial] = field(default_factory=list)
    failed: list[_Trial] = field(default_factory=list)

    def add(self, trial: _Trial) -> None:
        (self.passed if trial.lpips <= self.limit else self.failed).append(trial)

    @property
    def over(self) -> bool:
        """Whether no other step need be tried."""
        finest_failed = max((trial.index for trial in self.failed), default=-1)
        coarsest_passed = min((trial.index for trial in self.passed), default=FINEST + 1)
        return coarsest_passed - finest_failed <= 2

    def next_index(self) -> int:
        """The step index to try: between those that passed and failed, or past all of them."""
        if not self.failed:
            high = min(self.passed, key=lambda trial: trial.index)
            guess = math.log(self.limit / max(high.lpips, 1e-6)) / SLOPE
            return max(high.index - max(round(guess), 3), 0)
        low = max(self.failed, key=lambda trial: trial.index)
        if not self.passed:
            guess = max(math.log(low.lpips / self.limit) / SLOPE, 2 * 2.0 ** len(self.failed))
            return min(low.index + round(guess), FINEST)
        return (low.index + min(trial.index for trial in self.passed)) // 2


def _smallest(trials: _Trials, quantiser: Quantiser, lpips_of: Callable[[bytes], float]) -> bytes:
    """The smallest file that passed, and trimmed as far as it still passes.

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
        smaller = quantiser.trimmed(best.place, best.index, middle)
        if lpips_of(smaller) <= trials.limit:
            data = smaller
        else:
            failed = middle
    return data


def _places(descent: Descent, count: int) -> list[Place]:
    """Where the first so many images stand."""
    found = descent.coordinates().detach()
    found = F.pad(found, (0, descent.space.coordinates.count - found.shape[1]))
    coordinates, classes = found.cpu().double().numpy(), descent.classes.tolist()
    return [Place(coordinates[row], classes[row]) for row in range(count)]


def _nearer(index: int, wanted: int, reach: int) -> int:
    """The step index nearest to the one that is wanted, at most `reach` from `index`."""
    return min(max(wanted, index - reach, 0), index + reach, FINEST)
