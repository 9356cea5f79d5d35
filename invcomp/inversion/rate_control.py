"""Rate control: decides the q_step of each image, so that its file meets a goal.

There is one search, not one for each q_step. During the descent, the q_step of each image moves to
the value at which its file would meet the goal if the search ended there. After the descent, the
search settles: a few straight-through iterations adapt the coordinates to the last change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from ..errors import GoalError
from ..quality import FINEST
from .control import FAR, Control
from .quantiser import FILL, Optimum, Quantiser

OVER = 1.02  # fraction of the limit that the search aims at; the excess is trimmed
# fractions of the descent at which q_step moves
BYTE_MOVES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LPIPS_MOVES = (0.4, 0.6, 0.8)  # fewer, because each decodes an image
SLOPE = 0.015  # approximate decrease of log LPIPS for each step index
ROUNDS = 3  # of settling, at most
PROBES = 6  # largest number of step indices tried for an LPIPS goal after the search
TRIMS = 3  # attempts to trim the smallest file that meets an LPIPS goal
BYTE_SHARE, LPIPS_SHARE = 0.15, 0.35  # largest cost of settling, as a fraction of the search's


class ByteControl(Control):
    """Looks for a file within a limit that uses 93% of it if the image can.

    Args:
        quantiser: of the image.
        limit: in bytes, of the whole file.
    """

    moves, rounds, share = BYTE_MOVES, ROUNDS, BYTE_SHARE

    def __init__(self, quantiser: Quantiser, limit: int) -> None:
        super().__init__(quantiser)
        self.limit, least = limit, quantiser.least
        if limit < least:
            self.refusal = GoalError(
                f"{limit} bytes are too few: the smallest file of this image takes {least}"
            )

    def moved(self, optimum: Optimum, step_index: int, reach: int) -> int:
        """Towards the q_step at which the file is as large as the limit."""
        wanted = self.quantiser.index_for(optimum, OVER * self.limit)
        return _nearer(step_index, wanted, reach)

    def settled(self, optimum: Optimum, step_index: int) -> int:
        """The same, if the file is too small or much too large."""
        size = len(self.quantiser.file(optimum, step_index))
        if FILL * self.limit <= size <= (2 - FILL) * self.limit:
            return step_index
        return self.moved(optimum, step_index, FAR)

    def file(self, optimum: Optimum, step_index: int) -> bytes:
        """The file, trimmed to the limit."""
        return self.quantiser.filling(optimum, step_index, self.limit)


class LpipsMeter(Protocol):
    """Measures files: a decoder, and the network of LPIPS."""

    def lpips(self, original: Tensor, data: bytes) -> float:
        """LPIPS-Alex between an original [1, 3, R, R] in [-1, 1] and the image of a file."""


class LpipsControl(Control):
    """Looks for the smallest file whose LPIPS is at most the limit.

    Args:
        quantiser: of the image.
        limit: LPIPS-Alex.
        original: [1, 3, R, R] in [-1, 1], in the generator's frame.
        meter: measures each file that is tried.
    """

    moves, rounds, share = LPIPS_MOVES, PROBES - 1, LPIPS_SHARE

    def __init__(
        self, quantiser: Quantiser, limit: float, original: Tensor, meter: LpipsMeter
    ) -> None:
        super().__init__(quantiser)
        self.original, self.meter, self.trials = original, meter, _Bisection(limit)

    def moved(self, optimum: Optimum, step_index: int, reach: int) -> int:
        """Towards the q_step at which LPIPS would be the limit."""
        found = self._lpips_of(self.quantiser.file(optimum, step_index))
        wanted = step_index + round(math.log(max(found, 1e-6) / self.trials.limit) / SLOPE)
        return _nearer(step_index, wanted, reach)

    def settled(self, optimum: Optimum, step_index: int) -> int:
        """The next step index of the bisection."""
        if self.trials.over:
            return step_index
        data = self.quantiser.file(optimum, step_index)
        self.trials.add(_TriedFile(step_index, self._lpips_of(data), data, optimum))
        return step_index if self.trials.over else self.trials.next_index()

    def file(self, optimum: Optimum, step_index: int) -> bytes | GoalError:
        """The smallest file that passed, trimmed as long as it passes."""
        trials = self.trials
        if not trials.passed:
            best = min(trials.failed, key=lambda trial: trial.lpips)
            return GoalError(
                f"LPIPS {trials.limit:g} is out of reach: the best reached is {best.lpips:.4f}, "
                f"with {len(best.data)} bytes"
            )
        best = min(trials.passed, key=lambda trial: len(trial.data))
        data, failed = best.data, max(self.quantiser.least, round(0.9 * len(best.data))) - 1
        for _ in range(TRIMS):
            middle = (failed + len(data)) // 2
            if middle <= failed:
                break
            smaller = self.quantiser.trimmed(best.optimum, best.index, middle)
            if self._lpips_of(smaller) <= trials.limit:
                data = smaller
            else:
                failed = middle
        return data

    def _lpips_of(self, data: bytes) -> float:
        return self.meter.lpips(self.original, data)


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


def _nearer(index: int, wanted: int, reach: int) -> int:
    """The step index closest to `wanted` that is at most `reach` from `index`."""
    return min(max(wanted, index - reach, 0), index + reach, FINEST)
