"""The limits of a bundle's domain: what a decoded image of it reaches, and a word beyond."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .entropy.model import STEP_INDICES

SHARE = 0.98  # of the domain's images, that the limits are meant for
LEAST_IMAGES = 5  # fewer say too little about their spread
SPAN = 12  # step indices that are so close count as one
MEANINGS = {"LPIPS": "the original", "identity distance": "the same person"}


@dataclass(frozen=True)
class Reached:
    """What the decoded image of one file reaches.

    Attributes:
        image: a name of the original.
        step_index: of the file's q_step.
        lpips: LPIPS-Alex, as in `Encoded`.
        identity: distance of identity, as in `Encoded`.
    """

    image: str
    step_index: int
    lpips: float
    identity: float | None = None


@dataclass(frozen=True)
class DomainLimits:
    """The largest LPIPS and distance of identity that images of the domain reach.

    Limits are linear between step indices and constant beyond the first and the last.

    Attributes:
        step_indices: rising, at least one.
        lpips: the limit of LPIPS-Alex at each.
        identity: the limit of the distance of identity at each; None: the domain is not faces.
    """

    step_indices: tuple[int, ...]
    lpips: tuple[float, ...]
    identity: tuple[float, ...] | None = None

    def doubt(self, step_index: int, lpips: float, identity: float | None) -> str | None:
        """One line that says which limit a decoded image exceeds; None: it exceeds none.

        Args:
            step_index: of the file.
            lpips: LPIPS-Alex, as in `Encoded`.
            identity: distance of identity, as in `Encoded`; None is not compared.
        """
        known = zip(MEANINGS, (lpips, identity), (self.lpips, self.identity), strict=True)
        for name, value, limits in known:
            if value is None or limits is None:
                continue
            limit = float(np.interp(step_index, self.step_indices, limits))
            if not value <= limit:  # nor if it is no number
                return (
                    f"{name} {value:.3f} is above {limit:.3f}, the limit for images of this "
                    f"model's domain: it may not show {MEANINGS[name]}"
                )
        return None

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> DomainLimits:
        """The inverse of `dataclasses.asdict` through JSON.

        Raises:
            ValueError, TypeError, KeyError: the values are not limits.
        """
        steps = tuple(values["step_indices"])
        whole = all(type(step) is int and 0 <= step < STEP_INDICES for step in steps)
        if not steps or not whole or list(steps) != sorted(set(steps)):
            raise ValueError(f"step indices are not rising integers in 0..{STEP_INDICES - 1}")
        lpips, identity = _checked(values["lpips"], steps), values["identity"]
        return cls(steps, lpips, None if identity is None else _checked(identity, steps))


def _checked(values: Sequence[Any], steps: Sequence[int]) -> tuple[float, ...]:
    limits = tuple(float(value) for value in values)
    if len(limits) != len(steps) or not all(0 < limit < math.inf for limit in limits):
        raise ValueError(f"limits are not {len(steps)} finite numbers above 0")
    return limits


def fit_limits(reached: Sequence[Reached], head_room: float = 1.0) -> DomainLimits | None:
    """Limits that a further image of the domain keeps with a probability of 98%.

    Step indices within a span of 12 count as one, their mean. Of each image, the worst file there
    counts. A limit is `prediction_limit`, and at least the largest value that was reached.

    Args:
        reached: by images that the limits are taken from.
        head_room: factor on the limits.

    Returns:
        None if no step index has enough images.
    """
    groups: list[list[Reached]] = []
    for one in sorted(reached, key=lambda one: one.step_index):
        if not groups or one.step_index > groups[-1][0].step_index + SPAN:
            groups.append([])
        groups[-1].append(one)
    found = []
    for group in groups:
        by_image = defaultdict(list)
        for one in group:
            by_image[one.image].append(one)
        if len(by_image) < LEAST_IMAGES:
            continue
        lpips = [max(one.lpips for one in files) for files in by_image.values()]
        identity = [max(one.identity or 0.0 for one in files) for files in by_image.values()]
        step = round(float(np.mean([one.step_index for one in group])))
        found.append((step, *(_rounded(head_room, values) for values in (lpips, identity))))
    if not found:
        return None
    steps, of_lpips, of_identity = zip(*found, strict=True)
    faces = all(one.identity is not None for one in reached)
    return DomainLimits(steps, of_lpips, of_identity if faces else None)


def prediction_limit(values: Sequence[float], share: float = SHARE) -> float:
    """What a further value stays below with a probability, if logarithms are distributed normally.

    exp(mean + t * deviation * sqrt(1 + 1/n)) with Student's t of n - 1 degrees of freedom: few
    values say little about the distribution, so the limit is further away than its quantile.

    Args:
        values: at least two, above 0.
        share: the probability.
    """
    from scipy.stats import t  # slow to import, rarely needed

    logarithms = np.log(np.maximum(values, 1e-6))
    count = len(logarithms)
    reach = float(t.ppf(share, count - 1)) * math.sqrt(1 + 1 / count)
    return float(np.exp(logarithms.mean() + reach * logarithms.std(ddof=1)))


def _rounded(head_room: float, values: Sequence[float]) -> float:
    """A limit, rounded up to a thousandth."""
    return math.ceil(1000 * head_room * max(prediction_limit(values), *values)) / 1000
