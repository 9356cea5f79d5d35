"""invcomp info: the fields of .ivc files and archives."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import show
from .archive import describe_archive, rows_of
from .jobs import find_sources
from .options import FilesModel, Json
from .sources import ARCHIVE, FILE, is_archive

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..bitstream import IvcFile, Layer
    from ..bundle import Bundle


def info(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help=".ivc and .ivca files, folders.")
    ],
    model: FilesModel = None,
    as_json: Json = False,
) -> None:
    """Show every field of .ivc files and archives, and how many bytes each part takes.

    Some fields need the bundle and are shown only if it is on this machine.
    """
    from ..errors import InvcompError

    outcomes = show.Outcomes()
    bundle_of = cache(_bundle_finder(model))
    described: list[dict[str, Any]] = []
    for path in find_sources(files, {FILE, ARCHIVE}, outcomes):
        try:
            archived = is_archive(path)
            described.append(describe_archive(path) if archived else describe(path, bundle_of))
        except InvcompError as error:
            outcomes.failed(f"{path}: {error}")
            described.append({"file": str(path), "error": str(error)})
        except OSError as error:
            outcomes.failed(f"{path}: cannot be read: {error.strerror}")
            described.append({"file": str(path), "error": str(error.strerror)})
    if as_json:
        show.json_values(described)
    else:
        for entry in described:
            if "error" not in entry:
                _print(entry)
    outcomes.finish()


def _bundle_finder(model: str | None) -> Callable[[bytes], tuple[str | None, Bundle | None]]:
    """Finds name and bundle of a fingerprint, if they are on this machine."""

    def find(fingerprint: bytes) -> tuple[str | None, Bundle | None]:
        from ..errors import MissingBundleError
        from ..lookup import find_bundle, load_bundle
        from ..model_zoo.catalogue import KNOWN_MODELS

        try:
            name = model or find_bundle(fingerprint)
        except MissingBundleError:
            return None, None
        if name in KNOWN_MODELS and not KNOWN_MODELS[name].bundle.is_file():
            return name, None  # this command downloads nothing
        bundle = load_bundle(name)
        if bundle.fingerprint[:4] != fingerprint:
            raise MissingBundleError(
                f"made with bundle {fingerprint.hex()}, not with {name}: use the matching --model"
            )
        return bundle.settings.name, bundle

    return find


def describe(
    path: Path, bundle_of: Callable[[bytes], tuple[str | None, Bundle | None]]
) -> dict[str, Any]:
    """Every field of a file as JSON values; None if it needs a bundle that is missing.

    Args:
        path: of the file.
        bundle_of: returns name and bundle of a fingerprint.

    Raises:
        BitstreamError: not an .ivc file, truncated or altered.
        MissingBundleError: the file was made with another bundle than the one given.
    """
    from ..bitstream import IvcFile, read_ivc
    from ..entropy.density import q_step_of
    from ..photo import own_size

    data = read_ivc(path)
    file = IvcFile.unpack(data)
    name, bundle = bundle_of(file.fingerprint) if file.needs_bundle else (None, None)
    side = bundle.resolution if bundle else None
    width, height = own_size(file) or (side, side)
    payload = sum(map(len, file.payloads))
    layers = [_describe_layer(file, layer) for layer in file.layers]
    return {
        "file": str(path),
        "bytes": len(data),
        "header_bytes": len(data) - payload - sum(layer["bytes"] for layer in layers),
        "payload_bytes": payload,
        "layers": layers,
        "version": file.version,
        "bundle": {"fingerprint": file.fingerprint.hex(), "name": name},
        "needs_bundle": file.needs_bundle,
        "step_index": file.step_index,
        "q_step": q_step_of(file.step_index),
        "width": width,
        "height": height,
        "original_size_stored": file.original_size is not None,
        "padded": file.padded,
        "bits_per_pixel": 8 * len(data) / (width * height) if width and height else None,
        "checksum": "ok",  # unpack raises if the checksum does not match
        **(_describe_payload(file, bundle) if bundle else {"class": None, "coordinates": None}),
    }


def _describe_layer(file: IvcFile, layer: Layer) -> dict[str, Any]:
    """Tag and bytes of a layer, and what it holds if it is known."""
    from .. import conventional
    from ..bitstream import CONVENTIONAL, DETAIL, FACES, MORE_DETAILS, PHOTO
    from ..photo import photo_in

    held = {CONVENTIONAL: "image", DETAIL: "detail", MORE_DETAILS: "details of more faces"}
    known: dict[str, Any] = {}
    stream = layer.payload if layer.tag == CONVENTIONAL else b""
    if layer.tag in (FACES, PHOTO) and (found := photo_in(file)):
        more, photo = found
        known = {"holds": "photo", "faces": len(photo.places)}
        if layer.tag == FACES:
            known = {"holds": "more faces", "faces": len(more.faces)}
        else:
            stream = photo.stream
    elif layer.tag in held:
        known = {"holds": held[layer.tag]}
    if stream:
        codec, size = conventional.read_header(stream)
        known |= {"codec": conventional.LABELS[codec], "stream_bytes": len(stream), "coded": size}
    return {"tag": layer.tag, "bytes": len(layer.payload), **known}


def _describe_payload(file: IvcFile, bundle: Bundle) -> dict[str, Any]:
    """Cost of the integers: the ideal code length by the entropy model."""
    from ..bitstream import decode

    entropy = bundle.entropy
    integers, class_index = decode(file, entropy)
    bits = entropy.code_length(integers, file.step_index)
    return {
        "class": class_index if entropy.classes > 1 else None,
        "classes": entropy.classes if entropy.classes > 1 else 0,
        "nonzero": int((integers != 0).sum()),
        "coordinates": len(integers),
        "ideal_bytes": (float(bits.sum()) + entropy.class_bits) / 8,
    }


def _print(entry: dict[str, Any]) -> None:
    """Prints the fields of one file as a table."""
    from rich.table import Table

    table = Table(title=show.plain(entry["file"]), show_header=False, title_justify="left")
    for name, value in rows_of(entry) if "members" in entry else _rows(entry):
        table.add_row(name, show.plain(value))
    show.table(table)


def _rows(entry: dict[str, Any]) -> list[tuple[str, str]]:
    bundle, rate = entry["bundle"], entry["bits_per_pixel"]
    size = f"{entry['width']} x {entry['height']}" if entry["width"] else "the generator's"
    size += ", stored in the file" if entry["original_size_stored"] else ""
    rows = [
        ("bytes", f"{entry['bytes']} ({', '.join(_parts(entry))})"),
        ("bits per pixel", f"{rate:.5f}" if rate else "needs the bundle"),
        ("format version", str(entry["version"])),
    ]
    image = ("image", size + (", padded" if entry["padded"] else ""))
    if not entry["needs_bundle"]:
        return [*rows, ("bundle", "none is needed"), image, ("checksum", entry["checksum"])]
    rows += [
        ("bundle", f"{bundle['fingerprint']}  {bundle['name'] or 'not on this machine'}"),
        ("q_step", f"{entry['q_step']:.5f} (index {entry['step_index']})"),
        image,
        ("checksum", entry["checksum"]),
    ]
    if entry["coordinates"] is None:
        hint = f"invcomp models get {bundle['name']}" if bundle["name"] else "use its --model"
        return [*rows, ("payload", f"needs the bundle: {hint}")]
    if entry["class"] is not None:
        rows.append(("class", f"{entry['class']} of 0 to {entry['classes'] - 1}"))
    return [
        *rows,
        ("ideal code length", f"{entry['ideal_bytes']:.1f} bytes"),
        ("integers not zero", f"{entry['nonzero']} of {entry['coordinates']}"),
    ]


def _parts(entry: dict[str, Any]) -> list[str]:
    """The parts of a file with their bytes."""
    is_photo = any(layer.get("holds") == "photo" for layer in entry["layers"])
    parts = [f"{entry['header_bytes']} header"]
    if entry["needs_bundle"]:
        parts.append(f"{entry['payload_bytes']} {'face' if is_photo else 'payload'}")
    for layer in entry["layers"]:
        holds = layer.get("holds", f"layer {layer['tag']}")
        if "codec" in layer:
            holds += ": {} of {} x {}".format(layer["codec"], *layer["coded"])
        parts.append(f"{layer['bytes']} {holds}")
    return parts
