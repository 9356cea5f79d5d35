import numpy as np
import pytest
from constriction import stream
from hypothesis import given
from hypothesis import strategies as st

from invcomp.entropy.coder import _weights, decode_payload, encode_payload
from invcomp.entropy.tables import PriorTables, frequencies_from_probabilities
from invcomp.errors import BitstreamError

from ..bitstream import reference
from ..bitstream.strategies import (
    LARGEST,
    as_model,
    integers,
    realistic_integers,
    realistic_tables,
    tables,
)


@given(st.data())
def test_round_trip_and_the_reference_agrees(data: st.DataObject) -> None:
    prior, step_index = data.draw(tables()), data.draw(st.integers(0, 255))
    values, rows = data.draw(integers(len(prior.scales))), prior.rows(step_index)
    coded = encode_payload(np.array(values), rows, prior)
    _, decoded = decode_payload(coded, rows, prior)
    assert decoded.dtype == np.int32
    assert decoded.tolist() == values
    assert reference.decode_payload(coded, rows.tolist(), as_model(prior)) == values
    assert reference.encode_payload(values, rows.tolist(), as_model(prior)) == coded


@given(st.data())
def test_round_trip_with_a_class_and_the_reference_agrees(data: st.DataObject) -> None:
    prior = data.draw(tables().filter(lambda prior: prior.classes > 1))
    values, rows = data.draw(integers(len(prior.scales))), prior.rows(60)
    class_index = data.draw(st.integers(0, prior.classes - 1))
    coded = encode_payload(np.array(values), rows, prior, class_index)
    decoded = decode_payload(coded, rows, prior, with_class=True)
    assert (decoded[0], decoded[1].tolist()) == (class_index, values)
    model = as_model(prior)
    assert reference.decode_class_and_payload(coded, rows.tolist(), model) == (class_index, values)
    assert reference.encode_payload(values, rows.tolist(), model, class_index) == coded


@given(tables().filter(lambda prior: prior.classes > 1), st.binary(max_size=40))
def test_any_bytes_decode_to_a_class_as_in_the_reference(prior: PriorTables, data: bytes) -> None:
    rows, model = prior.rows(0), as_model(prior)
    try:
        wanted = reference.decode_class_and_payload(data, rows.tolist(), model)
    except reference.Refused:
        with pytest.raises(BitstreamError, match=r"means nothing|past 32 bits"):
            decode_payload(data, rows, prior, with_class=True)
        return
    if reference.encode_payload(wanted[1], rows.tolist(), model, wanted[0]) == data:
        class_index, values = decode_payload(data, rows, prior, with_class=True)
        assert (class_index, values.tolist()) == wanted
    else:
        with pytest.raises(BitstreamError, match="shortest form"):
            decode_payload(data, rows, prior, with_class=True)


def test_agrees_with_the_reference_on_random_data() -> None:
    random = np.random.default_rng(0)
    prior = PriorTables(
        frequencies=frequencies_from_probabilities(random.dirichlet(np.full(8, 0.3), 50)),
        first_ratio=0,
        ratio_stride=1,
        scales=np.arange(50, dtype=np.int16),
    )
    model = as_model(prior)
    for _ in range(500):
        rows = random.integers(0, 50, random.integers(1, 15))
        values = random.integers(-4, 5, len(rows))
        coded = encode_payload(values, rows, prior)
        assert coded == reference.encode_payload(values.tolist(), rows.tolist(), model)
        assert decode_payload(coded, rows, prior)[1].tolist() == values.tolist()
        assert reference.decode_payload(coded, rows.tolist(), model) == values.tolist()


@given(tables(), st.binary(max_size=60))
def test_any_bytes_decode_as_in_the_reference_or_not_at_all(
    prior: PriorTables, data: bytes
) -> None:
    rows, model = prior.rows(0), as_model(prior)
    try:
        wanted = reference.decode_payload(data, rows.tolist(), model)
    except reference.Refused:
        with pytest.raises(BitstreamError, match=r"means nothing|past 32 bits"):
            decode_payload(data, rows, prior)
        return
    if reference.encode_payload(wanted, rows.tolist(), model) == data:
        assert decode_payload(data, rows, prior)[1].tolist() == wanted
    else:
        with pytest.raises(BitstreamError, match="shortest form"):
            decode_payload(data, rows, prior)


@given(tables(), st.integers(0, 255))
def test_zeros_take_no_bytes(prior: PriorTables, step_index: int) -> None:
    rows = prior.rows(step_index)
    assert encode_payload(np.zeros(len(rows), dtype=np.int32), rows, prior) == b""
    assert not decode_payload(b"", rows, prior)[1].any()


@given(st.data())
def test_no_shorter_or_smaller_bytes_decode_to_the_same(data: st.DataObject) -> None:
    prior, step_index = data.draw(tables()), data.draw(st.integers(0, 255))
    values, rows = data.draw(integers(len(prior.scales))), prior.rows(step_index)
    coded = encode_payload(np.array(values), rows, prior)
    number, length = int.from_bytes(coded, "big"), len(coded)
    # Numbers that decode to the same lie side by side: the nearest of either kind will do.
    others = [(number - 1, length), (number >> 8, length - 1), ((number >> 8) + 1, length - 1)]
    for other, size in others:
        if size < 0 or not 0 <= other < 256**size:
            continue
        try:
            near = other.to_bytes(size, "big")
            assert reference.decode_payload(near, rows.tolist(), as_model(prior)) != values
        except reference.Refused:
            continue


def test_trailing_zeros_and_garbage_are_refused() -> None:
    prior = realistic_tables()
    rows = prior.rows(60)
    coded = encode_payload(realistic_integers(prior, 60, np.random.default_rng(0)), rows, prior)
    for tail in (b"\0", b"\1", bytes(100)):
        with pytest.raises(BitstreamError, match="shortest form"):
            decode_payload(coded + tail, rows, prior)


@given(tables())
def test_constriction_codes_with_exactly_our_frequencies(prior: PriorTables) -> None:
    """Its interval after one symbol is its cumulative and frequency, times its scale."""
    rows = np.arange(len(prior.frequencies))
    family = stream.model.Categorical(perfect=False)
    for row, weights in zip(rows.tolist(), _weights(rows, prior), strict=True):
        cumulative = 0
        for index, (_, frequency) in enumerate(reference.alphabet(as_model(prior), row)):
            encoder = stream.queue.RangeEncoder()
            encoder.encode(np.array([index], dtype=np.int32), family, weights[None])
            words, state = encoder.pos()
            scale = (2**64 - 1 >> 24) << 32 * words
            assert state == (scale * cumulative % 2**64, scale * frequency)
            cumulative += frequency


@pytest.mark.parametrize("step_index", [0, 40, 80, 120, 255])
def test_within_a_byte_of_the_ideal(step_index: int) -> None:
    prior, random = realistic_tables(), np.random.default_rng(step_index)
    rows, excess = prior.rows(step_index), []
    for _ in range(20):
        values = realistic_integers(prior, step_index, random)
        ideal = prior.code_length(values, step_index) / 8
        for part in (slice(0, 32), slice(32, 160), slice(160, 700)):
            coded = encode_payload(values[part], rows[part], prior)
            excess.append(len(coded) - ideal[part].sum())
            assert len(coded) <= 1.001 * ideal[part].sum() + 1
    assert np.mean(excess) < 0.5


@pytest.mark.parametrize("value", [LARGEST + 1, -LARGEST - 1, 2**62, -(2**63)])
def test_integers_past_32_bits_are_not_coded(value: int) -> None:
    prior = realistic_tables()
    with pytest.raises(ValueError, match="2\\^31"):
        encode_payload(np.array([value]), prior.rows(0)[:1], prior)


def test_integers_and_rows_of_different_lengths() -> None:
    prior = realistic_tables()
    with pytest.raises(ValueError, match="do not fit"):
        encode_payload(np.zeros(3, dtype=np.int32), prior.rows(0)[:2], prior)
