"""Network pickles: what comes back, and that nothing in one is ever executed."""

from __future__ import annotations

import io
import math
import os
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from invcomp.errors import BundleError
from invcomp.generators.base import Generator
from invcomp.generators.stylegan2 import StyleGAN2
from invcomp.generators.stylegan3 import StyleGAN3
from invcomp.importers.nvidia_pickle import read_nvidia

from ..generators.test_stylegan2 import noisy, reference_image, reference_mapping
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
        given = {"synthesis_kwargs": options} if nested else options
        write(path, network, {**ARGUMENTS, **given}, clamp=256)
        assert same(network, read_nvidia(path))


CLAMPED = {  # how a pickle can say that its StyleGAN2 clamps at 0.7
    "by its layers": ({}, {"clamp": 0.7}),
    "by arguments of ADA": ({"synthesis_kwargs": {"conv_clamp": 0.7}}, {"told": False}),
    "by arguments of StyleGAN3's repository": ({"conv_clamp": 0.7}, {"told": False}),
    "by a block's arguments": (
        {},
        {"told": False, "changes": {f"synthesis.b{size}": {"_init_kwargs": {"conv_clamp": 0.7}}
                                    for size in (4, 8, 16)}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", CLAMPED)
def test_stylegan2_clamps_as_it_was_trained(path: Path, how: str) -> None:
    network = noisy(None)  # in float64, as the definition is
    arguments, options = CLAMPED[how]
    write(path, network, {**ARGUMENTS, **arguments}, **options)
    read, w = read_nvidia(path), torch.randn(3, 7).double()
    assert read.options()["clamp"] == 0.7
    expected = reference_image(network, w, 0.7)
    assert torch.allclose(read(read.spread(w.float())).double(), expected, atol=1e-5)
    assert (reference_image(network, w) - expected).abs().max() > 0.1


def test_what_clamps_where_nothing_says_so(path: Path) -> None:
    """ADA's network clamps nothing unless told to, StyleGAN3's repository's at 256."""
    write(path, stylegan2(), ARGUMENTS, told=False)
    assert "clamp" not in read_nvidia(path).options()
    newer = {"synthesis.b4": {"fused_modconv_default": "inference_only"}}
    write(path, stylegan2(), ARGUMENTS, told=False, changes=newer)
    assert read_nvidia(path).options()["clamp"] == 256
    write(path, stylegan2(), ARGUMENTS, changes=newer)  # all its layers say None
    assert "clamp" not in read_nvidia(path).options()


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("clamp", [0.2, 256, None])
def test_stylegan3_clamps_as_it_was_trained(path: Path, clamp: float | None, told: bool) -> None:
    """What the design does with the bound is held against the definition in test_stylegan3."""
    network = stylegan3(clamp=clamp)
    arguments = {} if told else {"conv_clamp": clamp}
    write(path, network, {**ARGUMENTS, **DESIGN, **arguments}, clamp=clamp, told=told)
    read = read_nvidia(path)
    assert read.options()["design"].get("clamp", 256) == clamp
    assert same(network, read)


LEARNING = {  # how a pickle can say that the mapping's layers learn at a tenth of the rate
    "by its layers": {
        "changes": {
            f"mapping.fc{index}": {"weight_gain": np.float64(0.1 / math.sqrt(size)),
                                   "bias_gain": 0.1}
            for index, size in ((0, 12), (1, 7))
        }
    },
    "by arguments": {"told": False},
}  # fmt: skip


@pytest.mark.parametrize("how", LEARNING)
def test_the_rate_that_the_mapping_learnt_at(path: Path, how: str) -> None:
    torch.manual_seed(0)
    network = StyleGAN2([6, 5, 4], 5, 7, 2, classes=3).double().requires_grad_(False)
    for layer in (network.mapping.embed, network.mapping.fc0, network.mapping.fc1):
        torch.nn.init.normal_(layer.bias)
    arguments = {**ARGUMENTS, "mapping_kwargs": {"lr_multiplier": 0.1}}
    write(path, network, arguments, **LEARNING[how])  # type: ignore[arg-type]
    z, classes = torch.randn(3, 5).double(), torch.tensor([2, 0, 1])
    pairs = list(zip(z, classes.tolist(), strict=True))
    w = read_nvidia(path).sample(z.float(), classes).double()
    expected = torch.stack([reference_mapping(network, *pair, rate=0.1) for pair in pairs])
    assert torch.allclose(w, expected, atol=1e-5)
    usual = torch.stack([reference_mapping(network, *pair) for pair in pairs])
    assert (usual - expected).abs().max() > 0.1


def test_styles_and_colours_of_another_gain(path: Path) -> None:
    """Twice the factor on a weight is as good as twice the weight."""
    network, latents = noisy(None).float(), torch.randn(2, 6 * 7)
    layers = {"synthesis.b8.conv0.affine": 1 / math.sqrt(7), "synthesis.b16.torgb": 1 / 2}
    write(path, network, ARGUMENTS,
          changes={name: {"weight_gain": 2 * gain} for name, gain in layers.items()})  # fmt: skip
    read = read_nvidia(path)
    for name in layers:
        network.get_submodule(name).weight.mul_(2)
    assert torch.allclose(read(latents), network(latents), atol=1e-6)


def test_stylegan3_with_arguments_by_position(path: Path) -> None:
    network = stylegan3()
    write(path, network, DESIGN, positional=(8, 0, 8, 16, 3))
    assert same(network, read_nvidia(path))
    write(path, network, DESIGN, positional=(8, 0, 8, 16, 1))
    assert reason(path) == "1 channels: images have 3"


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("make", [stylegan2, stylegan3])
def test_every_protocol(path: Path, protocol: int, make: Callable[[], Generator]) -> None:
    """5 is Python 3.14's default; 2 has bytes as text, also those of no length."""
    network = make()
    beside = {"sizes": np.arange(4), "turned": np.ones((2, 3)).T, "none": b"", "rate": np.pi}
    write(path, network, {**ARGUMENTS, **DESIGN}, protocol=protocol, clamp=256, **beside)
    assert path.read_bytes()[1] == protocol
    read, latents = read_nvidia(path), torch.randn(2, network.latent_size)
    with torch.no_grad():
        assert torch.equal(read(latents), network.eval()(latents))


def test_a_large_network_of_protocol_2(path: Path) -> None:
    """More text than any network has source."""
    torch.manual_seed(0)
    network = StyleGAN2([192, 192], 8, 8, 2)
    write(path, network, ARGUMENTS, protocol=2)
    assert path.stat().st_size > 4 << 20
    assert same(network, read_nvidia(path))


def test_text_in_other_encodings_is_no_bytes(path: Path) -> None:
    import codecs

    for function, arguments in ((codecs.encode, ("a", "rot13")), (bytes, (10**9,))):
        path.write_bytes(pickle.dumps(Calls(function, *arguments), 2))
        assert reason(path).startswith("not a readable network pickle: ")


def reason(path: Path) -> str:
    with pytest.raises(BundleError) as raised:
        read_nvidia(path)
    return str(raised.value).removeprefix(f"{path}: ")


FILTER_2 = torch.outer(torch.tensor([1.0, 2, 2, 1]), torch.tensor([1.0, 2, 2, 1])) / 36
ENDLESS: Any = ()
for _ in range(60):
    ENDLESS = (ENDLESS, ENDLESS)

REFUSED: dict[str, tuple[dict[str, dict[str, Any]], str]] = {
    "activation of the mapping": (
        {"mapping.fc1": {"activation": "relu"}},
        "mapping.fc1 has the activation 'relu': only lrelu is supported",
    ),
    "activation of the embedding": (
        {"mapping.embed": {"activation": "lrelu"}},
        "mapping.embed has the activation 'lrelu': only linear is supported",
    ),
    "activation of the styles": (
        {"synthesis.b8.conv0.affine": {"activation": "tanh"}},
        "synthesis.b8.conv0.affine has the activation 'tanh': only linear is supported",
    ),
    "activation of a convolution": (
        {"synthesis.b8.conv0": {"activation": "swish"}},
        "synthesis.b8.conv0 has the activation 'swish': only lrelu is supported",
    ),
    "gain of a convolution": (
        {"synthesis.b8.conv0": {"act_gain": 1.0}},
        "synthesis.b8.conv0 has the gain 1.0: only that of lrelu is supported",
    ),
    "bounds that differ": (
        {"synthesis.b8.torgb": {"conv_clamp": 256}},
        "its layers clamp at 256 and None: only one bound for all is supported",
    ),
    "a factor that is none": (
        {"mapping.fc0": {"weight_gain": float("nan")}},
        "the network cannot be rebuilt: a factor that is nan",
    ),
    "a filter of the image": (
        {"synthesis.b8": {"_buffers": {"resample_filter": FILTER_2}}},
        "its resampling filter is not [1, 3, 3, 1]",
    ),
    "an attribute without an end": (
        {"synthesis.b8.conv0": {"activation": ENDLESS}},
        "the network cannot be rebuilt: activation is a tuple, not a plain value",
    ),
    "a tensor that is none": (
        {"mapping.fc0": {"_buffers": {"more": "text"}}},
        "the network cannot be rebuilt: more is among the tensors but is not a tensor",
    ),
    "a module that is none": (
        {"mapping.fc0": {"_modules": {"more": "text"}}},
        "the network cannot be rebuilt: mapping.fc0.more is among the modules but is not a module",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_our_network_does_not_do(path: Path, name: str) -> None:
    network = StyleGAN2([6, 5, 4], 5, 7, 2, classes=3)
    changes, message = REFUSED[name]
    write(path, network, ARGUMENTS)
    read_nvidia(path)  # without the changes it is read
    write(path, network, ARGUMENTS, changes=changes)
    assert reason(path) == message


@pytest.mark.parametrize("part", ["mapping", "synthesis"])
def test_an_activation_among_the_arguments(path: Path, part: str) -> None:
    arguments = {**ARGUMENTS, f"{part}_kwargs": {"activation": "relu"}}
    write(path, stylegan2(), arguments, told=False)
    place = {"mapping": "mapping.fc0", "synthesis": "synthesis.b4.conv1"}[part]
    assert reason(path) == f"{place} has the activation 'relu': only lrelu is supported"


def test_layers_of_a_fork(path: Path) -> None:
    network = stylegan2()
    network.mapping.register_buffer("more", torch.ones(1))
    write(path, network, ARGUMENTS)
    assert reason(path) == (
        "the network cannot be rebuilt: it has 1 tensors that a StyleGAN2 does not have, such as "
        "mapping.more"
    )
    network = stylegan2()
    network.synthesis.b8.attention = torch.nn.Softmax()
    write(path, network, ARGUMENTS)
    assert reason(path) == (
        "synthesis.b8.attention is a module that a StyleGAN2 does not have: it is from a fork"
    )


def test_a_design_that_its_layers_contradict(path: Path) -> None:
    network = stylegan3()
    name = f"synthesis.{network.synthesis.names[3]}"
    write(path, network, {**ARGUMENTS, **DESIGN}, changes={name: {"up_factor": 6}})
    assert reason(path).startswith(f"{name} has the up_factor 6, but its design has ")
    write(path, network, {**ARGUMENTS, **DESIGN}, changes={"synthesis.input": {"bandwidth": 3.0}})
    assert reason(path) == "synthesis.input has the bandwidth 3.0, but its design has 2.0"
    write(path, network, {**ARGUMENTS, **DESIGN, "margin_size": 10.5})
    assert reason(path) == "the network cannot be rebuilt: margin_size is 10.5"


def test_what_is_missing(path: Path) -> None:
    write(path, stylegan3(), DESIGN)
    assert reason(path) == "the network cannot be rebuilt: img_resolution is missing"
    network = stylegan2()
    del network.mapping.fc0
    write(path, network, ARGUMENTS)
    assert reason(path) == "the network cannot be rebuilt: mapping.fc0.weight is missing"
    network = stylegan2()
    network.synthesis.b4.torgb.bias = None
    write(path, network, ARGUMENTS)
    assert reason(path) == (
        "the network cannot be rebuilt: synthesis.b4.torgb.bias is missing, expected (3,)"
    )


def test_grey_images_that_nothing_but_tensors_tell(path: Path) -> None:
    network = stylegan2()
    for size in (4, 8, 16):
        block = getattr(network.synthesis, f"b{size}")
        block.torgb.weight.data = block.torgb.weight.data[:1]
        block.torgb.bias.data = block.torgb.bias.data[:1]
    write(path, network, {})
    assert reason(path) == "1 channels: images have 3"


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
