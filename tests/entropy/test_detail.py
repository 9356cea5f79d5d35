from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invcomp.entropy.detail import CONTEXTS, DetailModel, Integers, MapShape
from invcomp.entropy.detail_calibration import fit_detail, provisional_detail, sparse_tables
from invcomp.errors import BitstreamError, BundleError

from ..bitstream import reference

SHAPES = (MapShape(3, 4), MapShape(2, 8))


UNALIGNED = (MapShape(2, 4), MapShape(2, 6), MapShape(1, 7))  # as StyleGAN3's, with margins


def model(shapes: tuple[MapShape, ...] = SHAPES) -> DetailModel:
    import torch

    deviations = torch.tensor([0.5, 0.2, 0.1, 0.2, 0.05])
    return provisional_detail(shapes, deviations)


def sparse(seed: int, count: int, density: float = 0.1) -> Integers:
    random = np.random.default_rng(seed)
    values = random.geometric(0.4, count) * random.choice([-1, 1], count)
    return np.where(random.random(count) < density, values, 0).astype(np.int32)


def as_reference(coded: DetailModel) -> reference.Model:
    tables = coded.tables
    slopes = tables.slopes if tables.slopes is not None else np.zeros_like(tables.scales)
    return {
        "frequencies": tables.frequencies.tolist(),
        "first_ratio": tables.first_ratio,
        "ratio_stride": tables.ratio_stride,
        "scales": tables.scales.tolist(),
        "slopes": slopes.tolist(),
        "boosts": coded.boosts.tolist(),
        "maps": [(shape.channels, shape.size) for shape in coded.shapes],
    }


@settings(max_examples=25)
@given(
    st.integers(0, 10**6),
    st.floats(0, 0.6),
    st.integers(0, 255),
    st.sampled_from([SHAPES, UNALIGNED]),
)
def test_round_trip_and_the_reference_agrees(
    seed: int, density: float, step_index: int, shapes: tuple[MapShape, ...]
) -> None:
    coded = model(shapes)
    integers = sparse(seed, coded.count, density)
    payload = coded.encode(integers, step_index)
    assert (coded.decode(payload, step_index) == integers).all()
    maps = reference.decode_detail(payload, step_index, as_reference(coded))
    flat = np.concatenate([np.array(each).ravel() for each in maps])
    assert (flat == integers).all()


def test_large_integers_are_escaped() -> None:
    coded, integers = model(), sparse(0, model().count)
    integers[5], integers[60] = 1000, -77
    payload = coded.encode(integers, 90)
    assert (coded.decode(payload, 90) == integers).all()
    maps = reference.decode_detail(payload, 90, as_reference(coded))
    assert np.concatenate([np.array(each).ravel() for each in maps]).tolist() == integers.tolist()


def test_zeros_take_no_bytes() -> None:
    assert model().encode(np.zeros(model().count, dtype=int), 100) == b""
    assert not model().decode(b"", 100).any()


def test_the_payload_has_its_ideal_code_length() -> None:
    coded, integers = model(), sparse(1, model().count, 0.3)
    ideal = coded.code_length(integers, 100).sum() / 8
    choices = (5 * 2 + 3) / 8  # of the channels, and their number
    assert ideal <= len(coded.encode(integers, 100)) <= 1.03 * (ideal + choices) + 1


def test_any_beginning_decodes_to_leading_integers() -> None:
    coded, integers = model(), sparse(2, model().count, 0.3)
    payload = coded.encode(integers, 100)
    known = 0
    for length in range(len(payload) + 1):
        found = coded.decode(payload[:length], 100, whole=False)
        right = int((found == integers).sum())
        assert set(found[found != integers].tolist()) <= {0}
        assert right >= known
        known = right
    assert (found == integers).mean() > 0.9


def test_a_payload_that_is_not_the_shortest_is_refused() -> None:
    coded = model()
    payload = coded.encode(sparse(3, coded.count, 0.3), 100)
    with pytest.raises(BitstreamError, match="shortest"):
        coded.decode(payload + b"\0", 100)


@given(st.binary(max_size=40))
def test_any_bytes_are_refused_or_the_payload_of_what_they_decode_to(data: bytes) -> None:
    coded = model()
    try:
        found = coded.decode(data, 100)
    except BitstreamError:
        return
    assert coded.encode(found, 100) == data


def test_saved_bits_are_those_of_a_single_move() -> None:
    coded, integers = model(), sparse(4, model().count, 0.2)
    smaller = integers - np.sign(integers)
    saved = coded.saved(integers, smaller, 100)
    assert (saved[integers == 0] == 0).all()
    assert (saved[integers != 0] > 0).mean() > 0.95
    # the last nonzero integer of all is in nobody's context but its neighbours'
    last = int(np.flatnonzero(integers)[-1])
    one = integers.copy()
    one[last] = smaller[last]
    before, after = (coded.code_length(values, 100).sum() for values in (integers, one))
    assert saved[last] == pytest.approx(before - after, abs=6)


def test_a_fit_codes_its_images_in_fewer_bytes() -> None:
    start = model()
    coded = [(step, sparse(seed, start.count, 0.05)) for seed in range(6) for step in (90, 110)]
    fitted = fit_detail(coded, start)
    sizes = [
        sum(len(each.encode(integers, step)) for step, integers in coded)
        for each in (start, fitted)
    ]
    assert sizes[1] < 0.9 * sizes[0]
    again = DetailModel.of(fitted.arrays())
    assert again.encode(coded[0][1], 90) == fitted.encode(coded[0][1], 90)


def test_parts_that_do_not_fit_are_refused() -> None:
    coded = model()
    with pytest.raises(BundleError, match="boosts"):
        replace(coded, boosts=coded.boosts[:1])
    with pytest.raises(BundleError, match="channels"):
        replace(coded, shapes=(MapShape(3, 4),))
    with pytest.raises(BundleError, match="coarse to fine"):
        replace(coded, shapes=(MapShape(3, 8), MapShape(2, 4)))
    with pytest.raises(ValueError, match="do not fit"):
        coded.encode(np.zeros(3, dtype=int), 90)
    assert coded.boosts.shape == CONTEXTS


def test_tables_have_the_probabilities_that_their_ratios_say() -> None:
    from invcomp.entropy.detail_calibration import FIRST_SHAPE

    tables = sparse_tables(np.array([-32], dtype=np.int16), FIRST_SHAPE)
    row = tables.frequencies[tables.rows(0)[0]] / 2**24
    assert 1 - row[tables.largest] == pytest.approx(2**-2, abs=1e-4)
    assert row[: tables.largest] == pytest.approx(row[-2 : tables.largest : -1], abs=1e-6)
