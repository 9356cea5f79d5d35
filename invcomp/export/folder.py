"""The folder of an export: network, tables, and a manifest that says what they are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..bundle import Bundle
from ..device import default_modes
from ..errors import BundleError, OutputError
from ..files import atomic_write
from ..model_zoo.catalogue import KNOWN_MODELS
from .check import LARGEST, Difference, difference
from .network import IntegersToImage
from .onnx_file import OPSET, OUTPUT, onnx_bytes
from .tables import tables_of

FORMAT = "invcomp export 1"
NETWORK, TABLES, MANIFEST = "network.onnx", "tables.json", "manifest.json"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        manifest: the contents of manifest.json.
        difference: of the network's images from those of torch.
    """

    manifest: dict[str, Any]
    difference: Difference

    @property
    def size(self) -> int:
        """Bytes of network and tables."""
        return sum(int(file["bytes"]) for file in self.manifest["files"].values())


def export_bundle(
    bundle: Bundle, folder: Path, half: bool = False, force: bool = False
) -> Exported:
    """Writes the decoder of a bundle for other programs, and compares its images with torch's.

    Args:
        bundle: on the CPU.
        folder: made if it is missing.
        half: round large weights to float16, and the largest to int8.
        force: whether existing files are replaced.

    Raises:
        BundleError: the bundle cannot be exported, or the network's images are more than 1/255
            from torch's, without `half`.
        OutputError: a file exists and `force` is False, or it cannot be written.
    """
    for name in (NETWORK, TABLES, MANIFEST):
        if (folder / name).exists() and not force:
            raise OutputError(f"{folder / name} already exists")
    tables = tables_of(bundle)
    with default_modes(torch.device("cpu")):
        network = IntegersToImage(bundle).eval()
        data = onnx_bytes(IntegersToImage(bundle, fast=True).eval(), half)
    found = difference(data, network, bundle)
    if not half and found.largest > LARGEST:
        raise BundleError(
            f"{bundle.settings.name}: the ONNX network makes other images than torch: "
            f"they differ by up to {found.largest}/255"
        )
    files = {NETWORK: data, TABLES: _json(tables)}
    manifest = _manifest(bundle, network, files, half, found)
    for name, contents in {**files, MANIFEST: _json(manifest, indent=2)}.items():
        with atomic_write(folder / name, force=force) as path:
            path.write_bytes(contents)
    return Exported(manifest, found)


def _manifest(
    bundle: Bundle,
    network: IntegersToImage,
    files: dict[str, bytes],
    half: bool,
    found: Difference,
) -> dict[str, Any]:
    settings, known = bundle.settings, KNOWN_MODELS.get(bundle.settings.name)
    side = bundle.generator.resolution
    return {
        "format": FORMAT,
        "name": settings.name,
        "description": known and known.description,
        "licence": known and known.licence,
        "fingerprint": bundle.fingerprint.hex(),
        "resolution": side,
        "proxy_of": settings.original and settings.original.resolution,
        "opset": OPSET,
        "half": half,
        "inputs": [
            {"name": name, "type": "int32", "shape": list(value.shape)}
            for name, value in network.inputs().items()
        ],
        "output": {"name": OUTPUT, "type": "uint8", "shape": [side, side, 3]},
        "difference_from_torch": asdict(found),
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        },
    }


def _json(values: dict[str, Any], indent: int | None = None) -> bytes:
    separators = None if indent else (",", ":")
    return (json.dumps(values, indent=indent, separators=separators) + "\n").encode()
