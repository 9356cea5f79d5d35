"""The bundle: everything that encoder and decoder must share, in one safetensors file (.ivm).

Metadata is JSON and tensors are plain, so nothing in a bundle is executed. If the generator's
weights come from another source, a bundle ships without them (`prepared`) and is joined on first
use.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .device import default_modes
from .distilled.aids import SearchAids
from .domain import DomainLimits
from .entropy.mixture import LaplaceMixture
from .entropy.model import EntropyModel
from .errors import BundleError, InvcompError, MissingBundleError, OptionError
from .files import atomic_write
from .generators.base import LARGEST_SIDE, Generator
from .generators.weights import FORMAT as GENERATOR_FORMAT
from .generators.weights import build, compact, describe, tensors_of
from .latents.coordinates import Coordinates
from .latents.detail import Detail
from .perception.identity import Face
from .preprocessing.frame import CENTRE_CROP, FRAMES
from .quality import LINEAR_STEPS, checked_steps, linear_steps, step_index_of_quality
from .stored import array, digest, json_object, number, one_line

FORMAT = "invcomp bundle 1"
SUFFIX = ".ivm"
MOST_TENSORS = 1 << 14
LONGEST_NAME = 200  # letters
OLDER_SETTINGS = {"coarsest", "finest"}  # of bundles without a table of qualities


@dataclass(frozen=True)
class Original:
    """The bundle that a proxy belongs to. Both decode the same files, to different sizes.

    Attributes:
        fingerprint: as hexadecimal digits.
        resolution: of its images.
    """

    fingerprint: str
    resolution: int

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Original:
        """The inverse of `dataclasses.asdict` through JSON.

        Raises:
            ValueError, TypeError, KeyError: the values name no bundle.
        """
        resolution = number(values["resolution"], 1, LARGEST_SIDE, "resolution of the original")
        return cls(digest(values["fingerprint"], "fingerprint of the original"), int(resolution))


@dataclass(frozen=True)
class Settings:
    """The settings of a bundle: all that is not tensors, and not of its entropy model.

    Attributes:
        name: of the bundle, for messages.
        beta: weight of squared error in the distortion.
        quality_steps: step indices of `quality.QUALITIES`, linear between them.
        default_quality: that `compress` uses by default.
        made: how the bundle was made, for `models info`.
        original: the bundle that this one is a proxy of; None: it is not a proxy.
        face: position of the face in the frame, and weights of identity; None: the domain is not
            faces.
        frame: how images are fitted to the generator's frame, one of `FRAMES`.
        limits: what decoded images of the domain reach; None: it was not measured.
        closer: weight, in the search, of LPIPS and MSE of the image at 512 px; of a smaller one,
            enlarged. 0: none. Bundles of faces have `Face.around` instead.
    """

    name: str
    beta: float = 0.5
    quality_steps: tuple[int, ...] = LINEAR_STEPS
    default_quality: int = 50
    made: dict[str, Any] = field(default_factory=dict)
    original: Original | None = None
    face: Face | None = None
    frame: str = CENTRE_CROP
    limits: DomainLimits | None = None
    closer: float = 0.0

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
            ValueError, TypeError, KeyError: the values are not settings.
            BundleError: this version cannot fit images as they say.
        """
        values = dict(values)
        original, face, limits = (values.get(name) for name in ("original", "face", "limits"))
        if not isinstance(values["name"], str) or len(values["name"]) > LONGEST_NAME:
            raise ValueError("its name is no short text")
        if not isinstance(values.get("made", {}), dict):
            raise ValueError("how it was made is no object")
        numbers = {"beta": 1e6, "default_quality": 100, "closer": 100}
        for setting, most in numbers.items():
            if setting in values:
                number(values[setting], 0, most, setting)
        if (frame := values.get("frame", CENTRE_CROP)) not in FRAMES:
            name = values.get("name")
            raise BundleError(f"{name}: fits images by {frame!r}, which this version does not know")
        if values.keys() >= OLDER_SETTINGS:
            ends = (number(values.pop(name), 0, 255, name) for name in ("coarsest", "finest"))
            steps: Sequence[int] = linear_steps(*map(int, ends))
        else:
            steps = values["quality_steps"]
        return cls(
            **{
                **values,
                "quality_steps": checked_steps(steps),
                "original": None if original is None else Original.from_json(original),
                "face": None if face is None else Face.from_json(face),
                "limits": None if limits is None else DomainLimits.from_json(limits),
            }
        )


@dataclass(frozen=True)
class Bundle:
    """A generator with its perceptual coordinates, prior and candidates.

    Attributes:
        generator: G, frozen.
        coordinates: the map from coordinates to latents.
        entropy: the entropy model of the coordinates.
        candidates: stored starts, coordinates of prior samples, [M, K].
        settings: the rest.
        candidate_classes: class of each candidate, int64 [M]; None if there is only one class.
        aids: optional networks that make the search faster.
        detail: offsets of inner maps that files may have too; None: they have a vector alone.
    """

    generator: Generator
    coordinates: Coordinates
    entropy: EntropyModel
    candidates: Tensor
    settings: Settings
    candidate_classes: Tensor | None = None
    aids: SearchAids = field(default_factory=SearchAids)
    detail: Detail | None = None

    @property
    def resolution(self) -> int:
        """Of the images that its files are made from. The images of a proxy are smaller."""
        original = self.settings.original
        return self.generator.resolution if original is None else original.resolution

    @property
    def fingerprint(self) -> bytes:
        """The digest by which files name the bundle. That of a proxy is its original's."""
        original = self.settings.original
        return self.digest if original is None else bytes.fromhex(original.fingerprint)

    @property
    def digest(self) -> bytes:
        """SHA-256 of all that determines a decoded image: generator, coordinates, entropy model.

        The detail has a digest of its own, so that a bundle can be given one afterwards.
        """
        found = hashlib.sha256(json.dumps(describe(self.generator), sort_keys=True).encode())
        tensors = {**tensors_of(self.generator), **self._own_tensors()}
        for name in ("candidates", "candidate_classes"):
            tensors.pop(name, None)  # they do not change decoded images
        for name in sorted(tensors):
            tensor = tensors[name].detach().cpu().contiguous()
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            found.update(tensor.numpy().tobytes())
        return found.digest()

    def _own_tensors(self) -> dict[str, Tensor]:
        means = self.coordinates.mean[:, : self._mean_length()]
        starts = {"candidates": self.candidates}
        if self.candidate_classes is not None:
            starts["candidate_classes"] = self.candidate_classes
        return {
            "coordinates.mean": means[0] if len(means) == 1 else means,
            "coordinates.codes": self.coordinates.codes,
            "coordinates.code_scales": self.coordinates.code_scales,
            "coordinates.deviations": self.coordinates.deviations,
            **{name: torch.from_numpy(array) for name, array in self.entropy.arrays().items()},
            **starts,
        }

    def _mean_length(self) -> int:
        return self.generator.shared_size or self.generator.latent_size

    def save(self, path: Path, *, generator: bool = True) -> None:
        """Writes the bundle atomically.

        Args:
            path: of the file, usually ending in .ivm.
            generator: False leaves out the generator's weights, for `pretrained/`. They are then
                downloaded from their own source.

        Raises:
            OutputError: the file cannot be written.
        """
        tensors = self._own_tensors()
        if self.detail is not None:
            tensors |= self.detail.tensors()
        if generator:
            weights = tensors_of(self.generator)
            tensors |= {name: compact(value.detach()) for name, value in weights.items()}
            tensors |= self.aids.tensors()
        metadata = {
            "format": FORMAT,
            "settings": json.dumps({**asdict(self.settings), **self.entropy.settings()}),
            "generator": json.dumps(describe(self.generator)),
            "resolution": str(self.generator.resolution),
            "fingerprint": self.fingerprint.hex(),
            "digest": self.digest.hex(),
            **({} if self.detail is None else {"detail": self.detail.digest.hex()}),
            **(self.aids.metadata() if generator else {}),
        }
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with atomic_write(path, force=True) as temporary:
            save_file(contiguous, temporary, metadata)


def settings_in(metadata: dict[str, str]) -> tuple[Settings, dict[str, Any]]:
    """The settings of a bundle, and those of its entropy model, which are all others.

    Raises:
        ValueError, TypeError, KeyError: there are none.
    """
    values = json_object(metadata["settings"])
    own = {each.name for each in fields(Settings)} | OLDER_SETTINGS
    entropy = {name: value for name, value in values.items() if name not in own}
    return Settings.from_json({name: values[name] for name in own & values.keys()}), entropy


def read_metadata(path: Path) -> dict[str, str]:
    """Reads the metadata of a bundle without its tensors.

    Its fingerprint is a SHA-256, its resolution a number, and settings and generator are JSON.

    Raises:
        MissingBundleError: there is no such file.
        BundleError: the file is not a bundle, or damaged.
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
    try:
        digest(metadata["fingerprint"], "the fingerprint")
        settings_in(metadata)
        json_object(metadata["generator"])
        number(int(metadata.get("resolution", "1")[:6]), 1, LARGEST_SIDE, "resolution")
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    except Exception as error:  # a hostile file can raise anything
        raise BundleError(f"{path}: damaged bundle ({one_line(error)})") from error
    return metadata


@default_modes(torch.device("cpu"))
def read_bundle(path: Path, generator: Generator | None = None, known: bool = False) -> Bundle:
    """Reads a bundle's file and checks all of it, and its digest.

    Args:
        path: of the file.
        generator: of the bundle, if the file does not contain its weights.
        known: whether its generator is described as in a file that ships: its size is then known,
            and is not counted by a pass without data, which takes up to 0.2 s.

    Raises:
        MissingBundleError: there is no such file.
        BundleError: the file is damaged, or does not fit the generator.
    """
    metadata = read_metadata(path)
    try:
        bundle = _assembled(path, metadata, generator, known)
        # files older than proxies store the digest as fingerprint only
        matches = bundle.digest.hex() == metadata.get("digest", metadata["fingerprint"])
        if bundle.detail is not None:
            matches &= bundle.detail.digest.hex() == metadata["detail"]
    except InvcompError as error:
        raise BundleError(f"{path}: {error}") from error
    except Exception as error:  # a hostile file can raise anything
        raise BundleError(f"{path}: damaged bundle ({one_line(error)})") from error
    if not matches:
        raise BundleError(f"{path}: its contents do not match its fingerprint")
    return bundle


def _assembled(
    path: Path, metadata: dict[str, str], generator: Generator | None, known: bool
) -> Bundle:
    """The bundle of a file. Each part is checked as it is made of the file's tensors.

    Raises:
        InvcompError, KeyError, TypeError, ValueError, RuntimeError, OSError: the file is damaged.
    """
    with safe_open(path, "pt") as file:
        names = file.keys()
        if len(names) > MOST_TENSORS:
            raise ValueError(f"{len(names)} tensors")
        tensors = {name: file.get_tensor(name) for name in names}
    settings, of_entropy = settings_in(metadata)
    generator = generator or build(json_object(metadata["generator"]), tensors, known)
    coordinates = Coordinates.of(tensors, generator)
    arrays = {name: tensors[name].numpy() for name in tensors if name.startswith("tables.")}
    entropy = LaplaceMixture.of(arrays, of_entropy, coordinates.classes)
    if entropy.count != coordinates.count:
        raise ValueError(f"tables of {entropy.count} coordinates, of {coordinates.count}")
    candidates, classes = tensors["candidates"], tensors.get("candidate_classes")
    if candidates.shape != (0, coordinates.count):
        array(candidates, "candidates", "float16 float32", None, coordinates.count)
    if classes is not None:
        array(classes, "candidate_classes", "int64", len(candidates))
        number(int(classes.min()), 0, coordinates.classes - 1, "a candidate's class")
        number(int(classes.max()), 0, coordinates.classes - 1, "a candidate's class")
    aids = SearchAids.of(metadata, tensors).matching(generator, coordinates.count)
    detail = Detail.of(tensors, generator)
    return Bundle(generator, coordinates, entropy, candidates, settings, classes, aids, detail)
