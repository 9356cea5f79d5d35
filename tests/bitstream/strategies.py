"""Hypothesis strategies and realistic data for the bitstream's tests."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from invcomp.entropy.tables import PriorTables, frequencies_from_probabilities

LARGEST = 2**31 - 1


@st.composite
def tables(draw: st.DrawFn) -> PriorTables:
    """Any tables: flat or extreme rows, from the escape alone beside 0 to a handful of columns."""
    largest = draw(st.integers(0, 4))
    weight = st.sampled_from([0.0, 1e-9, 1e-3, 1.0, 3.0, 1e4, 1e9])
    row = st.lists(weight, min_size=2 * largest + 2, max_size=2 * largest + 2).filter(any)
    weights = draw(st.lists(row, min_size=1, max_size=4))
    count = draw(st.integers(1, 60))
    any_int16 = st.lists(st.integers(-(2**15), 2**15 - 1), min_size=count, max_size=count)
    scales, slopes = draw(any_int16), draw(st.none() | any_int16)
    return PriorTables(
        frequencies=frequencies_from_probabilities(np.array(weights)),
        first_ratio=draw(st.integers(-100, 100)),
        ratio_stride=draw(st.integers(1, 20)),
        scales=np.array(scales, dtype=np.int16),
        classes=draw(st.sampled_from([1, 2, 3, 10, 1000, 65536])),
        slopes=None if slopes is None else np.array(slopes, dtype=np.int16),
    )


def integers(count: int) -> st.SearchStrategy[list[int]]:
    """Zeros, small integers and such as only the escape can say."""
    value = st.one_of(st.just(0), st.integers(-6, 6), st.integers(-LARGEST, LARGEST))
    return st.lists(value, min_size=count, max_size=count)


def as_model(tables: PriorTables) -> dict[str, Any]:
    """The tables as the reference decoder takes them."""
    return {
        "frequencies": tables.frequencies.tolist(),
        "first_ratio": tables.first_ratio,
        "ratio_stride": tables.ratio_stride,
        "scales": tables.scales.tolist(),
        "classes": tables.classes,
        "slopes": None if tables.slopes is None else tables.slopes.tolist(),
    }


def realistic_tables() -> PriorTables:
    """Laplace tables a quarter octave apart, and 700 scales that fall with the rank."""
    edges = np.arange(-40, 42) - 0.5
    scales = 2.0 ** (np.arange(-64, 96, 4)[:, None] / 16) / np.sqrt(2)
    tail = 0.5 * np.exp(-np.abs(edges) / scales)
    cumulative = np.where(edges < 0, tail, 1 - tail)
    inside = np.diff(cumulative, axis=1)
    outside = np.maximum(1 - inside.sum(1, keepdims=True), 1e-7)
    return PriorTables(
        frequencies=frequencies_from_probabilities(np.concatenate([inside, outside], axis=1)),
        first_ratio=-64,
        ratio_stride=4,
        scales=np.round(16 * np.log2(2 * np.arange(1, 701) ** -0.8)).astype(np.int16),
    )


def realistic_integers(
    tables: PriorTables, step_index: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """A draw from the prior, quantised."""
    scales = 2.0 ** ((tables.scales + step_index) / 16) / np.sqrt(2)
    return np.round(random.laplace(0, scales)).astype(np.int64)
