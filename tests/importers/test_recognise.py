"""Files of every kind are recognised, others refused in one line."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from invcomp.errors import BundleError, MissingBundleError
from invcomp.generators.dcgan import DCGAN
from invcomp.generators.stylegan2 import StyleGAN2
from invcomp.importers.recognise import read_foreign

from .nvidia import write
from .test_dcgan import stack
from .test_nvidia_pickle import ARGUMENTS
from .test_rosinality import theirs


def test_every_kind(tmp_path: Path) -> None:
    network = StyleGAN2([8, 6, 4], 8, 8, 2)
    write(tmp_path / "nvidia.pkl", network, ARGUMENTS)
    torch.save({"g_ema": theirs(network)}, tmp_path / "rosinality.pt")
    torch.save(stack().state_dict(), tmp_path / "dcgan.pth")
    for name, kind, words in (
        ("nvidia.pkl", StyleGAN2, "network pickle"),
        ("rosinality.pt", StyleGAN2, "stylegan2-pytorch"),
        ("dcgan.pth", DCGAN, "transposed"),
    ):
        generator, found = read_foreign(tmp_path / name)
        assert isinstance(generator, kind)
        assert words in found


def test_torchscript_is_refused_with_the_reason(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    with pytest.raises(BundleError, match="TorchScript is a program"):
        read_foreign(tmp_path / "script.pt")


def test_what_torch_exports_is_refused_with_the_reason(tmp_path: Path) -> None:
    exported = torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),))
    torch.export.save(exported, tmp_path / "program.pt2")
    with pytest.raises(BundleError, match=r"a file of torch\.export is a program.*state dict"):
        read_foreign(tmp_path / "program.pt2")


UNKNOWN = "no generator of a known kind: "
OTHERS = {
    b"": f"{UNKNOWN}it is empty",
    b"\x80": "not a readable network pickle: it is damaged or truncated",
    b"PK\x03\x04": f"{UNKNOWN}a zip file without end record",
    b"GIF89a": f"{UNKNOWN}it is neither a network pickle nor a file of torch.save",
    bytes(1000): f"{UNKNOWN}it is neither a network pickle nor a file of torch.save",
    pickle.dumps({"G": 1}): "it contains no network called G_ema",
}


@pytest.mark.parametrize("content", OTHERS)
def test_other_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    assert reason(tmp_path / "file") == OTHERS[content]


def reason(path: Path) -> str:
    with pytest.raises(BundleError) as raised:
        read_foreign(path)
    return str(raised.value).removeprefix(f"{path}: ")


class Layer(nn.Linear):
    """A class that only its own program has."""


@pytest.mark.parametrize("zipped", [True, False])
def test_other_files_of_torch(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "file"
    name = f"{Layer.__module__}.Layer"
    for content, expected in (
        (
            {"fc.weight": torch.ones(2, 2), "fc.bias": torch.ones(2)},
            "it contains tensors such as fc.bias",
        ),
        ({"epoch": 3}, "it contains no tensors"),
        ([1, 2], "it contains no tensors"),
        (
            Layer(2, 2),
            f"it asks for {name}, which is not allowed: save the state dict alone, "
            "torch.save(network.state_dict(), ...)",
        ),
    ):
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        assert reason(path) == UNKNOWN + expected


def test_dicts_in_many_places_are_looked_at_once(tmp_path: Path) -> None:
    inner: Any = {}
    for _ in range(60):
        inner = {"a": inner, "b": inner}
    torch.save(inner, tmp_path / "file")
    assert reason(tmp_path / "file") == f"{UNKNOWN}it contains no tensors"


WAY_OUT = (
    "convert the weights to a supported kind, or register the network as a generator of your own"
)


@pytest.mark.parametrize("wrapped", [True, False])
def test_lucidrains(wrapped: bool, tmp_path: Path) -> None:
    """The names of its StyleGAN2: S and G, their averages SE and GE, and D."""
    state = {}
    for generator in ("G", "GE"):
        state[f"{generator}.initial_block"] = torch.ones(1, 8, 4, 4)
        for part in ("to_style1", "to_noise1", "to_style2", "to_noise2"):
            state[f"{generator}.blocks.0.{part}.weight"] = torch.ones(8, 8)
        state[f"{generator}.blocks.0.conv1.weight"] = torch.ones(8, 8, 3, 3)
    torch.save({"GAN": state, "version": "1.8.9"} if wrapped else state, tmp_path / "model_1.pt")
    assert reason(tmp_path / "model_1.pt") == (
        f"{UNKNOWN}a checkpoint of lucidrains' stylegan2_pytorch, whose network is not NVIDIA's "
        f"StyleGAN2: {WAY_OUT}"
    )


TENSORFLOW = {
    "Keras or TensorFlow weights (HDF5)": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "a TensorFlow saved model": b"\x08\x01\x12\xa0\x01" + bytes(100),
    "a TensorFlow checkpoint": bytes(100) + bytes.fromhex("57fb808b247547db"),
}


@pytest.mark.parametrize("what", TENSORFLOW)
def test_tensorflow(what: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(TENSORFLOW[what])
    assert reason(tmp_path / "file") == f"{UNKNOWN}{what}: {WAY_OUT}"


def test_keras(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, b"{}")
    assert reason(tmp_path / "model.keras") == f"{UNKNOWN}a Keras model: {WAY_OUT}"


@pytest.mark.parametrize("module", ["dnnlib.tflib.network", "tfutil"])
def test_nvidias_pickles_of_tensorflow(module: str, tmp_path: Path) -> None:
    """Three networks, of a class that is pickled by its name: stylegan2-ffhq-config-f.pkl."""
    network = b"c" + module.encode() + b"\nNetwork\n)\x81}b"
    (tmp_path / "file.pkl").write_bytes(b"\x80\x03" + 3 * network + b"\x87.")
    assert reason(tmp_path / "file.pkl") == (
        "a network of NVIDIA's TensorFlow code: convert it with legacy.py of the "
        "StyleGAN2-ADA-PyTorch or StyleGAN3 repository, and import the result"
    )


def test_a_reason_is_short_whatever_the_file_says(tmp_path: Path) -> None:
    torch.save({"x\n" * 10_000: torch.ones(1)}, tmp_path / "file")
    line = reason(tmp_path / "file")
    assert line.startswith(f"{UNKNOWN}it contains tensors such as x x x")
    assert len(line) < 300
    assert line.isprintable()


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingBundleError):
        read_foreign(tmp_path / "file")
