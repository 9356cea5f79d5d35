"""Files of every kind are recognised, others refused in one line."""

from pathlib import Path

import pytest
import torch
from torch import nn

from invcomp.errors import BundleError, MissingBundleError
from invcomp.generators.dcgan import DCGAN
from invcomp.generators.importers.recognise import read_foreign
from invcomp.generators.stylegan2 import StyleGAN2

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
    with pytest.raises(BundleError, match=r"torch\.export saves is a program.*state dict"):
        read_foreign(tmp_path / "program.pt2")


@pytest.mark.parametrize("content", [b"", b"\x80", b"PK\x03\x04", b"GIF89a", bytes(1000)])
def test_other_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(BundleError, match="no generator of a known kind"):
        read_foreign(tmp_path / "file")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingBundleError):
        read_foreign(tmp_path / "file")
