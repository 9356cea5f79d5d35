"""Finds bundles and generators: by the path of a file, by a known name, by a fingerprint."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from .bundle import SUFFIX, Bundle, read_bundle, read_metadata, settings_in
from .device import default_modes
from .distilled.aids import SearchAids
from .errors import BundleError, MissingBundleError, OutputError
from .files import cache_directory
from .generators.base import Generator
from .generators.weights import is_generator, load_generator
from .model_zoo.catalogue import KNOWN_MODELS, KnownModel, known_model
from .model_zoo.download import ByteProgress


@default_modes(torch.device("cpu"))
def load_bundle(
    name: str | Path, progress: ByteProgress | None = None, aids: bool = True
) -> Bundle:
    """Loads a bundle by the path of its file or the name of a known model.

    A known model is downloaded and joined on first use, and then kept in the user's cache, unless
    that cannot be written.

    Args:
        name: path or name.
        progress: of a download.
        aids: whether the search aids of a known model are read. A decoder does not need them.

    Raises:
        MissingBundleError: there is no such file or model.
        BundleError: the file is damaged.
        DownloadError: the weights of a known model cannot be downloaded.
    """
    if Path(name).suffix == SUFFIX or Path(name).is_file():
        return read_bundle(Path(name))
    model = known_model(str(name))
    if model.weights is None:
        return _with_aids(read_bundle(model.prepared, known=True), model, aids)
    shipped = read_metadata(model.prepared)
    if model.bundle.is_file():
        try:
            joined = read_metadata(model.bundle)
            if _same(joined, shipped):
                return _with_aids(read_bundle(model.bundle, known=True), model, aids)
        except BundleError:
            pass  # a damaged cache is made again
    bundle = read_bundle(model.prepared, model.fetch_generator(progress))
    with suppress(OutputError):  # a full disk, or a cache that others fill: it is joined each time
        bundle.save(model.bundle)
    return _with_aids(bundle, model, aids)


def _same(joined: dict[str, str], shipped: dict[str, str]) -> bool:
    """Whether the metadata of two files say the same of all that decoding needs."""
    ours, theirs = (
        (file["fingerprint"], file.get("detail"), file["generator"], *settings_in(file))
        for file in (joined, shipped)
    )
    return ours == theirs


def _with_aids(bundle: Bundle, model: KnownModel, wanted: bool) -> Bundle:
    """A known model's bundle with the search aids that ship beside it.

    A proxy uses the encoder network of its original. It does not need a surrogate.
    """
    if model.aids is None or not wanted:
        return bundle
    aids = SearchAids.load(model.aids, bundle.fingerprint)
    if bundle.settings.original is not None:
        aids = SearchAids(aids.encoder)
    return replace(bundle, aids=aids)


def open_generator(name: str | Path, progress: ByteProgress | None = None) -> Generator:
    """Loads a generator alone: of a known model, a bundle, a generator's file, or a training.

    Images are fitted to that of a bundle as the bundle says.

    Args:
        name: name of a known model, an .ivm or .safetensors file, or the folder of `invcomp train`,
            whose best snapshot is used.
        progress: of a download.

    Raises:
        MissingBundleError: there is no such model, file or snapshot.
        BundleError: the file is damaged.
        DownloadError: the weights of a known model cannot be downloaded.
    """
    path = Path(name)
    if path.is_dir():
        path = path / "best.safetensors"
        if not path.is_file():
            raise MissingBundleError(f"{name}: no snapshot of a training in this folder yet")
    stored = path.suffix == SUFFIX or path.is_file()
    if stored and is_generator(path):
        return load_generator(path)
    bundle = read_bundle(path) if stored else load_bundle(name, progress)
    bundle.generator.frame = bundle.generator.frame or bundle.settings.frame
    return bundle.generator


def find_bundle(fingerprint: bytes, proxy: bool = False) -> str:
    """The name or path of the bundle with a fingerprint.

    Args:
        fingerprint: all or its first bytes, as in an .ivc file.
        proxy: find a proxy of the bundle instead.

    Raises:
        MissingBundleError: the bundle is neither a known model nor in the user's cache.
    """
    prefix, damaged = fingerprint.hex(), list[str]()
    for model in KNOWN_MODELS.values():
        if _names(read_metadata(model.prepared), prefix, proxy):
            return model.name
    found: list[Path] = []
    for path in sorted((cache_directory() / "models").glob(f"*{SUFFIX}")):
        try:
            if _names(read_metadata(path), prefix, proxy):
                found.append(path)
        except BundleError:  # it must not hide the others
            damaged.append(path.name)
    if len(found) > 1:  # a damaged copy must not hide a whole one
        found = [path for path in found if _is_whole(path, path.stat().st_mtime_ns)] or found
    if found:
        return str(found[0])
    what = "a proxy of the bundle" if proxy else "the bundle"
    passed = f" (damaged files in the cache: {', '.join(sorted(damaged))})" if damaged else ""
    raise MissingBundleError(
        f"{what} {prefix} that this file was made with is not here{passed}: "
        "give its .ivm file with --model, or install the invcomp version that ships it"
    )


@lru_cache(maxsize=64)
def _is_whole(path: Path, changed: int) -> bool:
    """Whether a bundle, last changed at a time, can be read."""
    try:
        read_bundle(path)
    except BundleError:
        return False
    return True


def _names(metadata: dict[str, str], prefix: str, proxy: bool) -> bool:
    """Whether a bundle has a fingerprint with this prefix, and is a proxy or not."""
    is_proxy = settings_in(metadata)[0].original is not None
    return metadata["fingerprint"].startswith(prefix) and is_proxy == proxy
