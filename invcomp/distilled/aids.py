"""Optional parts of a bundle that make the search faster: an encoder network and a surrogate.

They do not change what a file decodes to, so a bundle's fingerprint does not cover them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import BundleError
from ..files import atomic_write
from .encoder import InversionEncoder
from .surrogate import Surrogate

FORMAT = "invcomp search aids 1"
ENCODER, SURROGATE = "encoder", "shortcut"  # names in files; the surrogate's is an older one
KINDS: dict[str, type[InversionEncoder] | type[Surrogate]] = {
    ENCODER: InversionEncoder,
    SURROGATE: Surrogate,
}


@dataclass(frozen=True)
class SearchAids:
    """An encoder network, a surrogate, both or neither."""

    encoder: InversionEncoder | None = None
    surrogate: Surrogate | None = None

    def to(self, device: torch.device) -> SearchAids:
        """The same on another device."""
        encoder = self.encoder and self.encoder.to(device)
        return SearchAids(encoder, self.surrogate and self.surrogate.to(device))

    def tensors(self) -> dict[str, Tensor]:
        """Weights in float16, which is precise enough for a search."""
        return {
            f"{name}.{key}": value.detach().cpu().half() if value.is_floating_point() else value
            for name, part in self._parts().items()
            for key, value in part.state_dict().items()
        }

    def metadata(self) -> dict[str, str]:
        """The options of each as JSON, by name."""
        return {name: json.dumps(part.options()) for name, part in self._parts().items()}

    def _parts(self) -> dict[str, InversionEncoder | Surrogate]:
        parts = {ENCODER: self.encoder, SURROGATE: self.surrogate}
        return {name: part for name, part in parts.items() if part is not None}

    @classmethod
    def of(cls, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> SearchAids:
        """The inverse of `metadata` and `tensors`, frozen, in float32. Ignores other entries.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: the entries do not fit.
        """
        found: dict[str, Any] = {}
        for name, kind in KINDS.items():
            if name not in metadata:
                continue
            with torch.device("meta"):
                part = kind(**json.loads(metadata[name]))
            state = {
                key.removeprefix(f"{name}."): value.float() if value.is_floating_point() else value
                for key, value in tensors.items()
                if key.startswith(f"{name}.")
            }
            part.load_state_dict(state, assign=True)
            found[name] = part.eval().requires_grad_(False)
        return cls(found.get(ENCODER), found.get(SURROGATE))

    def save(self, path: Path, fingerprint: bytes) -> None:
        """Writes them to a file of their own, for the bundle with this fingerprint.

        Raises:
            OutputError: the file cannot be written.
        """
        metadata = {"format": FORMAT, "fingerprint": fingerprint.hex(), **self.metadata()}
        tensors = {name: tensor.contiguous() for name, tensor in self.tensors().items()}
        with atomic_write(path, force=True) as temporary:
            save_file(tensors, temporary, metadata)

    @classmethod
    def load(cls, path: Path, fingerprint: bytes) -> SearchAids:
        """Reads the file of `save`.

        Raises:
            BundleError: the file is damaged or was made for another bundle.
        """
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise BundleError(f"{path}: not a file of search aids")
                if metadata["fingerprint"] != fingerprint.hex():
                    raise BundleError(f"{path}: made for another bundle")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return cls.of(metadata, tensors)
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
            raise BundleError(f"{path}: damaged ({error})") from error
