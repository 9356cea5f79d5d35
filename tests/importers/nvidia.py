"""Writes network pickles as NVIDIA's repositories do, with a dummy source, of our own networks."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from invcomp.generators import stylegan2, stylegan3

SOURCE = "raise SystemExit('the source in a network pickle was executed')"


@contextmanager
def modules() -> Iterator[tuple[Callable[..., Any], type]]:
    """torch_utils.persistence and dnnlib.util, as names to pickle; gone afterwards."""
    made = {name: ModuleType(name) for name in
            ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util")}  # fmt: skip

    def _reconstruct_persistent_obj(meta: Any) -> Any:
        raise AssertionError("called")

    EasyDict = type("EasyDict", (dict,), {"__module__": "dnnlib.util"})
    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    made["torch_utils.persistence"]._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    made["dnnlib.util"].EasyDict = EasyDict  # type: ignore[attr-defined]
    sys.modules.update(made)
    try:
        yield _reconstruct_persistent_obj, EasyDict
    finally:
        for name in made:
            del sys.modules[name]


FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


def attributes(module: nn.Module, clamp: float | None) -> dict[str, Any]:
    """What a module of NVIDIA's says of itself beside its tensors, where it decides images."""
    if isinstance(module, stylegan2.FullyConnected):
        return {
            "activation": "lrelu" if module.activate else "linear",
            "weight_gain": np.float64(module.weight_gain),
            "bias_gain": module.bias_gain,
        }
    if isinstance(module, stylegan2.SynthesisLayer):
        return {
            "activation": "lrelu",
            "act_gain": np.sqrt(2),
            "conv_clamp": clamp,
            "up": 2 if module.up else 1,
            "_buffers": {**module._buffers, "resample_filter": FILTER},
        }
    if isinstance(module, stylegan2.ToRGB):
        gain = 1 / np.sqrt(module.weight.shape[1])
        return {"conv_clamp": clamp, "weight_gain": gain}
    if isinstance(module, stylegan2.SynthesisBlock):
        return {"architecture": "skip", "_buffers": {"resample_filter": FILTER}}
    if isinstance(module, stylegan3.SynthesisLayer):
        return {
            "conv_clamp": clamp,
            "up_factor": module.up,
            "down_factor": module.down,
            "in_size": np.broadcast_to(np.asarray(16), [2]),
            "out_size": np.array([16, 16]),
        }
    return {}


def write(
    path: Path,
    network: nn.Module,
    arguments: dict[str, Any],
    *,
    positional: tuple[Any, ...] = (),
    clamp: float | None = None,
    told: bool = True,
    changes: dict[str, dict[str, Any]] | None = None,
    protocol: int = 4,
    **others: Any,
) -> None:
    """A pickle with G_ema and what usually stands beside it.

    Args:
        path: of the pickle.
        network: G_ema.
        arguments: what it says it was made with.
        positional: what of that goes by position.
        clamp: what its layers say they clamp at.
        told: whether modules have the attributes that NVIDIA's have.
        changes: further attributes of modules, by their names.
        protocol: of the pickle.
        others: more entries of the top.
    """
    names = {id(module): name for name, module in network.named_modules()}
    with modules() as (reconstruct, easy_dict):

        class Pickler(pickle.Pickler):
            def reducer_override(self, value: Any) -> Any:
                if not isinstance(value, nn.Module):
                    return NotImplemented
                state = {
                    name: held for name, held in value.__dict__.items() if name.startswith("_")
                }
                if told:
                    state |= attributes(value, clamp)
                if value is network:
                    state |= {"_init_args": positional, "_init_kwargs": easy_dict(arguments)}
                state |= (changes or {}).get(names[id(value)], {})
                meta = {
                    "type": "class",
                    "version": 6,
                    "module_src": SOURCE,
                    "class_name": type(value).__name__,
                    "state": state,
                }
                return reconstruct, (meta,)

        buffer = io.BytesIO()
        top = {"G": None, "D": None, "G_ema": network, "augment_pipe": None,
               "training_set_kwargs": easy_dict(resolution=16), **others}  # fmt: skip
        Pickler(buffer, protocol=protocol).dump(top)
    path.write_bytes(buffer.getvalue())
