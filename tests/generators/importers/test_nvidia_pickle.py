"""Network pickles: what comes back, and that nothing in one is ever executed."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from invcomp.errors import BundleError
from invcomp.generators.base import Generator
from invcomp.generators.importers.nvidia_pickle import read_nvidia
from invcomp.generators.stylegan2 import StyleGAN2
from invcomp.generators.stylegan3 import StyleGAN3

from .nvidia import write

ARGUMENTS = {"z_dim": 8, "c_dim": 0, "w_dim": 8, "img_resolution": 16, "img_channels": 3}
DESIGN = {"channel_base": 512, "channel_max": 16}


def stylegan2() -> StyleGAN2:
    torch.manual_seed(0)
    return StyleGAN2([8, 6, 4], 8, 8, 2)


def stylegan3(**design: Any) -> StyleGAN3:
    torch.manual_seed(0)
    return StyleGAN3(16, 8, 8, 2, {**DESIGN, **design})


def same(ours: Generator, theirs: Generator) -> bool:
    latents = torch.randn(2, ours.latent_size)
    with torch.no_grad():
        return torch.equal(ours.eval()(latents), theirs(latents))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network.pkl"


def test_stylegan2(path: Path) -> None:
    network = stylegan2()
    write(path, network, {**ARGUMENTS, "synthesis_kwargs": {"channel_base": 64}})
    assert same(network, read_nvidia(path))


@pytest.mark.parametrize("nested", [False, True])
def test_stylegan3(path: Path, nested: bool) -> None:
    for design, theirs in (
        ({}, {}),
        ({"kernel": 1, "radial": True}, {"conv_kernel": 1, "use_radial_filters": True}),
    ):
        network = stylegan3(**design)
        options = {**DESIGN, **theirs}
        write(
            path, network, {**ARGUMENTS, **({"synthesis_kwargs": options} if nested else options)}
        )
        assert same(network, read_nvidia(path))


def test_class_conditional(path: Path) -> None:
    """As CIFAR-10's of StyleGAN2-ADA, and one of the StyleGAN3 repository."""
    torch.manual_seed(0)
    z, classes = torch.randn(10, 8), torch.arange(10)
    networks = [StyleGAN2([8, 6, 4], 8, 6, 2, classes=10), StyleGAN3(16, 8, 6, 2, DESIGN, 10)]
    for network in networks:
        torch.nn.init.normal_(network.mapping.embed.bias)
        write(path, network, {**ARGUMENTS, "c_dim": 10, "synthesis_kwargs": DESIGN})
        read = read_nvidia(path)
        assert (read.classes, read.z_size, read.options()["classes"]) == (10, 8, 10)
        assert same(network, read)
        assert torch.equal(read.sample(z, classes), network.sample(z, classes))


def test_numbers_and_arrays_beside_the_network(path: Path) -> None:
    write(path, stylegan2(), ARGUMENTS, rate=np.float64(0.5), sizes=np.arange(4), names={"a", "b"})
    assert read_nvidia(path).resolution == 16


def test_half_precision_and_strides(path: Path) -> None:
    network = stylegan2().half()
    network.mapping.fc0.weight.data = network.mapping.fc0.weight.data.t().contiguous().t()
    write(path, network, ARGUMENTS)
    read = read_nvidia(path)
    assert all(v.dtype == torch.float32 for v in read.state_dict().values())
    assert same(network.float(), read)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"img_channels": 1}, "1 channels"), ({"img_channels": 4}, "4 channels")],
)
def test_kinds_that_are_not_known(path: Path, arguments: dict[str, int], message: str) -> None:
    write(path, stylegan2(), {**ARGUMENTS, **arguments})
    with pytest.raises(BundleError, match=message):
        read_nvidia(path)


def test_a_network_of_another_kind(path: Path) -> None:
    write(path, torch.nn.Linear(2, 2), ARGUMENTS)
    with pytest.raises(BundleError, match="neither StyleGAN2 nor StyleGAN3"):
        read_nvidia(path)


def test_no_network(path: Path) -> None:
    path.write_bytes(pickle.dumps({"G": 1}))
    with pytest.raises(BundleError, match="G_ema"):
        read_nvidia(path)


def test_truncated_at_every_percent(path: Path) -> None:
    write(path, stylegan2(), ARGUMENTS)
    data = path.read_bytes()
    for percent in range(100):
        path.write_bytes(data[: len(data) * percent // 100])
        with pytest.raises(BundleError):
            read_nvidia(path)


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "function",
    [os.system, eval, exec, open, getattr, print, io.open, torch.load, np.load, __import__],
    ids=lambda function: f"{function.__module__}.{function.__name__}",
)
@pytest.mark.parametrize("place", ["top", "within", "state"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_calls_are_refused(
    path: Path, tmp_path: Path, function: Any, place: str, protocol: int
) -> None:
    mark = tmp_path / "executed"
    call = Calls(function, f"touch {mark}")
    if place == "top":
        path.write_bytes(pickle.dumps(call, protocol))
    elif place == "within":
        path.write_bytes(pickle.dumps({"G_ema": [call]}, protocol))
    else:
        write(path, stylegan2(), ARGUMENTS, hostile=call)
    with pytest.raises(BundleError, match="not allowed"):
        read_nvidia(path)
    assert not mark.exists()


def storage_call(data: bytes) -> bytes:
    """A pickle that calls torch.storage._load_from_bytes on bytes."""
    out = io.BytesIO()
    out.write(b"\x80\x04ctorch.storage\n_load_from_bytes\n")
    out.write(b"B" + len(data).to_bytes(4, "little") + data + b"\x85R.")
    return out.getvalue()


def legacy(values: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    torch.save(values.storage(), buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def test_nested_bytes_are_no_way_in(path: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    hostile = [
        pickle.dumps(Calls(os.system, f"touch {mark}"), 2),
        pickle.dumps(0x1950A86A20F9469CFC6C, 2)
        + pickle.dumps(1001, 2)
        + pickle.dumps({}, 2)
        + pickle.dumps(Calls(os.system, f"touch {mark}"), 2),
        b"",
        b"PK\x03\x04",
    ]
    for data in hostile:
        path.write_bytes(storage_call(data))
        with pytest.raises(BundleError):
            read_nvidia(path)
    assert not mark.exists()


def test_storages_cannot_declare_more_than_they_hold(path: Path) -> None:
    data = bytearray(legacy(torch.arange(4.0)))
    assert data[-24:-16] == (4).to_bytes(8, "little")
    for count in (5, 10**10, -1, 2**62):
        data[-24:-16] = count.to_bytes(8, "little", signed=True)
        path.write_bytes(storage_call(bytes(data)))
        with pytest.raises(BundleError, match="declares"):
            read_nvidia(path)


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (5,), (1,)),
        (3, (2,), (1,)),
        (0, (2, 2), (3, 1)),
        (0, (10**10,), (0,)),
        (-1, (1,), (1,)),
        (0, (1,), (-1,)),
        (0, (2,), (10**12,)),
        (0, (2, 2), (1,)),
    ],
)
def test_tensors_stay_within_their_storage(
    path: Path, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    data = legacy(torch.arange(4.0))
    head = b"\x80\x04ctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\n_load_from_bytes\n"
    items = b"".join(pickle.dumps(item, 2)[2:-1] for item in (offset, size, stride, False, None))
    body = b"B" + len(data).to_bytes(4, "little") + data + b"\x85R" + items + b"tR."
    path.write_bytes(head + body)
    with pytest.raises(BundleError):
        read_nvidia(path)


def test_object_arrays_are_refused(path: Path) -> None:
    write(path, stylegan2(), ARGUMENTS, objects=np.array([{}], dtype=object))
    with pytest.raises(BundleError, match="dtype"):
        read_nvidia(path)


@pytest.mark.parametrize("state", [{"a": 1}, (None, {"get": 1})])
def test_no_attributes_are_set(path: Path, state: Any) -> None:
    """BUILD on the stand-ins themselves: classes and functions stay as they are."""
    names = ["collections\nOrderedDict", "torch._utils\n_rebuild_tensor_v2", "builtins\nset"]
    for name in names:
        data = b"\x80\x04c" + name.encode() + b"\n" + pickle.dumps(state, 2)[2:-1] + b"b."
        pickletools.dis(data, out=io.StringIO())  # well-formed
        path.write_bytes(data)
        with pytest.raises(BundleError, match="sets attributes"):
            read_nvidia(path)
