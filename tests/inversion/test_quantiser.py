"""Files of at most so many bytes: what is left off, and that it is what matters least."""

import numpy as np
import pytest

from invcomp.bitstream import IvcFile, decode
from invcomp.entropy.density import q_step_of
from invcomp.generators.base import normal
from invcomp.inversion.quantiser import FILL, Optimum, Quantiser
from invcomp.quality import FINEST

from ..tiny import CLASSES, tiny_bundle, tiny_conditional_bundle


@pytest.fixture(scope="module")
def quantiser() -> Quantiser:
    return Quantiser(tiny_bundle().entropy, b"abcd")


@pytest.fixture(scope="module")
def optimum() -> Optimum:
    bundle = tiny_bundle()
    return Optimum((normal(1, 64, seed=3) * bundle.coordinates.deviations)[0].double().numpy(), 0)


def distance(quantiser: Quantiser, data: bytes, optimum: Optimum) -> float:
    """Of the coordinates that a file holds from those that were to be coded."""
    file = IvcFile.unpack(data)
    found = decode(file, quantiser.entropy).integers * q_step_of(file.step_index)
    return float(np.square(found - optimum.coordinates).sum())


def test_trimming_fits_and_takes_what_matters_least(quantiser: Quantiser, optimum: Optimum) -> None:
    plain = quantiser.file(optimum, 80)
    assert quantiser.trimmed(optimum, 80, len(plain)) == plain
    for limit in range(len(plain) - 1, 11, -1):
        assert len(quantiser.trimmed(optimum, 80, limit)) <= limit
    slightly = quantiser.trimmed(optimum, 80, len(plain) - 1)
    nothing = distance(quantiser, quantiser.trimmed(optimum, 80, 12), optimum)
    assert distance(quantiser, slightly, optimum) < 0.1 * nothing


def test_the_finest_step_within_a_size(quantiser: Quantiser, optimum: Optimum) -> None:
    for size in (20, 40, 60):
        index = quantiser.index_for(optimum, size)
        assert len(quantiser.file(optimum, index)) <= size < len(quantiser.file(optimum, index + 1))
    assert quantiser.index_for(optimum, 12) >= 0
    assert quantiser.index_for(optimum, 100_000) == FINEST


@pytest.mark.parametrize("limit", [12, 13, 17, 23, 30, 41, 64, 90])
def test_files_fill_their_limit(quantiser: Quantiser, optimum: Optimum, limit: int) -> None:
    for start in (0, 40, 80, 120):
        data = quantiser.filling(optimum, start, limit)
        assert FILL * limit <= len(data) <= limit
        if limit > 13 and start > 0:  # else the q_step itself is so coarse
            rounded = quantiser.file(optimum, quantiser.index_for(optimum, limit))
            assert distance(quantiser, data, optimum) <= 1.5 * distance(quantiser, rounded, optimum)


def test_a_limit_past_all_use_stays_unfilled(quantiser: Quantiser, optimum: Optimum) -> None:
    data = quantiser.filling(optimum, 80, 10_000)
    assert IvcFile.unpack(data).step_index == FINEST
    assert data == quantiser.file(optimum, FINEST)


def test_the_least_holds_any_class() -> None:
    bundle = tiny_conditional_bundle()
    quantiser = Quantiser(bundle.entropy, b"abcd", (50, 50))
    optimum = normal(1, 24, seed=3)[0].double().numpy()
    sizes = []
    for class_index in range(CLASSES):
        data = quantiser.trimmed(Optimum(optimum, class_index), 90, quantiser.least)
        assert decode(IvcFile.unpack(data), bundle.entropy).class_index == class_index
        sizes.append(len(data))
    assert max(sizes) <= quantiser.least <= max(sizes) + 1
    assert Quantiser(tiny_bundle().entropy, b"abcd").least == 10
    assert Quantiser(tiny_bundle().entropy, b"abcd", (50, 50)).least == 17
