import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from invcomp.errors import BundleError
from invcomp.importers.numpy_pickle import read_arrays

numbers = arrays.arrays(
    st.one_of(
        arrays.floating_dtypes(sizes=(16, 32, 64), endianness="?"),
        arrays.integer_dtypes(endianness="?"),
        arrays.unsigned_integer_dtypes(endianness="?"),
        arrays.boolean_dtypes(),
    ),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@given(numbers, st.sampled_from([3, 4]), st.booleans())
def test_reads_what_pickle_wrote(array: NDArray[Any], protocol: int, is_fortran: bool) -> None:
    array = np.asfortranarray(array) if is_fortran and array.ndim else array
    data = pickle.dumps({"net": {"layer": {"kernel": array}, "bias": array}}, protocol)
    read = read_arrays(data)
    assert list(read) == ["net/layer/kernel", "net/bias"]
    for value in read.values():
        assert value.dtype == array.dtype
        np.testing.assert_array_equal(value, array)


class Runs:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_runs_no_command(tmp_path: Path) -> None:
    marker = tmp_path / "it-ran"
    data = pickle.dumps({"kernel": Runs(os.system, f"touch {marker}")})
    with pytest.raises(BundleError, match=r"system, which is not allowed"):
        read_arrays(data)
    assert not marker.exists()


@pytest.mark.parametrize(
    "value",
    [
        Runs(eval, "1"),
        Runs(getattr, np.ndarray, "tofile"),
        Runs(np.load, "x.npy"),
        Runs(np.ndarray, (1,), "O"),
        Runs(np.dtype, "O"),
        Runs(np.ndarray, (10**15,)),
        Path("x"),
        np.float32(1),
        np.array([{}], dtype=object),
        np.array(["text"]),
        np.zeros(2, dtype=[("a", "f4")]),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        np.ma.masked_array([1.0], [True]),
        [np.zeros(2)],
        (np.zeros(2),),
        {1: np.zeros(2)},
        "text",
        1.0,
        None,
    ],
    ids=lambda value: type(value).__name__,
)
def test_allows_nothing_but_plain_arrays(value: object) -> None:
    with pytest.raises(BundleError):
        read_arrays(pickle.dumps({"kernel": value}, 4))
    if not isinstance(value, dict):
        with pytest.raises(BundleError):
            read_arrays(pickle.dumps([value], 4))


def test_refuses_a_dict_within_itself() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    with pytest.raises(BundleError):
        read_arrays(pickle.dumps(loop))


def test_claims_no_memory_for_a_huge_memo() -> None:
    with pytest.raises(BundleError):
        read_arrays(b"\x80\x03}r\xff\xff\xff\x7fN.")


VALID = pickle.dumps({"a": {"kernel": np.arange(6, dtype="f4").reshape(2, 3)}}, 3)


@pytest.mark.parametrize("length", range(len(VALID)))
def test_refuses_every_truncation(length: int) -> None:
    with pytest.raises(BundleError):
        read_arrays(VALID[:length])


@given(st.integers(0, len(VALID) - 1), st.binary(min_size=1, max_size=4))
def test_altered_bytes_give_arrays_or_a_clean_error(position: int, replacement: bytes) -> None:
    data = VALID[:position] + replacement + VALID[position + len(replacement) :]
    try:
        read = read_arrays(data)
    except BundleError:
        return
    assert all(isinstance(value, np.ndarray) for value in read.values())


@given(st.binary(max_size=60))
def test_arbitrary_bytes_give_a_clean_error(data: bytes) -> None:
    with contextlib.suppress(BundleError):
        assert isinstance(read_arrays(data), dict)
