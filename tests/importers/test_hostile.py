"""Hostile files: nothing in one runs, none hangs, none takes memory out of proportion."""

from __future__ import annotations

import gc
import pickle
import signal
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
import torch

from invcomp.errors import BundleError
from invcomp.importers.plain_pickle import BYTES_PER_OPERATION, OPERATIONS, PlainUnpickler
from invcomp.importers.recognise import read_foreign

from .hostile import (
    ATTACKS,
    FLOATS,
    KINDS,
    SENTINEL,
    TENSORS,
    WRAPPINGS,
    dcgan,
    named_storage,
    network,
    number,
    program,
    saved,
    table,
    text,
    write_attack,
    write_stylegan3,
    write_tensor,
    write_zip,
)  # fmt: skip
from .nvidia import write
from .test_nvidia_pickle import ARGUMENTS
from .test_rosinality import theirs

HANG = 120  # seconds that nothing here may take, however busy the machine
MARGIN = 24 << 20  # bytes that reading may take beside twice the file's


@pytest.fixture(autouse=True)
def watchdog(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Ends a test that hangs; and whatever a file writes, it writes it here."""

    def bark(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"it hangs: over {HANG} s")

    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGALRM, bark)
    signal.alarm(HANG)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hostile.pkl"


def refuse(path: Path) -> None:
    """It is refused in one line, having run nothing and taken little memory."""
    there = sorted(path.parent.iterdir())
    tracemalloc.start()
    try:
        with pytest.raises(BundleError) as raised:
            read_foreign(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(raised.value).isprintable()
    assert len(str(raised.value).removeprefix(f"{path}: ")) < 340
    assert peak <= 2 * path.stat().st_size + MARGIN
    assert sorted(path.parent.iterdir()) == there  # the sentinel, or anything else


def attempt(path: Path) -> None:
    """It is read, or refused in one line."""
    line = ""
    try:
        read_foreign(path)
    except BundleError as error:
        line = str(error)
    assert line.isprintable()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A valid file of every kind."""
    folder, files = tmp_path_factory.mktemp("whole"), {}
    for kind, make in KINDS.items():
        make(folder / "file")
        files[kind] = (folder / "file").read_bytes()
    return files


@pytest.mark.parametrize("kind", KINDS)
def test_the_valid_files_are_valid(kind: str, whole: dict[str, bytes], path: Path) -> None:
    path.write_bytes(whole[kind])
    generator, _ = read_foreign(path)
    labels = torch.zeros(1, dtype=torch.long) if generator.classes else None
    with torch.no_grad():
        latents = generator.sample(torch.ones(1, generator.z_size), labels)
        assert generator(generator.spread(latents)).ndim == 4


@pytest.mark.parametrize("percent", range(100))
@pytest.mark.parametrize("kind", KINDS)
def test_truncated(kind: str, percent: int, whole: dict[str, bytes], path: Path) -> None:
    path.write_bytes(whole[kind][: len(whole[kind]) * percent // 100])
    refuse(path)


@pytest.mark.parametrize("kind", KINDS)
def test_altered(kind: str, whole: dict[str, bytes], path: Path) -> None:
    """A byte here and there: a generator or one clear line, nothing else."""
    choose = np.random.default_rng(0)
    for _ in range(25):
        data = bytearray(whole[kind])
        data[choose.integers(len(data))] ^= 1 << choose.integers(8)
        path.write_bytes(data)
        attempt(path)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_attacks(wrapping: str, attack: str, path: Path) -> None:
    write_attack(path, wrapping, attack, Path("executed"))
    assert len("executed") == len(SENTINEL)
    refuse(path)


LONG = 1 << 22  # bytes
MANY = {
    "tuples in each other": pickle.EMPTY_TUPLE + pickle.TUPLE1 * LONG,
    "lists in each other": pickle.EMPTY_LIST * LONG,
    "strings": pickle.EMPTY_LIST + pickle.MARK + text("") * (LONG // 5) + pickle.APPENDS,
}


@pytest.mark.parametrize("name", MANY)
def test_many_objects_are_refused_after_little_work(name: str, path: Path) -> None:
    """They would take half a minute; the work is counted in operations, of a byte at least."""
    path.write_bytes(program(MANY[name]))
    collections: list[str] = []
    gc.callbacks.append(lambda phase, about: collections.append(phase))
    try:
        gc.collect()
        before = len(collections)
        with path.open("rb") as file:
            unpickler = PlainUnpickler(file)
            with pytest.raises(pickle.UnpicklingError, match="too many operations"):
                unpickler.load()
            assert file.tell() <= 5 * (OPERATIONS + LONG // BYTES_PER_OPERATION + 9)
            assert len(collections) - before <= 2  # before it begins or after it ends
    finally:
        gc.callbacks.pop()
    assert gc.isenabled()
    refuse(path)


def test_the_work_that_a_file_of_a_gigabyte_may_ask_for() -> None:
    assert OPERATIONS + (1 << 30) // BYTES_PER_OPERATION < 170_000


@pytest.mark.parametrize("tensor", TENSORS)
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_tensors_that_are_more_than_they_hold(wrapping: str, tensor: str, path: Path) -> None:
    write_tensor(path, wrapping, tensor)
    refuse(path)


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_layers": 10**9},
        {"num_critical": 10**9},
        {"img_resolution": 2**40},
        {"img_resolution": 8192, "first_cutoff": 1e-9, "first_stopband": 1e-9},
        {"first_cutoff": float("nan")},
        {"last_stopband_rel": float("inf")},
        {"filter_size": 10**9},
        {"lrelu_upsampling": 10**9},
        {"margin_size": 10**12},
        {"channel_max": 10**9, "channel_base": 10**15},
        {"conv_kernel": 10**6},
        {"img_resolution": "9" * 5000},
        {"img_channels": "x" * 10**6},
        {"synthesis_kwargs": {"num_layers": -1}},
    ],
    ids=lambda arguments: str(arguments)[:60],
)
def test_stylegan3_of_any_design(arguments: dict[str, object], path: Path) -> None:
    write_stylegan3(path, **arguments)
    refuse(path)


def state(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    return {**dcgan().state_dict(), **changes}


STATES: dict[str, object] = {
    "nothing": {},
    "a scalar as weight": state(**{"0.weight": torch.ones([])}),
    "no layers": {"0.weight": torch.ones(1, 3, 4, 4)},
    "sixty layers": {
        f"{index}.{part}": torch.ones((1, 1, 4, 4) if part == "weight" else 1)
        for index in range(60)
        for part in ("weight", "running_mean")
    }
    | {"60.weight": torch.ones(1, 3, 4, 4)},
    "a kernel of 10^6": {
        "0.weight": torch.ones(1, 1, 10**6, 1),
        "1.weight": torch.ones(1, 3, 1, 1),
    },
    "numbers as names": {1: torch.ones(1)},
    "rosinality without layers": {"g_ema": {"style.1.weight": torch.ones(2, 2)}},
    "rosinality of scalars": {"g_ema": {name: torch.ones([]) for name in theirs(network())}},
    "rosinality with other names": {"g_ema": {"x": torch.ones(1), "a.b.c": torch.ones(1)}},
    "rosinality with a wide average": {"g_ema": theirs(network()), "latent_avg": torch.ones(99)},
    "rosinality with another layer": {
        "g_ema": {**theirs(network()), "conv1.activate.bias": torch.ones(3)}
    },
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", STATES)
def test_states_of_no_network(name: str, legacy: bool, path: Path) -> None:
    saved(path, STATES[name], legacy)
    refuse(path)


@pytest.mark.parametrize("wrapping", ["torch zip", "torch before zip"])
def test_tensors_that_share_their_bytes(wrapping: str, path: Path) -> None:
    """Copies of shared bytes would be any number of times the file."""
    tensor = WRAPPINGS[wrapping].tensor((4,), (1,))
    state = table(*(part for index in range(500) for part in (text(f"{index}"), tensor)))
    WRAPPINGS[wrapping].write(path, state, {"0": FLOATS})
    data = path.read_bytes()
    refuse(path)
    assert len(data) < 500 * 200


def test_zip_bombs(path: Path) -> None:
    """What is compressed is not unpacked: a pickle of 64 MB, and storages."""
    bomb = program(text("a") * 10_000_000)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bomb)
    refuse(path)
    tensor = WRAPPINGS["torch zip"].tensor((4,), (1,))
    write_zip(path, table(text("x"), tensor), {"0": FLOATS}, zipfile.ZIP_DEFLATED)
    refuse(path)


def test_a_zip_file_with_a_huge_directory(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(60_000):
            archive.writestr(f"a/{index}", b"")
    refuse(path)


@pytest.mark.parametrize("offset", [0, 4, 6, 8, 10, 12, 16, 20])
def test_a_zip_file_whose_end_lies(offset: int, whole: dict[str, bytes], path: Path) -> None:
    """Numbers and places of its directory: beyond the file, or none."""
    for value in (b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x00\x00\x00\x7f"):
        data = bytearray(whole["dcgan"])
        begin = data.rindex(b"PK\x05\x06") + offset
        data[begin : begin + 4] = value[: len(data) - begin]
        path.write_bytes(data)
        attempt(path)


def test_zip_entries_that_lie(whole: dict[str, bytes], path: Path) -> None:
    """Sizes and places in the directory."""
    data = whole["dcgan"]
    first = data.index(b"PK\x01\x02")
    for offset in range(0, 46, 2):
        changed = bytearray(data)
        changed[first + offset : first + offset + 4] = b"\xff\xff\xff\x7f"
        path.write_bytes(changed)
        attempt(path)


def test_storages_that_are_not_there(path: Path) -> None:
    tensor = WRAPPINGS["torch zip"].tensor((4,), (1,))
    for storages in ({}, {"1": FLOATS}, {"0": FLOATS[:-1]}, {"0": b""}):
        for wrapping in ("torch zip", "torch before zip"):
            WRAPPINGS[wrapping].write(path, table(text("x"), tensor), storages)
            refuse(path)


def test_a_storage_of_two_sizes(path: Path) -> None:
    body = table(text("x"), named_storage("0", 4, b""), text("y"), named_storage("0", 2, b""))
    write_zip(path, body, {"0": FLOATS})
    refuse(path)


def test_a_key_that_leads_elsewhere(path: Path) -> None:
    key = named_storage("../../data.pkl", 4, b"")
    write_zip(path, table(text("x"), key, text("y"), number(1)), {"0": FLOATS})
    refuse(path)


def test_class_names_are_not_looked_at(path: Path) -> None:
    """What stands beside a valid network: dropped, whatever it is."""
    write(path, network(), ARGUMENTS, beside={"a": [1, (2,), {"b"}]})
    read_foreign(path)
