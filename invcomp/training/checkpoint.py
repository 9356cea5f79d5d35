"""Checkpoints: networks and optimisers as named tensors in one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import BundleError
from ..files import atomic_write

Networks = Mapping[str, nn.Module]
Optimisers = Mapping[str, torch.optim.Optimizer]


def save_checkpoint(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes what `load_checkpoint` returns, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_write(path, force=True) as temporary:
        save_file(plain, temporary, metadata)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Tensors and metadata of a checkpoint; None if there is no such file.

    Raises:
        BundleError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path} is damaged ({error}): delete it to start over") from error


def tensors_of(networks: Networks, optimisers: Optimisers) -> dict[str, Tensor]:
    """The state of networks and optimisers, each tensor with its owner's name as prefix."""
    tensors: dict[str, Tensor] = {}
    for name, network in networks.items():
        tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
    for name, optimiser in optimisers.items():
        for index, values in optimiser.state_dict()["state"].items():
            for key, value in values.items():
                tensors[f"{name}.{index}.{key}"] = torch.as_tensor(value)
    return tensors


def restore(tensors: dict[str, Tensor], networks: Networks, optimisers: Optimisers) -> None:
    """Loads what `tensors_of` returned into the same networks and optimisers."""
    for name, network in networks.items():
        network.load_state_dict(_owned_by(name, tensors))
    for name, optimiser in optimisers.items():
        _load_optimiser(optimiser, _owned_by(name, tensors))


def _owned_by(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = f"{name}."
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    # files have no memory format, and fused Adam matches values by memory layout
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape and value.ndim:
                values[name] = torch.empty_like(parameter).copy_(value)
