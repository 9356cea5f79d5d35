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
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import BundleError
from ..files import atomic_write
from ..generators.base import Generator
from ..generators.weights import load_checked
from ..stored import json_object, number, one_line
from .encoder import InversionEncoder
from .surrogate import Surrogate

FORMAT = "invcomp search aids 1"
LARGEST_SIZE = 1 << 20  # of a layer
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

    def matching(self, generator: Generator, coordinates: int) -> SearchAids:
        """Those that a bundle can use: a surrogate of another generator is left out.

        Args:
            generator: of the bundle.
            coordinates: their number.

        Raises:
            ValueError: the encoder network predicts more coordinates.
        """
        if self.encoder is not None and self.encoder.count > coordinates:
            raise ValueError(f"an encoder of {self.encoder.count} coordinates, of {coordinates}")
        if self.surrogate is None or self.surrogate.fits_between(generator):
            return self
        return SearchAids(self.encoder)

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
                part = kind(**_sizes(metadata[name]))
            prefix = f"{name}."
            load_checked(
                part,
                {key[len(prefix) :]: tensors[key] for key in tensors if key.startswith(prefix)},
            )
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
        except BundleError:
            raise
        except Exception as error:  # a hostile file can raise anything
            raise BundleError(f"{path}: damaged ({one_line(error)})") from error


def _sizes(text: str) -> dict[str, int]:
    """The options of a network.

    Raises:
        ValueError: they are no sizes.
    """
    return {
        name: int(number(value, 1, LARGEST_SIZE, name)) for name, value in json_object(text).items()
    }
