"""Writes the site: the page, the decoder in JavaScript, its runtime, and exported models."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..bundle import Bundle
from ..errors import BundleError, OptionError, OutputError
from ..export import export_bundle
from ..files import atomic_write
from .runtime import LICENCE, PACKAGE, VERSION, runtime_files

HERE = Path(__file__).resolve().parent
INDEX, WORKER, MODELS = "index.html", "service_worker.js", "models.json"
NOT_KEPT = (WORKER, "runtime/ort.wasm")  # the page keeps the latter itself, with the networks


def write_site(
    bundles: Sequence[Bundle],
    folder: Path,
    half: bool = False,
    runtime: Path | None = None,
    force: bool = False,
) -> list[dict[str, Any]]:
    """Writes a site that any server of static files can serve.

    Args:
        bundles: the models it decodes with; the first one that fits a file is used first.
        folder: of the site; made if it is missing.
        half: round the models' large weights to float16.
        runtime: the package onnxruntime-web of npm; None: npm fetches it into the user's cache.
        force: whether a site there is replaced.

    Returns:
        The manifests of the models.

    Raises:
        OptionError: there is no bundle, or two have one name.
        DownloadError: the runtime is not there.
        BundleError: a bundle cannot be exported.
        OutputError: a site is there and `force` is False, or it cannot be written.
    """
    names = [folder_name(bundle.settings.name) for bundle in bundles]
    if not names or len({*names}) < len(names):
        raise OptionError(f"a site needs models with names of their own: {', '.join(names)}")
    if (folder / INDEX).exists() and not force:
        raise OutputError(f"{folder / INDEX} already exists")
    files = {**page_files(), **{f"runtime/{k}": v for k, v in runtime_files(runtime).items()}}
    note = f"{PACKAGE} {VERSION}, {LICENCE} licence, from npm.\n"
    files["runtime/README.txt"] = note.encode()
    listed: list[dict[str, Any]] = []
    for name, bundle in zip(names, bundles, strict=True):
        place = f"models/{name}"
        manifest = export_bundle(bundle, folder / place, half, force).manifest
        listed.append({"name": name, "folder": place, "manifest": manifest})
    files[MODELS] = _models(listed, files["runtime/ort.wasm"])
    files[WORKER] = _worker(files)
    for name, data in sorted(files.items(), key=lambda item: item[0] == INDEX):  # the index last
        with atomic_write(folder / name, force=True) as path:
            path.write_bytes(data)
    return [each["manifest"] for each in listed]


def folder_name(name: str) -> str:
    """A bundle's name as that of a folder, whatever it has in it."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "model"


def page_files() -> dict[str, bytes]:
    """The page and the decoder, by their paths on the site.

    Raises:
        BundleError: they are missing.
    """
    root = _assets()
    found = {path.name: path.read_bytes() for path in sorted((root / "page").iterdir())}
    decoder = sorted((root / "src").glob("*.js"))
    return found | {f"decoder/{path.name}": path.read_bytes() for path in decoder}


def _assets() -> Path:
    """The folder web/: in the installed package, or in the source tree."""
    for folder in (HERE / "files", HERE.parent.parent / "web"):
        if (folder / "page" / INDEX).is_file():
            return folder
    raise BundleError("the page's files are missing: the installation is incomplete")


def _models(listed: list[dict[str, Any]], wasm: bytes) -> bytes:
    runtime = {"ort.wasm": hashlib.sha256(wasm).hexdigest()}
    values = {"version": __version__, "runtime": runtime, "models": listed}
    return (json.dumps(values, indent=2) + "\n").encode()


def _worker(files: dict[str, bytes]) -> bytes:
    """The service worker with the list of what it keeps. A changed file makes it another one."""
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name} {len(data)}\n".encode() + data)
    kept = ["./", *sorted({*files} - {*NOT_KEPT})]
    text = files[WORKER].decode()
    text = text.replace("$VERSION", digest.hexdigest()[:16])
    return text.replace("$FILES", json.dumps(kept, indent=2)).encode()
