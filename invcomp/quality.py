"""What a quality is, in every bundle: a mean LPIPS. And which steps reach it in one bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .entropy.tables import STEP_INDICES

QUALITIES = (0, 25, 50, 75, 100)  # that a bundle's table holds the step indices of
LINEAR_STEPS = (32, 57, 82, 107, 132)  # the table of a bundle that nothing was measured with
HALVING = 25  # qualities in which LPIPS halves; by the linear table step indices as well
FINEST = 176  # step index: at 2^-11 the rounding of all coordinates adds about 1e-5 to LPIPS
DEFAULT_STEP = 82  # index: what a bundle's default quality comes to
LEAST_LPIPS = 1e-6  # a generator's own image may come back exactly, and zero has no logarithm


def lpips_of(quality: float) -> float:
    """The mean LPIPS-Alex over images of the domain that a quality 0..100 stands for."""
    return float(0.09 * 2 ** (-(quality - 50) / HALVING))


def step_of_quality(quality: float, steps: Sequence[int]) -> int:
    """The step index of a quality 0..100 by a table: linear between its entries."""
    return round(float(np.interp(quality, QUALITIES, steps)))


def quality_of_step(index: int, steps: Sequence[int]) -> int:
    """The quality 0..100 whose step by a table is nearest to this one."""
    return round(float(np.interp(index, steps, QUALITIES)))


def checked_steps(values: Sequence[Any]) -> tuple[int, ...]:
    """A table as it was read from a file.

    Raises:
        ValueError: it is not as many step indices as there are QUALITIES, each finer than the one
            before.
    """
    steps = tuple(values)
    whole = all(type(step) is int and 0 <= step < STEP_INDICES for step in steps)
    if not whole or len(steps) != len(QUALITIES) or list(steps) != sorted(set(steps)):
        raise ValueError(
            f"quality_steps are not {len(QUALITIES)} rising integers in 0..{STEP_INDICES - 1}"
        )
    return steps


def linear_steps(coarsest: int, finest: int) -> tuple[int, ...]:
    """The table of a map that is linear between the step indices of quality 0 and 100."""
    return tuple(round(coarsest + (finest - coarsest) * quality / 100) for quality in QUALITIES)


def fit_steps(measured: Mapping[int, float]) -> tuple[int, ...]:
    """The table by which a quality means `lpips_of` it, 0..FINEST and rising.

    LPIPS falls as steps get finer; where the measured does not, by noise, the steps concerned
    are taken together, at their mean. Between steps, and beyond the outermost with the last slope,
    the logarithm of LPIPS is linear in the index. If no slope is left, it is the linear table's.

    Args:
        measured: mean LPIPS by step index, one at least.
    """
    from scipy.interpolate import make_interp_spline  # slow to import, and seldom needed
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
    places = np.arange(len(QUALITIES))  # a higher quality is one step finer at least
    rising = np.maximum.accumulate(np.clip(found - places, 0, FINEST - places[-1]))
    return tuple(int(step) for step in rising + places)
