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
from .packages import QR_READER, RUNTIME, WEBGPU_RUNTIME

HERE = Path(__file__).resolve().parent
INDEX, WORKER, MODELS = "index.html", "service_worker.js", "models.json"
NETWORK_RUNTIMES = ("ort.wasm", "ort-webgpu.wasm")  # the page keeps them, with the networks
NOTES = "runtime/README.txt"


def write_site(
    bundles: Sequence[Bundle],
    folder: Path,
    half: bool = False,
    runtime: Path | None = None,
    qr_reader: Path | None = None,
    webgpu: bool = False,
    force: bool = False,
) -> list[dict[str, Any]]:
    """Writes a site that any server of static files can serve.

    Args:
        bundles: the models it decodes with; the first one that fits a file is used first.
        folder: of the site; made if it is missing.
        half: round the models' large weights to float16 and int8.
        runtime: the package onnxruntime-web of npm; None: npm fetches it into the user's cache.
        qr_reader: the package zxing-wasm of npm, likewise.
        webgpu: add what runs networks on graphics cards: 27 MB.
        force: whether a site there is replaced.

    Returns:
        The manifests of the models.

    Raises:
        OptionError: there is no bundle, or two have one name.
        DownloadError: one of the packages is not there.
        BundleError: a bundle cannot be exported.
        OutputError: a site is there and `force` is False, or it cannot be written.
    """
    names = [folder_name(bundle.settings.name) for bundle in bundles]
    if not names or len({*names}) < len(names):
        raise OptionError(f"a site needs models with names of their own: {', '.join(names)}")
    if (folder / INDEX).exists() and not force:
        raise OutputError(f"{folder / INDEX} already exists")
    files = page_files() | package_files(runtime, qr_reader, webgpu)
    listed: list[dict[str, Any]] = []
    for name, bundle in zip(names, bundles, strict=True):
        place = f"models/{name}"
        manifest = export_bundle(bundle, folder / place, half, force).manifest
        listed.append({"name": name, "folder": place, "manifest": manifest})
    files[MODELS] = _models(listed, files)
    files[WORKER] = _worker(files)
    for name, data in sorted(files.items(), key=lambda item: item[0] == INDEX):  # the index last
        with atomic_write(folder / name, force=True) as path:
            path.write_bytes(data)
    return [each["manifest"] for each in listed]


def folder_name(name: str) -> str:
    """A bundle's name as that of a folder, whatever it has in it."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "model"


def package_files(
    runtime: Path | None = None, qr_reader: Path | None = None, webgpu: bool = False
) -> dict[str, bytes]:
    """The files from npm by their paths on the site, with a note of what they are.

    Raises:
        DownloadError: a package is not there, or is another one.
    """
    given = [(RUNTIME, runtime), (QR_READER, qr_reader)]
    given += [(WEBGPU_RUNTIME, runtime)] if webgpu else []
    lines = {f"{each.name} {each.version}, {each.licence} licence, from npm." for each, _ in given}
    files = {NOTES: ("\n".join(sorted(lines)) + "\n").encode()}
    for package, path in given:
        files |= package.read(path)
    return files


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


def _models(listed: list[dict[str, Any]], files: dict[str, bytes]) -> bytes:
    runtime = {
        name: hashlib.sha256(files[f"runtime/{name}"]).hexdigest()
        for name in NETWORK_RUNTIMES
        if f"runtime/{name}" in files
    }
    values = {"version": __version__, "runtime": runtime, "models": listed}
    return (json.dumps(values, indent=2) + "\n").encode()


def _worker(files: dict[str, bytes]) -> bytes:
    """The service worker with the list of what it keeps. A changed file makes it another one."""
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name} {len(data)}\n".encode() + data)
    left = {WORKER, *(f"runtime/{name}" for name in NETWORK_RUNTIMES)}
    kept = ["./", *sorted({*files} - left)]
    text = files[WORKER].decode()
    text = text.replace("$VERSION", digest.hexdigest()[:16])
    return text.replace("$FILES", json.dumps(kept, indent=2)).encode()
