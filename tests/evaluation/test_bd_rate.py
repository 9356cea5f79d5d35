"""BD-rates: what is known of them, and where there is none."""

import warnings

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from invcomp.evaluation.bd_rate import bd_rate

from .points import curve

PAIRS = ((100, 0.4), (200, 0.25), (400, 0.15), (900, 0.1))


@pytest.mark.parametrize("factor", [0.1, 1.0, 3.0])
def test_a_curve_of_so_many_times_the_bytes(factor: float) -> None:
    ours = curve("invcomp", "dists", *((factor * rate, value) for rate, value in PAIRS))
    found = bd_rate(ours, curve("webp", "dists", *PAIRS), "dists")
    assert found.percent == pytest.approx(100 * (factor - 1))
    assert (found.codec, found.metric, found.reason) == ("webp", "dists", "")
    assert found.overlap == pytest.approx(1)


def test_more_is_better_for_psnr() -> None:
    pairs = [(rate, -value) for rate, value in PAIRS]
    ours = curve("invcomp", "psnr", *((rate / 4, value) for rate, value in pairs))
    assert bd_rate(ours, curve("jpeg", "psnr", *pairs), "psnr").percent == pytest.approx(-75)


def test_is_the_mean_of_the_log_rates_between_the_curves() -> None:
    """By its definition, summed over many steps; the points are those of the package's README."""
    anchor = ((1358.24, 34.851), (2486.44, 36.845), (4593.60, 38.615), (9487.76, 40.037))
    test = ((1356.24, 34.987), (2451.52, 36.970), (4469.00, 38.651), (9787.80, 40.121))
    common = np.linspace(34.987, 40.037, 100_001)
    logs = []
    for pairs in (test, anchor):
        rates, values = zip(*pairs, strict=True)
        logs.append(PchipInterpolator(values, np.log(rates))(common).mean())
    expected = 100 * (np.exp(logs[0] - logs[1]) - 1)
    found = bd_rate(curve("invcomp", "psnr", *test), curve("avif", "psnr", *anchor), "psnr")
    assert found.percent == pytest.approx(expected, abs=0.01)
    assert expected < -1


def test_the_overlap_is_of_our_range() -> None:
    ours = curve("invcomp", "dists", (10, 0.5), (20, 0.3))
    theirs = curve("webp", "dists", (100, 0.4), (200, 0.25), (400, 0.1))
    found = bd_rate(ours, theirs, "dists")
    assert found.overlap == pytest.approx(0.5)
    assert found.percent is not None
    assert found.percent < -80


def test_no_number_where_curves_do_not_overlap() -> None:
    theirs = curve("webp", "dists", (100, 0.2), (200, 0.1))
    for pairs in (((10, 0.5), (20, 0.3)), ((10, 0.3), (20, 0.2))):  # apart, and only touching
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = bd_rate(curve("invcomp", "dists", *pairs), theirs, "dists")
        assert (found.percent, found.overlap) == (None, 0)
        assert found.reason == "the curves do not overlap"


def test_no_number_of_one_point() -> None:
    one = curve("invcomp", "dists", (10, 0.5))
    found = bd_rate(one, curve("webp", "dists", *PAIRS), "dists")
    assert (found.percent, found.reason) == (None, "the curve of invcomp has only one point")
    found = bd_rate(curve("invcomp", "dists", *PAIRS), curve("jxl", "dists", (9, 0.2)), "dists")
    assert (found.percent, found.reason) == (None, "the curve of JPEG XL has only one point")
