"""What decides the q_step of each image during its search, and makes its file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from ..entropy.density import q_step_of
from ..errors import GoalError
from .descent import Descent, Schedule
from .progress import ProgressTracker
from .quantiser import Optimum, Quantiser

FAR, NEAR = 16, 5  # largest move in step indices: in the free phase, and after it
SETTLING_RATE = 0.1  # of the learning rate


class Control(ABC):
    """Decides the q_step of one image, during and after its descent, and makes its file.

    The search asks it. Each image of a batch has a control of its own.

    Attributes:
        moves: fractions of the descent, ascending, at which q_step may move.
        rounds: of settling after the descent, at most.
        share: largest cost of all rounds, as a fraction of the search's.
        refusal: the error of an image that needs no search because no file can meet its goal.
    """

    moves: tuple[float, ...] = ()
    rounds = 0
    share = 0.0
    refusal: GoalError | None = None

    def __init__(self, quantiser: Quantiser) -> None:
        self.quantiser = quantiser

    def moved(self, optimum: Optimum, step_index: int, reach: int) -> int:
        """The step index to continue the descent with, at most `reach` from the present one."""
        return step_index

    def settled(self, optimum: Optimum, step_index: int) -> int:
        """The step index of the next round of settling; the present one if none is needed."""
        return step_index

    @abstractmethod
    def file(self, optimum: Optimum, step_index: int) -> bytes | GoalError:
        """The file of the image, after the last round. An image without one gets an error."""


class FixedStep(Control):
    """Keeps the q_step that the search begins with."""

    def file(self, optimum: Optimum, step_index: int) -> bytes:
        """The file of the rounded coordinates."""
        # in float32, as the descent has rounded
        scaled = np.float32(optimum.coordinates) / np.float32(q_step_of(step_index))
        integers = self.quantiser.rounded(scaled)
        return self.quantiser.encode(integers, step_index, optimum.class_index)


def files_of(
    descents: Iterable[tuple[Descent, Schedule]],
    controls: Sequence[Control],
    work: ProgressTracker,
) -> list[bytes | GoalError]:
    """The files at the end of a search.

    Args:
        descents: one descent after each of its iterations; its q_steps are changed.
        controls: of the images. Rows after these are copies that pad the batch, and keep their
            q_step.
        work: told of the settling.
    """
    before = 0.0
    for descent, schedule in descents:
        now, reach = schedule.fraction, FAR if schedule.mode == "free" else NEAR
        due = [any(before < move <= now < 1 for move in control.moves) for control in controls]
        if any(due):
            indices = list(descent.step_indices)
            for row, control, optimum, index in _rows(descent, controls):
                if due[row]:
                    indices[row] = control.moved(optimum, index, reach)
            descent.aim(indices)
            schedule.loss_changes()
        before = now
    _settle(descent, controls, work)
    return [control.file(optimum, index) for _, control, optimum, index in _rows(descent, controls)]


def _settle(descent: Descent, controls: Sequence[Control], work: ProgressTracker) -> None:
    """Rounds of a few straight-through iterations, until no control asks for another q_step."""
    rounds = max(control.rounds for control in controls)
    for count in range(rounds + 1):
        indices = list(descent.step_indices)
        for row, control, optimum, index in _rows(descent, controls):
            indices[row] = control.settled(optimum, index)
        if indices == descent.step_indices or count == rounds or work.late():
            return
        descent.aim(indices)
        iterations = min(max(round(work.settling_cost(max(indices)) / rounds), 2), 10)
        for iteration in range(iterations):
            descent.iterate(SETTLING_RATE * descent.options.rate, "round")
            work.settled(descent, count * iterations + iteration + 1, rounds * iterations)


def _rows(
    descent: Descent, controls: Sequence[Control]
) -> Iterator[tuple[int, Control, Optimum, int]]:
    """Of each image: its row, its control, what the descent has found, and its step index."""
    found = descent.coordinates().detach()
    found = F.pad(found, (0, descent.space.count - found.shape[1]))
    if descent.coefficients is not None:
        found = torch.cat([found, descent.coefficients.values], 1)
    coordinates, classes = found.cpu().double().numpy(), descent.classes.tolist()
    for row, control in enumerate(controls):
        yield row, control, Optimum(coordinates[row], classes[row]), descent.step_indices[row]
