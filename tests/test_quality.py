"""What a quality means, and the table of steps that keeps it."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from invcomp.quality import (
    DEFAULT_STEP_INDEX,
    FINEST,
    HALVING,
    LINEAR_STEPS,
    QUALITIES,
    checked_steps,
    fit_steps,
    linear_steps,
    lpips_of,
    quality_of_step_index,
    step_index_of_quality,
)

measurements = st.dictionaries(st.integers(0, FINEST), st.floats(0, 1), min_size=1, max_size=8)


def test_what_a_quality_means() -> None:
    found = [lpips_of(quality) for quality in (25, 50, 75)]
    assert found == pytest.approx([0.18, 0.09, 0.045])


def test_which_quality_a_step_comes_to() -> None:
    steps = (30, 55, 80, 110, 160)
    assert [quality_of_step_index(index, steps) for index in (20, 30, 82, 160, 176)] == [
        0, 0, 52, 100, 100,
    ]  # fmt: skip
    assert quality_of_step_index(DEFAULT_STEP_INDEX, LINEAR_STEPS) == 50


@settings(deadline=None)  # scipy is imported at the first call
@given(measurements)
@example({42: 0.2, 72: 0.2, 102: 0.2, 132: 0.2})
@example({42: 0.0, 132: 0.0})
@example({0: 1e-5, 1: 2e-5})
@example({0: 1.0, 176: 1.0 - 2**-53})  # nearly without a slope
def test_a_table_is_valid_whatever_was_measured(measured: dict[int, float]) -> None:
    steps = fit_steps(measured)
    assert checked_steps(steps) == steps
    assert steps[-1] <= FINEST


@settings(deadline=None)  # scipy is imported at the first call
@given(st.lists(st.integers(0, FINEST), min_size=5, max_size=5, unique=True).map(sorted))
def test_what_was_measured_at_the_steps_themselves_gives_them_back(steps: list[int]) -> None:
    measured = {step: lpips_of(quality) for step, quality in zip(steps, QUALITIES, strict=True)}
    assert list(fit_steps(measured)) == steps


def test_between_measurements_the_logarithm_is_linear() -> None:
    measured = {40: lpips_of(10), 120: lpips_of(90)}  # one index a quality
    assert fit_steps(measured) == (30, 55, 80, 105, 130)
    measured = {40: lpips_of(30), 60: lpips_of(50), 100: lpips_of(70)}  # one, then two
    assert fit_steps(measured) == (10, 35, 60, 110, 160)


def test_out_of_reach_qualities_are_as_near_as_steps_go_and_still_rise() -> None:
    falling = {index: 2 ** (-(index - 42) / HALVING) for index in (42, 72, 102, 132)}
    rough = {index: 64 * lpips for index, lpips in falling.items()}
    smooth = {index: lpips / 1000 for index, lpips in falling.items()}
    assert fit_steps(rough) == (172, 173, 174, 175, 176)
    assert fit_steps(smooth) == (0, 1, 2, 3, 4)


@settings(deadline=None)  # scipy is imported at the first call
@given(st.integers(0, 2**32 - 1))
def test_noise_moves_a_table_little(seed: int) -> None:
    """Means over few images do not fall strictly; 2% is some 0.7 qualities."""
    noise = np.random.default_rng(seed).uniform(0.98, 1.02, 4)
    indices = (42, 72, 102, 132)
    measured = {i: lpips_of(i - 32) * float(n) for i, n in zip(indices, noise, strict=True)}
    assert np.abs(np.subtract(fit_steps(measured), LINEAR_STEPS)).max() <= 4


def test_steps_at_which_noise_turns_the_order_are_taken_together() -> None:
    mean = np.sqrt(0.10 * 0.11)
    assert fit_steps({42: 0.2, 80: 0.10, 90: 0.11, 132: 0.05}) == fit_steps(
        {42: 0.2, 85: mean, 132: 0.05}
    )


def test_without_a_slope_it_is_that_of_the_linear_table() -> None:
    assert fit_steps({82: lpips_of(50)}) == LINEAR_STEPS
    assert fit_steps({72: 0.09, 92: 0.09}) == LINEAR_STEPS


@pytest.mark.parametrize("coarsest", [0, 32])
@pytest.mark.parametrize("finest", [132, 250])
def test_the_linear_table_is_the_linear_map(coarsest: int, finest: int) -> None:
    steps = linear_steps(coarsest, finest)
    for quality in np.arange(0, 100.5, 0.5):
        exact = coarsest + (finest - coarsest) * quality / 100
        assert abs(step_index_of_quality(quality, steps) - exact) <= 1
    assert linear_steps(32, 132) == LINEAR_STEPS
    assert [step_index_of_quality(q, LINEAR_STEPS) for q in (0, 1, 50, 99.4, 100)] == [
        32, 33, 82, 131, 132,
    ]  # fmt: skip
