from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invcomp.entropy.tables import PriorTables, frequencies_from_probabilities
from invcomp.errors import BundleError, OptionError

from ..bitstream import reference
from ..bitstream.strategies import as_model, integers, tables


def small() -> PriorTables:
    return PriorTables(
        frequencies=np.array([[1 << 22] * 4, [1, (1 << 24) - 3, 1, 1]], dtype=np.uint32),
        first_ratio=0,
        ratio_stride=4,
        scales=np.array([4, 0, -4], dtype=np.int16),
        segment_ends=(1, 3),
    )


@given(st.data())
def test_frequencies_sum_and_follow_the_probabilities(data: st.DataObject) -> None:
    columns = data.draw(st.integers(1, 60))
    weight = st.floats(0, 1e6)
    row = st.lists(weight, min_size=columns, max_size=columns).filter(lambda row: sum(row) > 1e-3)
    probabilities = np.array(data.draw(st.lists(row, min_size=1, max_size=3)))
    frequencies = frequencies_from_probabilities(probabilities)
    assert frequencies.dtype == np.uint32
    assert (frequencies.sum(1) == 1 << 24).all()
    wanted = probabilities / probabilities.sum(1, keepdims=True) * ((1 << 24) - columns) + 1
    assert np.abs(frequencies - wanted).max() < 1.001


def test_remainders_go_to_the_largest_then_to_the_left() -> None:
    rows = frequencies_from_probabilities(np.array([[1.0, 1, 1], [0, 0, 5]]))
    # 2^24 - 3 is 3 * 5592404 + 1: one is left over.
    assert rows.tolist() == [[5592406, 5592405, 5592405], [1, 1, (1 << 24) - 2]]


@pytest.mark.parametrize("row", [[-1.0, 2], [0, 0], [np.nan, 1], [np.inf, 1]])
def test_frequencies_refuse_what_is_no_distribution(row: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        frequencies_from_probabilities(np.array([row]))


@pytest.mark.parametrize(
    "change",
    [
        {"frequencies": np.array([[1 << 22] * 4])},
        {"frequencies": np.array([1 << 24], dtype=np.uint32)},
        {"frequencies": np.zeros((0, 4), dtype=np.uint32)},
        {"frequencies": np.array([[1 << 23, 1 << 22, 1 << 22]], dtype=np.uint32)},
        {"frequencies": np.array([[1 << 23, 1 << 23, 0, 0]], dtype=np.uint32)},
        {"frequencies": np.array([[1 << 22, 1 << 22, 1 << 22, 1]], dtype=np.uint32)},
        {"frequencies": np.array([[1 << 31, 1 << 31, 1 << 23, 1 << 23]], dtype=np.uint32)},
        {"ratio_stride": 0},
        {"classes": 0},
        {"classes": 65537},
        {"scales": np.array([4.0, 0, -4])},
        {"scales": np.zeros((3, 1), dtype=np.int16)},
        {"slopes": np.zeros(2, dtype=np.int16)},
        {"slopes": np.zeros(3)},
        {"segment_ends": (1, 2)},
        {"segment_ends": (0, 3)},
        {"segment_ends": (2, 2, 3)},
        {"scales": np.zeros(9, dtype=np.int16), "segment_ends": tuple(range(1, 10))},
    ],
)
def test_tables_that_do_not_fit_together(change: dict[str, object]) -> None:
    with pytest.raises(BundleError, match="prior tables: "):
        replace(small(), **change)


def test_segments() -> None:
    assert small().segments == (slice(0, 1), slice(1, 3))
    assert replace(small(), segment_ends=()).segments == (slice(0, 3),)
    assert small().largest == 1


def test_rows_take_the_nearest_and_stop_at_the_ends() -> None:
    # Ratios 4, 0, -4, then as many more; a row is 4 ratios wide, and there are two rows.
    assert [small().rows(step).tolist() for step in (0, 1, 2, 6, 255)] == [
        [1, 0, 0],
        [1, 0, 0],
        [1, 1, 0],
        [1, 1, 1],
        [1, 1, 1],
    ]


def test_scales_rise_by_their_slopes() -> None:
    sloped = replace(small(), slopes=np.array([256, 128, -3], dtype=np.int16))
    assert sloped.scales_at(0).tolist() == [4, 0, -4]
    assert sloped.scales_at(5).tolist() == [9, 2, -5]  # -15 / 256 rounds down
    assert small().scales_at(5).tolist() == [4, 0, -4]


@given(tables(), st.integers(0, 255))
def test_rows_agree_with_the_reference(prior: PriorTables, step_index: int) -> None:
    assert prior.rows(step_index).tolist() == reference.rows_of(as_model(prior), step_index)


@pytest.mark.parametrize("step_index", [-1, 256])
def test_step_index_out_of_range(step_index: int) -> None:
    with pytest.raises(OptionError, match=str(step_index)):
        small().rows(step_index)


def test_code_length_by_hand() -> None:
    lengths = small().code_length(np.array([-1, 0, 1]), 0)
    np.testing.assert_allclose(lengths, [24, 2, 2])
    # 2 is 1 past M: an escape, one bit of Elias gamma, the sign. 5 is 4 past it: 5 bits.
    np.testing.assert_allclose(small().code_length(np.array([2, 2, -5]), 0), [26, 4, 8])


@given(st.data())
def test_code_length_is_that_of_the_coded_symbols(data: st.DataObject) -> None:
    prior = data.draw(tables())
    values = data.draw(integers(len(prior.scales)))
    rows = prior.rows(40).tolist()
    symbols = reference.coded(values, rows, as_model(prior), prior.largest)
    bits = sum(24 - np.log2(dict(choices)[symbol]) for symbol, choices in symbols)
    assert prior.code_length(np.array(values), 40).sum() == pytest.approx(bits)
