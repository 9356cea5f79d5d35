"""The bundle: everything that encoder and decoder must share, in one safetensors file (.ivm).

Metadata is JSON, tensors are plain: nothing in a bundle is executed. A bundle whose generator
weights come from elsewhere ships without them (`prepared`) and is joined on first use.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .device import default_modes
from .distilled.aids import SearchAids
from .entropy.density import PriorShape
from .entropy.tables import PriorTables
from .errors import BundleError, InvcompError, MissingBundleError, OptionError
from .files import atomic_write
from .generators.base import Generator
from .generators.weights import FORMAT as GENERATOR_FORMAT
from .generators.weights import (
    build,
    compact,
    describe,
    is_generator,
    load_generator,
    tensors_of,
)
from .latents.coordinates import Coordinates
from .model_zoo.catalogue import KNOWN_MODELS, KnownModel, known_model
from .model_zoo.download import ByteProgress, cache_directory
from .perception.identity import Face
from .quality import LINEAR_STEPS, checked_steps, linear_steps, step_index_of_quality

FORMAT = "invcomp bundle 1"
SUFFIX = ".ivm"


@dataclass(frozen=True)
class Original:
    """The bundle that a proxy stands for: its files are the proxy's, of another size.

    Attributes:
        fingerprint: as hexadecimal digits.
        resolution: of its images.
    """

    fingerprint: str
    resolution: int


@dataclass(frozen=True)
class Settings:
    """The part of a bundle that is not tensors.

    Attributes:
        name: of the bundle, for people.
        beta: weight of squared error in the distortion.
        shape: of the coordinates' prior, as the search's rate term takes it.
        quality_steps: step indices of `inversion.quality.QUALITIES`; between them it is linear.
        default_quality: what `compress` takes when nothing is said.
        made: how the bundle was made, for `models info`.
        original: what the bundle is a proxy of; None: it is none.
        face: where the face is in the frame, and what likeness weighs; None: of another domain.
    """

    name: str
    beta: float = 0.5
    shape: PriorShape = field(default_factory=PriorShape)
    quality_steps: tuple[int, ...] = LINEAR_STEPS
    default_quality: int = 50
    made: dict[str, Any] = field(default_factory=dict)
    original: Original | None = None
    face: Face | None = None

    def step_index(self, quality: float) -> int:
        """The step index of a quality 0..100.

        Raises:
            OptionError: the quality is not in 0..100.
        """
        if not 0 <= quality <= 100:
            raise OptionError(f"quality {quality} is not in 0..100")
        return step_index_of_quality(quality, self.quality_steps)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Settings:
        """The inverse of `dataclasses.asdict` through JSON.

        Raises:
            ValueError, TypeError, KeyError: a file's values are not such settings.
        """
        values = dict(values)
        original, face = values.get("original"), values.get("face")
        if "coarsest" in values:  # of a bundle from before there were tables
            steps: Sequence[int] = linear_steps(values.pop("coarsest"), values.pop("finest"))
        else:
            steps = values["quality_steps"]
        return cls(
            **{
                **values,
                "quality_steps": checked_steps(steps),
                "shape": PriorShape(**values["shape"]),
                "original": None if original is None else Original(**original),
                "face": None if face is None else Face.from_json(face),
            }
        )


@dataclass(frozen=True)
class Bundle:
    """A generator with its perceptual coordinates, priors and starts.

    Attributes:
        generator: G, frozen.
        coordinates: the map from coordinates to latents.
        tables: the integer tables of the range coder. They are stored, never computed anew: no
            rounding of another machine may change a symbol.
        candidates: coordinates of prior samples that the search may start from, [M, K].
        settings: the rest.
        candidate_classes: of each candidate, int64 [M]; None where there is one class only.
        aids: what makes the search fast, if there is anything.
    """

    generator: Generator
    coordinates: Coordinates
    tables: PriorTables
    candidates: Tensor
    settings: Settings
    candidate_classes: Tensor | None = None
    aids: SearchAids = field(default_factory=SearchAids)

    @property
    def resolution(self) -> int:
        """Of the images that its files are made of: a proxy's own are smaller."""
        original = self.settings.original
        return self.generator.resolution if original is None else original.resolution

    @property
    def fingerprint(self) -> bytes:
        """What files name it by: its digest, or that of the bundle that it is a proxy of."""
        original = self.settings.original
        return self.digest if original is None else bytes.fromhex(original.fingerprint)

    @property
    def digest(self) -> bytes:
        """SHA-256 of all that decides what a file decodes to: generator, coordinates, tables."""
        digest = hashlib.sha256(json.dumps(describe(self.generator), sort_keys=True).encode())
        tensors = {**tensors_of(self.generator), **self._own_tensors()}
        for name in ("candidates", "candidate_classes"):
            tensors.pop(name, None)  # where a search starts changes no decoded image
        for name in sorted(tensors):
            tensor = tensors[name].detach().cpu().contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.numpy().tobytes())
        return digest.digest()

    def _own_tensors(self) -> dict[str, Tensor]:
        means = self.coordinates.mean[:, : self._mean_length()]
        slopes, starts = self.tables.slopes, {"candidates": self.candidates}
        if self.candidate_classes is not None:
            starts["candidate_classes"] = self.candidate_classes
        return {
            "coordinates.mean": means[0] if len(means) == 1 else means,
            "coordinates.codes": self.coordinates.codes,
            "coordinates.code_scales": self.coordinates.code_scales,
            "coordinates.deviations": self.coordinates.deviations,
            "tables.frequencies": torch.from_numpy(self.tables.frequencies.astype(np.int32)),
            "tables.scales": torch.from_numpy(self.tables.scales),
            "tables.layout": torch.tensor(
                [self.tables.first_ratio, self.tables.ratio_stride, *self.tables.segment_ends],
                dtype=torch.int32,
            ),
            **({} if slopes is None else {"tables.slopes": torch.from_numpy(slopes)}),
            **starts,
        }

    def _mean_length(self) -> int:
        return self.generator.shared_size or self.generator.latent_size

    def save(self, path: Path, *, generator: bool = True) -> None:
        """Writes the bundle, whole or not at all.

        Args:
            path: of the file, by custom ending in .ivm.
            generator: False leaves the generator's weights out (for `pretrained/`, where they
                are fetched from their own place).

        Raises:
            OutputError: it could not be written.
        """
        tensors = self._own_tensors()
        if generator:
            weights = tensors_of(self.generator)
            tensors |= {name: compact(value.detach()) for name, value in weights.items()}
            tensors |= self.aids.tensors()
        metadata = {
            "format": FORMAT,
            "settings": json.dumps(asdict(self.settings)),
            "generator": json.dumps(describe(self.generator)),
            "resolution": str(self.generator.resolution),
            "fingerprint": self.fingerprint.hex(),
            "digest": self.digest.hex(),
            **(self.aids.metadata() if generator else {}),
        }
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with atomic_write(path, force=True) as temporary:
            save_file(contiguous, temporary, metadata)


@default_modes(torch.device("cpu"))
def load_bundle(
    name: str | Path, progress: ByteProgress | None = None, aids: bool = True
) -> Bundle:
    """A bundle by the path of its file or the name of a known model.

    A known model is fetched and joined on first use and then lies in the user's cache.

    Args:
        name: of the file or model.
        progress: of a download.
        aids: whether a known model's search aids are read: a decoder has no use for them.

    Raises:
        MissingBundleError: there is no such file or name.
        BundleError: the file is damaged.
        DownloadError: a known model's weights could not be fetched.
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
            pass  # a damaged cache is made anew
    bundle = read_bundle(model.prepared, model.fetch_generator(progress))
    bundle.save(model.bundle)
    return _with_aids(bundle, model, aids)


def _same(joined: dict[str, str], shipped: dict[str, str]) -> bool:
    """Whether two files' metadata are of one bundle with the same settings."""
    try:
        ours, theirs = (
            (file["fingerprint"], Settings.from_json(json.loads(file["settings"])))
            for file in (joined, shipped)
        )
    except (KeyError, TypeError, ValueError):
        return False
    return ours == theirs


def _with_aids(bundle: Bundle, model: KnownModel, wanted: bool) -> Bundle:
    """A known model's bundle with the search aids that ship beside it.

    A proxy takes its original's encoder, and has no use for a surrogate.
    """
    if model.aids is None or not wanted:
        return bundle
    aids = SearchAids.load(model.aids, bundle.fingerprint)
    if bundle.settings.original is not None:
        aids = SearchAids(aids.encoder)
    return replace(bundle, aids=aids)


def open_generator(name: str | Path, progress: ByteProgress | None = None) -> Generator:
    """A generator by itself: of a known model, a bundle's file, a file of its own, or a training.

    Args:
        name: a known model's name, an .ivm or .safetensors file, or the directory of `invcomp
            train`, of which it is the best snapshot.
        progress: of a download.

    Raises:
        MissingBundleError: there is no such name, file or snapshot.
        BundleError: the file is damaged.
        DownloadError: a known model's weights could not be fetched.
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
    """The name or path of the bundle that a file names by its fingerprint's first 4 bytes.

    Args:
        fingerprint: or its first bytes.
        proxy: whether its small proxy is asked for, in place of the bundle itself.

    Raises:
        MissingBundleError: it is neither a known model nor in the user's cache.
    """
    prefix = fingerprint.hex()
    for model in KNOWN_MODELS.values():
        if _names(read_metadata(model.prepared), prefix, proxy):
            return model.name
    for path in sorted((cache_directory() / "models").glob(f"*{SUFFIX}")):
        with suppress(BundleError):  # one damaged file must not hide the others
            if _names(read_metadata(path), prefix, proxy):
                return str(path)
    what = "a proxy of the bundle" if proxy else "the bundle"
    raise MissingBundleError(
        f"{what} {prefix} that this file was made with is not here: "
        "give its .ivm file with --model, or install the invcomp version that ships it"
    )


def _names(metadata: dict[str, str], prefix: str, proxy: bool) -> bool:
    """Whether a bundle's files begin their fingerprint so, and it is a proxy or is none."""
    try:
        is_proxy = json.loads(metadata["settings"]).get("original") is not None
        return metadata["fingerprint"].startswith(prefix) and is_proxy == proxy
    except (KeyError, ValueError, AttributeError):
        return False


def read_metadata(path: Path) -> dict[str, str]:
    """A bundle's metadata without its tensors.

    Raises:
        MissingBundleError: no such file.
        BundleError: not a bundle.
    """
    if not path.is_file():
        raise MissingBundleError(f"{path}: no such bundle")
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path}: not a bundle, or damaged ({error})") from error
    if metadata.get("format") == GENERATOR_FORMAT:
        raise BundleError(
            f"{path}: a generator that was not prepared yet: invcomp prepare {path} -o ..."
        )
    if metadata.get("format") != FORMAT:
        raise BundleError(f"{path}: not a bundle of this version")
    return metadata


@default_modes(torch.device("cpu"))
def read_bundle(path: Path, generator: Generator | None = None) -> Bundle:
    """Reads a bundle's file and checks it against its fingerprint.

    Args:
        path: of the file.
        generator: its generator, where the file does not hold one.

    Raises:
        MissingBundleError: no such file.
        BundleError: damaged, or it does not fit the generator.
    """
    metadata = read_metadata(path)
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        settings = Settings.from_json(json.loads(metadata["settings"]))
        generator = generator or build(json.loads(metadata["generator"]), tensors)
        mean = tensors["coordinates.mean"]
        means = mean if mean.ndim == 2 else mean[None]  # [C, d]
        if len(means) != max(generator.classes, 1):
            raise ValueError(f"means of {len(means)} classes, {generator.classes} in the generator")
        coordinates = Coordinates(
            means.repeat(1, generator.latent_size // means.shape[1]),
            *(tensors[f"coordinates.{part}"] for part in ("codes", "code_scales", "deviations")),
        )
        bundle = Bundle(
            generator,
            coordinates,
            _read_tables(tensors, len(means)),
            tensors["candidates"],
            settings,
            tensors.get("candidate_classes"),
            SearchAids.of(metadata, tensors),
        )
        # files from before proxies have their digest under the name of fingerprint alone
        matches = bundle.digest.hex() == metadata.get("digest", metadata["fingerprint"])
    except InvcompError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise BundleError(f"{path}: damaged bundle ({error})") from error
    if not matches:
        raise BundleError(f"{path}: its contents do not match its fingerprint")
    return bundle


def _read_tables(tensors: dict[str, Tensor], classes: int) -> PriorTables:
    first_ratio, ratio_stride, *segment_ends = tensors["tables.layout"].tolist()
    return PriorTables(
        tensors["tables.frequencies"].numpy().astype(np.uint32),
        first_ratio,
        ratio_stride,
        tensors["tables.scales"].numpy(),
        classes,
        tensors["tables.slopes"].numpy() if "tables.slopes" in tensors else None,
        tuple(segment_ends),
    )
