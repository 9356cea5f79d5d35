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

from torch import nn

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


def write(path: Path, network: nn.Module, arguments: dict[str, Any], **others: Any) -> None:
    """A pickle with G_ema and what usually stands beside it.

    Args:
        path: of the pickle.
        network: G_ema.
        arguments: what it says it was made with.
        others: more entries of the top.
    """
    with modules() as (reconstruct, easy_dict):

        class Pickler(pickle.Pickler):
            def reducer_override(self, value: Any) -> Any:
                if not isinstance(value, nn.Module):
                    return NotImplemented
                plain = (int, float, str)
                state = {
                    name: held
                    for name, held in value.__dict__.items()
                    if name.startswith("_") or isinstance(held, plain)
                }
                if value is network:
                    state |= {"_init_args": (), "_init_kwargs": easy_dict(arguments)}
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
        Pickler(buffer, protocol=4).dump(top)
    path.write_bytes(buffer.getvalue())
