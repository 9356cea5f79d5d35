"""Finds bundles and generators: by the path of a file, by a known name, by a fingerprint."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from .bundle import SUFFIX, Bundle, read_bundle, read_metadata, settings_in
from .device import default_modes
from .distilled.aids import SearchAids
from .errors import BundleError, MissingBundleError
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

    A known model is downloaded and joined on first use, and then kept in the user's cache.

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
        return _with_aids(read_bundle(model.prepared), model, aids)
    shipped = read_metadata(model.prepared)
    if model.bundle.is_file():
        try:
            joined = read_metadata(model.bundle)
            if _same(joined, shipped):
                return _with_aids(read_bundle(model.bundle), model, aids)
        except BundleError:
            pass  # a damaged cache is made again
    bundle = read_bundle(model.prepared, model.fetch_generator(progress))
    bundle.save(model.bundle)
    return _with_aids(bundle, model, aids)


def _same(joined: dict[str, str], shipped: dict[str, str]) -> bool:
    """Whether the metadata of two files have the same fingerprint, detail and settings."""
    try:
        ours, theirs = (
            (file["fingerprint"], file.get("detail"), *settings_in(file))
            for file in (joined, shipped)
        )
    except (KeyError, TypeError, ValueError):
        return False
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
    if path.suffix == SUFFIX or path.is_file():
        return load_generator(path) if is_generator(path) else read_bundle(path).generator
    return load_bundle(name, progress).generator


def find_bundle(fingerprint: bytes, proxy: bool = False) -> str:
    """The name or path of the bundle with a fingerprint.

    Args:
        fingerprint: all or its first bytes, as in an .ivc file.
        proxy: find a proxy of the bundle instead.

    Raises:
        MissingBundleError: the bundle is neither a known model nor in the user's cache.
    """
    prefix = fingerprint.hex()
    for model in KNOWN_MODELS.values():
        if _names(read_metadata(model.prepared), prefix, proxy):
            return model.name
    for path in sorted((cache_directory() / "models").glob(f"*{SUFFIX}")):
        with suppress(BundleError):  # a damaged file must not hide the others
            if _names(read_metadata(path), prefix, proxy):
                return str(path)
    what = "a proxy of the bundle" if proxy else "the bundle"
    raise MissingBundleError(
        f"{what} {prefix} that this file was made with is not here: "
        "give its .ivm file with --model, or install the invcomp version that ships it"
    )


def _names(metadata: dict[str, str], prefix: str, proxy: bool) -> bool:
    """Whether a bundle has a fingerprint with this prefix, and is a proxy or not."""
    try:
        is_proxy = json.loads(metadata["settings"]).get("original") is not None
        return metadata["fingerprint"].startswith(prefix) and is_proxy == proxy
    except (KeyError, ValueError, AttributeError):
        return False
