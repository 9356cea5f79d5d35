"""Finds models that ship with the package or were downloaded into the user's cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import BundleError, MissingBundleError
from ..files import cache_directory
from ..generators.base import Generator
from ..importers.dcgan import read_eye_generator, read_face_generator
from ..importers.openvino_ir import read_random_face
from .download import ByteProgress, PinnedFile, fetch

PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class KnownModel:
    """A generator known by name.

    Attributes:
        name: for users.
        description: one line.
        licence: one line; details are in NOTICE.
        weights: where its weights are downloaded from; None: they ship in pretrained/.
        read: builds the generator from the downloaded file.
        example: an example image in pretrained/.
        aided_by: the model whose search aids it uses; for a proxy, that of its large model.
        equalled_from: size of a file in bytes from which on a conventional codec shows the domain
            as well, by a metric that no search optimises (docs/benchmarks.md); None: not measured.
        equalled_by: that metric.
    """

    name: str
    description: str
    licence: str
    example: str
    weights: PinnedFile | None = None
    read: Callable[[Path], Generator] | None = None
    aided_by: str | None = None
    equalled_from: int | None = None
    equalled_by: str = "LPIPS-VGG"

    @property
    def prepared(self) -> Path:
        """The file in pretrained/ with its coordinates and priors."""
        return pretrained_path(f"{self.name}.safetensors")

    @property
    def aids(self) -> Path | None:
        """The file in pretrained/ with its search aids, if there is one."""
        try:
            return pretrained_path(f"{self.aided_by or self.name}-search.safetensors")
        except BundleError:
            return None

    @property
    def bundle(self) -> Path:
        """Path of the complete bundle: in pretrained/, or in the cache after the download."""
        if self.weights is None:
            return self.prepared
        return cache_directory() / "models" / f"{self.name}.ivm"

    def fetch_generator(self, progress: ByteProgress | None = None) -> Generator:
        """The generator; downloads its weights if necessary.

        Raises:
            DownloadError: the download failed.
            BundleError: the downloaded file does not contain it.
        """
        if self.weights is None or self.read is None:
            raise BundleError(
                f"{self.name}: its weights ship with the package, there is nothing to download"
            )
        return self.read(fetch(self.weights, progress))


KNOWN_MODELS = {
    model.name: model
    for model in [
        KnownModel(
            name="faces-1024",
            description="faces aligned as in FFHQ, 1024 px: MobileStyleGAN of `random-face`",
            licence="Apache-2.0; teacher (StyleGAN2) and FFHQ non-commercial: see NOTICE",
            example="portrait.jpg",
            weights=PinnedFile(
                project="random-face",
                version="2021.7.21.1",
                filename="random_face-2021.7.21.1-py3-none-any.whl",
                sha256="e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
                size=37_588_926,
            ),
            read=read_random_face,
            equalled_from=3000,
            equalled_by="face recognition",
        ),
        KnownModel(
            name="faces-128",
            description="small proxy of faces-1024, 128 px: same files, weights included",
            licence="Apache-2.0, with the limits of faces-1024, its source: see NOTICE",
            example="portrait.jpg",
            aided_by="faces-1024",
        ),
        KnownModel(
            name="avatars-64",
            description="Open Peeps avatars, 64 px: trained by this project, weights included",
            licence="CC0 1.0, like the avatars",
            example="avatar.png",
        ),
        KnownModel(
            name="clothing-256",
            description="tops as people photograph them, 256 px: trained by this project, "
            "weights included",
            licence="CC0 1.0, like the photographs",
            example="shirt.jpg",
            equalled_from=1100,
        ),
        KnownModel(
            name="dcgan-faces-64",
            description="faces, 64 px, rough: the DCGAN of `gan-face-generate`",
            licence="MIT; trained on DigiFace-1M, which has its own terms: see NOTICE",
            example="portrait.jpg",
            weights=PinnedFile(
                project="gan-face-generate",
                version="1.1.1",
                filename="gan_face_generate-1.1.1-py3-none-any.whl",
                sha256="24102f4be41d164e44251168ede0458a45e498a888c81493e2aea48529640569",
                size=13_306_246,
            ),
            read=read_face_generator,
        ),
        KnownModel(
            name="dcgan-eyes-128",
            description="painted eyes in 8 colours, 128 px, rough: `omniart-eye-generator`",
            licence="MIT; trained on the OmniArt eye data set: see NOTICE",
            example="portrait.jpg",
            weights=PinnedFile(
                project="omniart-eye-generator",
                version="0.1",
                filename="omniart_eye_generator-0.1-py3-none-any.whl",
                sha256="e21910eb2ea8ce1eeadd037454fafd5bb7cee28cee7ed07f14d897b67971fd74",
                size=47_981_950,
            ),
            read=read_eye_generator,
        ),
    ]
}


def known_model(name: str) -> KnownModel:
    """The known model called `name`.

    Raises:
        MissingBundleError: there is none.
    """
    if name not in KNOWN_MODELS:
        names = ", ".join(KNOWN_MODELS)
        raise MissingBundleError(f"no model {name}: neither a file nor one of {names}")
    return KNOWN_MODELS[name]


def example_of(name: str) -> str:
    """The example image of a model in pretrained/; for unknown models, the portrait."""
    return (KNOWN_MODELS.get(name) or KNOWN_MODELS["faces-1024"]).example


def pretrained_path(name: str) -> Path:
    """The file `name` in pretrained/: in the installed package, or next to it in a source tree.

    Raises:
        BundleError: there is no such file.
    """
    for folder in (PACKAGE / "pretrained", PACKAGE.parent / "pretrained"):
        if (folder / name).is_file():
            return folder / name
    raise BundleError(f"pretrained/{name} is missing: the installation is incomplete")
