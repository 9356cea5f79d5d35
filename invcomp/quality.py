"""Quality: a mean LPIPS, the same in every bundle, and the step index that gives it in a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .entropy.model import STEP_INDICES

QUALITIES = (0, 25, 50, 75, 100)  # whose step indices a bundle's table has
LINEAR_STEPS = (32, 57, 82, 107, 132)  # the table of a bundle without measurements
HALVING = 25  # increase of quality that halves LPIPS; in the linear table, of step index too
FINEST = 176  # step index: with q_step 2^-11, rounding adds about 1e-5 to LPIPS
DEFAULT_STEP_INDEX = 82  # that the default quality of a bundle is chosen for
LEAST_LPIPS = 1e-6  # LPIPS may be 0 for an image of the generator; 0 has no logarithm


def lpips_of(quality: float) -> float:
    """The mean LPIPS-Alex over images of the domain that a quality 0..100 means."""
    return float(0.09 * 2 ** (-(quality - 50) / HALVING))


def step_index_of_quality(quality: float, steps: Sequence[int]) -> int:
    """The step index of a quality 0..100 by a table, linear between its entries."""
    return round(float(np.interp(quality, QUALITIES, steps)))


def quality_of_step_index(index: int, steps: Sequence[int]) -> int:
    """The quality 0..100 of a step index by a table."""
    return round(float(np.interp(index, steps, QUALITIES)))


def checked_steps(values: Sequence[Any]) -> tuple[int, ...]:
    """A table that was read from a file.

    Raises:
        ValueError: it does not have one step index for each of QUALITIES, rising.
    """
    steps = tuple(values)
    whole = all(type(step) is int and 0 <= step < STEP_INDICES for step in steps)
    if not whole or len(steps) != len(QUALITIES) or list(steps) != sorted(set(steps)):
        raise ValueError(
            f"quality_steps are not {len(QUALITIES)} rising integers in 0..{STEP_INDICES - 1}"
        )
    return steps


def linear_steps(coarsest: int, finest: int) -> tuple[int, ...]:
    """The table that is linear between the step indices of quality 0 and 100."""
    return tuple(round(coarsest + (finest - coarsest) * quality / 100) for quality in QUALITIES)


def fit_steps(measured: Mapping[int, float]) -> tuple[int, ...]:
    """The table that gives each quality the LPIPS `lpips_of` it, with indices in 0..FINEST, rising.

    LPIPS falls with the step index. Where noise makes measurements rise, isotonic regression
    replaces them by their mean. The logarithm of LPIPS is linear between measured step indices, and
    continues with the last slope outside. If no slope is left, the linear table's is used.

    Args:
        measured: mean LPIPS by step index, at least one.
    """
    from scipy.interpolate import make_interp_spline  # slow to import, rarely needed
    from scipy.optimize import isotonic_regression

    indices = sorted(measured)
    logarithms = np.log([max(measured[index], LEAST_LPIPS) for index in indices])
    fitted = isotonic_regression(logarithms, increasing=False).x
    levels, group = np.unique(-fitted, return_inverse=True)
    centres = np.bincount(group, indices) / np.bincount(group)
    if len(levels) == 1:
        levels = np.append(levels, levels[0] + np.log(2))
        centres = np.append(centres, centres[0] + HALVING)
    wanted = [-np.log(lpips_of(quality)) for quality in QUALITIES]
    found = np.rint(make_interp_spline(levels, centres, k=1)(wanted))
    offsets = np.arange(len(QUALITIES))  # step indices differ by at least 1
    rising = np.maximum.accumulate(np.clip(found - offsets, 0, FINEST - offsets[-1]))
    return tuple(int(step) for step in rising + offsets)
