"""The prior's density, the tables made of it, and its fit to coded images."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from invcomp.entropy.calibration import fit_mixture, provisional_scales
from invcomp.entropy.density import (
    LARGEST,
    PriorScales,
    bits_of,
    make_mixture,
    probability,
    q_step_of,
    step_index_of,
)
from invcomp.entropy.mixture import PriorShape


@pytest.mark.parametrize("scale", [0.05, 0.5, 3.0, 20.0])
def test_probabilities_sum_to_one(scale: float) -> None:
    x = torch.arange(-2000, 2001, dtype=torch.float64)
    total = probability(x, torch.tensor(scale, dtype=torch.float64), PriorShape()).sum()
    assert float(total) == pytest.approx(1, abs=1e-9)


def test_bits_have_a_finite_gradient_everywhere() -> None:
    x = torch.tensor([0.0, 0.5, -0.5, 1.0, 40.0, -4000.0], requires_grad=True)
    bits = bits_of(x, torch.full((6,), 0.02), PriorShape())
    bits.sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(bits).all()


def test_tables_cost_what_the_density_says() -> None:
    scales = np.array([-96, -40, 0, 33], dtype=np.int16)
    shape = PriorShape(0.1, 3.0)
    tables = make_mixture(scales, shape).tables
    step_index = 40
    for value in (0, 1, -3, LARGEST):
        integers = np.full(4, value, dtype=np.int32)
        ratio = torch.from_numpy(tables.rows(step_index) * tables.ratio_stride + tables.first_ratio)
        expected = bits_of(torch.tensor(float(value)), torch.pow(2.0, ratio.double() / 16), shape)
        paid = tables.code_length(integers, step_index)
        cheap = expected.numpy() < 18  # near 24 bits a frequency of 2^24 has no finer value
        np.testing.assert_allclose(paid[cheap], expected.numpy()[cheap], atol=0.05)


@given(st.integers(0, 255))
def test_step_index_and_step_invert_each_other(index: int) -> None:
    assert step_index_of(q_step_of(index)) == index


def test_fit_finds_the_scales_that_data_were_drawn_with() -> None:
    """Data of 2.5 times the provisional scale: the fit codes them in nearly the ideal length."""
    source = torch.Generator().manual_seed(0)
    deviations = torch.logspace(0, -2, 300)
    start = provisional_scales(deviations)
    true_scale = 2.5 * torch.pow(2.0, start.float() / 16)
    step = q_step_of(64)
    uniform = torch.rand(30, 300, generator=source) - 0.5
    values = -true_scale * uniform.sign() * torch.log1p(-2 * uniform.abs())  # Laplace
    coded = [(64, (row / step).round().int()) for row in values]
    mixture = fit_mixture(coded, start)
    scales, shape = torch.from_numpy(mixture.tables.scales), mixture.shape
    assert mixture.tables.slopes is None  # of one step none can be told

    def bits(shape: PriorShape, scale: torch.Tensor) -> float:
        return float(sum(bits_of(row.float(), scale / step, shape).sum() for _, row in coded))

    fitted = bits(shape, torch.pow(2.0, scales.float() / 16))
    assert fitted < 1.01 * bits(PriorShape(0.0, 1.0), true_scale)
    assert fitted < 0.95 * bits(PriorShape(), torch.pow(2.0, start.float() / 16))


def test_fit_finds_how_scales_rise_with_finer_steps() -> None:
    """Data whose scales grow by half an index a step index, as the fitted ones then do."""
    source = torch.Generator().manual_seed(1)
    start = provisional_scales(torch.logspace(0, -1, 200))
    coded = []
    for step_index in (60, 80, 110) * 6:
        scale = torch.pow(2.0, (start.float() + 0.5 * (step_index - 80)) / 16)
        uniform = torch.rand(200, generator=source) - 0.5
        values = -scale * uniform.sign() * torch.log1p(-2 * uniform.abs())
        coded.append((step_index, (values / q_step_of(step_index)).round().int()))
    tables = fit_mixture(coded, start).tables
    assert tables.slopes is not None
    assert np.median(tables.slopes) == pytest.approx(128, abs=33)
    assert np.abs(tables.scales_at(80) - start.numpy()).mean() < 4
    scales = PriorScales.of(tables)
    for step_index in (60, 110):
        wanted = torch.pow(2.0, torch.from_numpy(tables.scales_at(step_index)).float() / 16)
        assert torch.equal(scales.at(step_index), wanted)
