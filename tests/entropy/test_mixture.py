"""The Laplace mixture as an entropy model: what it stores, what it fits, and its density."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from invcomp.entropy.calibration import provisional_mixture
from invcomp.entropy.density import ACTIVE, LARGEST, PriorScales, bits_of, make_mixture, q_step_of
from invcomp.entropy.mixture import LaplaceMixture, PriorShape

SHAPE = PriorShape(0.3, 2.0)


def mixture() -> LaplaceMixture:
    scales, slopes = np.arange(20, -60, -4, dtype=np.int16), np.arange(20, dtype=np.int16)
    made = make_mixture(scales, SHAPE, 3, slopes)
    return replace(made, tables=replace(made.tables, segment_ends=(8, 20)))


@pytest.mark.parametrize("with_slopes", [True, False])
def test_stored_and_read_back(with_slopes: bool) -> None:
    stored = mixture()
    if not with_slopes:
        stored = replace(stored, tables=replace(stored.tables, slopes=None))
    arrays = stored.arrays()
    assert {name: array.dtype.name for name, array in arrays.items()} == {
        "tables.frequencies": "int32",
        "tables.scales": "int16",
        "tables.layout": "int32",
        **({"tables.slopes": "int16"} if with_slopes else {}),
    }
    again = LaplaceMixture.of(arrays, stored.settings(), 3)
    assert (again.shape, again.classes, again.count) == (SHAPE, 3, 20)
    assert again.tables.segment_ends == (8, 20)
    assert again.class_bits == stored.tables.class_bits > 0
    values = np.arange(-10, 10)
    assert again.encode(values, 70, 2) == stored.encode(values, 70, 2)
    assert (again.code_length(values, 70) == stored.tables.code_length(values, 70)).all()


def test_what_was_not_stored_by_a_mixture() -> None:
    with pytest.raises(KeyError):
        LaplaceMixture.of({}, mixture().settings(), 3)
    with pytest.raises(KeyError):
        LaplaceMixture.of(mixture().arrays(), {}, 3)


def test_the_density_costs_what_the_code_does() -> None:
    """For each image at its own step index, and for some leading coordinates alone."""
    entropy, density = mixture(), mixture().density()
    values = np.arange(20) % 5 - 2
    scaled = torch.from_numpy(np.stack([values, values])).float()
    bits = density.bits(scaled, [40, 90])
    for row, step_index in enumerate((40, 90)):
        ideal = entropy.code_length(values, step_index)
        cheap = ideal < 18
        # a table stands for ratios up to an eighth of an octave away
        np.testing.assert_allclose(bits[row].numpy()[cheap], ideal[cheap], atol=0.7)
        scales = PriorScales.of(entropy.tables).at(step_index)
        assert torch.equal(
            bits[row], bits_of(scaled[row], scales / torch.tensor(q_step_of(step_index)), SHAPE)
        )
    assert torch.equal(density.bits(scaled[:, :7], [40, 90]), bits[:, :7])


def test_coordinates_are_active_up_to_the_last_whose_scale_reaches() -> None:
    flat = replace(mixture(), tables=replace(mixture().tables, slopes=None))
    density = flat.density()
    for step_index in (0, 20, 50):
        reaching = 2.0 ** ((flat.tables.scales + step_index) / 16) > ACTIVE
        assert density.active(step_index) == np.flatnonzero(reaching).max() + 1
    tiny = make_mixture(np.full(5, -200, dtype=np.int16), SHAPE)
    assert tiny.density().active(0) == 1


def test_fitted_to_images_it_takes_fewer_bits() -> None:
    deviations = torch.logspace(0, -1, 60)
    provisional = provisional_mixture(deviations, classes=3)
    source = torch.Generator().manual_seed(0)
    coded = [
        (step, (4 * deviations * torch.randn(60, generator=source) / q_step_of(step)).round().int())
        for step in (30, 40) * 4
    ]
    fitted = provisional.fitted(coded, deviations)
    assert fitted.classes == provisional.classes == 3

    def bits(entropy: LaplaceMixture) -> float:
        return sum(entropy.code_length(found.numpy(), step).sum() for step, found in coded)

    assert bits(fitted) < 0.95 * bits(provisional)


def test_escapes_and_classes_come_back() -> None:
    entropy = mixture()
    values = np.zeros(20, dtype=np.int64)
    values[[0, 19]] = 3 * LARGEST, -5000
    decoded = entropy.decode(entropy.encode(values, 50, 2), 50)
    assert (decoded.integers.tolist(), decoded.class_index) == (values.tolist(), 2)
    with pytest.raises(ValueError, match="not one of"):
        entropy.encode(values, 50, 3)
