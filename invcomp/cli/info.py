"""invcomp info: what an .ivc file holds."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import show
from .jobs import find_sources
from .options import FilesModel, Json

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ..bitstream import IvcFile
    from ..bundle import Bundle


def info(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help=".ivc files, or folders of them.")
    ],
    model: FilesModel = None,
    as_json: Json = False,
) -> None:
    """Show every field of .ivc files, and where their bytes go.

    What only the bundle can tell is shown where it is on this machine.
    """
    from ..errors import InvcompError

    report = show.Report()
    bundle_of = cache(_bundle_finder(model))
    described: list[dict[str, Any]] = []
    for path in find_sources(files, {".ivc"}, report):
        try:
            described.append(describe(path, bundle_of))
        except InvcompError as error:
            report.failed(f"{path}: {error}")
            described.append({"file": str(path), "error": str(error)})
        except OSError as error:
            report.failed(f"{path}: cannot be read: {error.strerror}")
            described.append({"file": str(path), "error": str(error.strerror)})
    if as_json:
        typer.echo(json.dumps(described, indent=2))
    else:
        for entry in described:
            if "error" not in entry:
                _print(entry)
    report.finish()


def _bundle_finder(model: str | None) -> Callable[[bytes], tuple[str | None, Bundle | None]]:
    """Finds the name and the bundle of a fingerprint, as far as they are on this machine."""

    def find(fingerprint: bytes) -> tuple[str | None, Bundle | None]:
        from ..bundle import find_bundle, load_bundle
        from ..errors import MissingBundleError
        from ..model_zoo.catalogue import KNOWN_MODELS

        try:
            name = model or find_bundle(fingerprint)
        except MissingBundleError:
            return None, None
        if name in KNOWN_MODELS and not KNOWN_MODELS[name].bundle.is_file():
            return name, None  # describing a file downloads nothing
        bundle = load_bundle(name)
        if bundle.fingerprint[:4] != fingerprint:
            raise MissingBundleError(
                f"made with bundle {fingerprint.hex()}, not with {name}: give the right --model"
            )
        return bundle.settings.name, bundle

    return find


def describe(
    path: Path, bundle_of: Callable[[bytes], tuple[str | None, Bundle | None]]
) -> dict[str, Any]:
    """Every field of a file, as JSON values; None where only a missing bundle could tell.

    Args:
        path: of the file.
        bundle_of: gives name and bundle of a fingerprint.

    Raises:
        BitstreamError: not an .ivc file, truncated, altered.
        MissingBundleError: the bundle asked for is another than the file's.
    """
    from ..bitstream import IvcFile
    from ..entropy.density import step_of

    data = path.read_bytes()
    file = IvcFile.unpack(data)
    name, bundle = bundle_of(file.fingerprint)
    side = bundle.generator.resolution if bundle else None
    width, height = file.original_size or (side, side)
    payload = sum(map(len, file.segments))
    return {
        "file": str(path),
        "bytes": len(data),
        "header_bytes": len(data) - payload,
        "payload_bytes": payload,
        "version": file.version,
        "bundle": {"fingerprint": file.fingerprint.hex(), "name": name},
        "step_index": file.step_index,
        "step": step_of(file.step_index),
        "width": width,
        "height": height,
        "original_size_stored": file.original_size is not None,
        "bits_per_pixel": 8 * len(data) / (width * height) if width and height else None,
        "checksum": "ok",  # unpack refuses a file whose checksum does not match
        "segments": [{"bytes": len(segment)} for segment in file.segments],
        **(_describe_payload(file, bundle) if bundle else {"class": None, "bytes_by_layer": None}),
    }


def _describe_payload(file: IvcFile, bundle: Bundle) -> dict[str, Any]:
    """What the integers cost by the ideal code length of the tables."""
    from ..bitstream import decode

    tables = bundle.tables
    integers, class_index = decode(file, tables)
    bits = tables.code_length(integers, file.step_index)
    of_class = {"class": tables.class_bits / 8} if tables.classes > 1 else {}
    return {
        "class": class_index if tables.classes > 1 else None,
        "classes": tables.classes if tables.classes > 1 else 0,
        "segments": [
            {
                "bytes": len(segment),
                "ideal_bytes": float(bits[part].sum()) / 8
                + (sum(of_class.values()) if part.start == 0 else 0),
                "coordinates": part.stop - part.start,
                "nonzero": int((integers[part] != 0).sum()),
            }
            for segment, part in zip(file.segments, tables.parts(len(file.segments)), strict=True)
        ],
        "nonzero": int((integers != 0).sum()),
        "coordinates": len(integers),
        "ideal_bytes": float(bits.sum()) / 8 + sum(of_class.values()),
        "bytes_by_layer": {**of_class, **bytes_by_layer(bundle, bits)},
    }


def bytes_by_layer(bundle: Bundle, bits: NDArray[Any]) -> dict[str, float]:
    """Every coordinate's bits shared among the layers by what its basis row moves in each.

    Args:
        bundle: whose coordinates they are.
        bits: of every coordinate, [K].

    Returns:
        Bytes by the layer's name; they add up to the ideal code length.
    """
    import numpy as np

    layers = bundle.generator.layers
    starts = np.cumsum([0, *(layer.size for layer in layers[:-1])])
    squares = bundle.coordinates.codes.cpu().numpy().astype(np.float64) ** 2  # [K, D]
    energies = np.add.reduceat(squares, starts, axis=1)  # [K, layers]
    shares = bits @ (energies / energies.sum(1, keepdims=True)) / 8
    return {layer.name: float(share) for layer, share in zip(layers, shares, strict=True)}


def _print(entry: dict[str, Any]) -> None:
    """One file's fields as a table."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(entry["file"]), show_header=False, title_justify="left")
    for name, value in _rows(entry):
        table.add_row(name, Text(value))
    show.table(table)


def _rows(entry: dict[str, Any]) -> list[tuple[str, str]]:
    bundle, segments = entry["bundle"], entry["segments"]
    parts = f"{entry['header_bytes']} header, {entry['payload_bytes']} payload"
    size = f"{entry['width']} x {entry['height']}" if entry["width"] else "the generator's"
    rate = entry["bits_per_pixel"]
    rows = [
        ("bytes", f"{entry['bytes']} ({parts})"),
        ("bits per pixel", f"{rate:.5f}" if rate else "needs the bundle"),
        ("format version", str(entry["version"])),
        ("bundle", f"{bundle['fingerprint']}  {bundle['name'] or 'not on this machine'}"),
        ("step", f"{entry['step']:.5f} (index {entry['step_index']})"),
        ("picture", size + (", stored in the file" if entry["original_size_stored"] else "")),
        ("checksum", entry["checksum"]),
        ("segments", " + ".join(str(segment["bytes"]) for segment in segments) + " bytes"),
    ]
    if entry["bytes_by_layer"] is None:
        hint = f"invcomp models get {bundle['name']}" if bundle["name"] else "give its --model"
        return [*rows, ("bytes by layer", f"needs the bundle: {hint}")]
    ideal = " + ".join(f"{segment['ideal_bytes']:.1f}" for segment in segments)
    nonzero = " + ".join(f"{s['nonzero']} of {s['coordinates']}" for s in segments)
    layers = (f"{name} {size:.1f}" for name, size in entry["bytes_by_layer"].items())
    if entry["class"] is not None:
        rows.append(("class", f"{entry['class']} of 0 to {entry['classes'] - 1}"))
    return [
        *rows,
        ("ideal code length", f"{ideal} = {entry['ideal_bytes']:.1f} bytes"),
        ("integers not zero", nonzero),
        ("bytes by layer", "\n".join(layers)),
    ]
