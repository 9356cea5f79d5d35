"""Prepares a generator for compression: perceptual coordinates, candidates, priors, qualities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .bitstream import IvcFile, decode
from .bundle import Bundle, Settings
from .codec import Codec
from .device import choose_device, has_fast_bfloat16
from .encoder import EncodeOptions
from .entropy.calibration import provisional_mixture
from .entropy.density import q_step_of
from .errors import BitstreamError, BundleError, MissingBundleError, OptionError
from .files import atomic_write
from .generators.base import Generator, draw_classes, sample_of
from .inversion.options import SearchOptions
from .latents.coordinates import perceptual_coordinates
from .latents.prior import Prior, prior_of
from .measurement import Encoded
from .perception.features import RESOLUTION, PerceptualFeatures
from .perception.identity import Face
from .preprocessing.reading import read_image
from .quality import DEFAULT_STEP_INDEX, fit_steps, quality_of_step_index

StageProgress = Callable[[str, int, int], None]
SAVE_EVERY = 50  # draws between two checkpoints


@dataclass(frozen=True)
class PrepareOptions:
    """Options of `prepare`.

    Attributes:
        draws: backward passes that estimate the perceptual metric of the latents.
        coordinates: K, the number of coordinates that are kept.
        tau: deviation of a layer's own part of the latent, relative to the shared part, in the
            prior.
        draw_tau: the same for the draws. Latents that searches find differ more between layers than
            in the prior that codes them best.
        beta: weight of squared error in the distortion.
        face: position of the face in the frame; identity is then a part of the distortion. None:
            the domain is not faces.
        batch: draws in one graph.
        candidates: number of prior samples that are stored as starts of the search.
        prior_samples: samples of the mapping for mean and covariance.
        calibration_steps: step indices at which the images are coded.
        seed: of all random numbers.
    """

    draws: int = 1200
    coordinates: int = 650
    tau: float = 0.2
    draw_tau: float = 0.3
    beta: float = 0.5
    face: Face | None = None
    batch: int = 1
    candidates: int = 64
    prior_samples: int = 50_000
    calibration_steps: tuple[int, ...] = (62, 82, 108)
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("draws", "coordinates", "batch", "candidates", "prior_samples"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}: at least 1 is needed")


def prepare(
    generator: Generator,
    output: Path,
    options: PrepareOptions = PrepareOptions(),
    images: Sequence[Path] = (),
    progress: StageProgress = lambda stage, done, total: None,
    device: str = "auto",
    compiled: bool = False,
    include_generator: bool = True,
) -> Bundle:
    """Makes a bundle with `make_bundle`, which has the other arguments, and writes it.

    Args:
        include_generator: whether the file contains the generator's weights.

    Raises:
        OptionError, ImageError: see `make_bundle`.
        OutputError: the bundle cannot be written.
    """
    bundle = make_bundle(generator, output, options, images, progress, device, compiled)
    bundle.save(output, generator=include_generator)
    drop_work(output)
    return bundle


def make_bundle(
    generator: Generator,
    output: Path,
    options: PrepareOptions = PrepareOptions(),
    images: Sequence[Path] = (),
    progress: StageProgress = lambda stage, done, total: None,
    device: str = "auto",
    compiled: bool = False,
) -> Bundle:
    """Makes a generator's bundle: perceptual coordinates, priors, qualities.

    An interrupted run continues where it stopped: draws and coded images are kept beside the
    output until `drop_work`.

    Args:
        generator: with the interface of generators/base.py.
        output: the bundle's file, .ivm. Its stem is the bundle's name.
        options: of the preparation.
        images: of the domain, in the generator's frame. Priors are fitted to their integers, the
            table of qualities to their LPIPS. Without images, priors come from the generator's own
            samples, and the table of qualities is linear.
        progress: called with stage, done and total.
        device: that it runs on.
        compiled: use torch.compile.

    Raises:
        OptionError: an option is out of range.
        OutputError: an intermediate file cannot be written.
        ImageError: an image cannot be read.
    """
    where = choose_device(device)
    generator = generator.to(where)
    prior, samples = prior_of(generator, options.prior_samples, options.tau, options.seed, where)
    drawing = _Drawing(generator, prior, options, where, compiled)
    gradients = drawing.run(_draws_beside(output), progress)
    coordinates, projection = perceptual_coordinates(gradients, prior, options.coordinates)
    starts, start_classes = _starts(samples, prior, options)
    candidates = (0.8 * starts @ projection).half()
    settings = Settings(
        output.stem,
        options.beta,
        made={"options": asdict(options), "images": len(images)},
        face=options.face,
    )
    bundle = Bundle(
        generator,
        coordinates.to("cpu"),
        provisional_mixture(coordinates.deviations.cpu(), len(prior.mean)),
        candidates.cpu(),
        settings,
        start_classes,
    )
    if images:
        folder, steps = coded_beside(output), options.calibration_steps
        coded = code_images(bundle, images, folder, steps, progress, device, compiled)
        bundle = with_qualities(with_priors(bundle, coded), coded)
    return bundle


def drop_work(output: Path) -> None:
    """Deletes the intermediate files beside a bundle's file."""
    _draws_beside(output).unlink(missing_ok=True)
    drop_coded(coded_beside(output))


def _draws_beside(output: Path) -> Path:
    return output.with_name(output.name + ".draws")


def _starts(samples: Tensor, prior: Prior, options: PrepareOptions) -> tuple[Tensor, Tensor | None]:
    """Samples minus the mean of their class, [M, d], and their classes, int64 [M] or None.

    All classes occur equally often, or at most once if there are more classes than candidates.
    """
    if samples.ndim == 2:
        return samples[: options.candidates] - prior.mean, None
    source = torch.Generator().manual_seed(options.seed + 2)
    index = torch.arange(options.candidates)
    classes = torch.randperm(len(samples), generator=source)[index % len(samples)]
    drawn = samples[classes, index % (samples.shape[1] // 2)]
    return drawn - prior.mean[classes], classes


class _Drawing:
    """Draws J^T u at latents of the prior, with a checkpoint."""

    def __init__(
        self,
        generator: Generator,
        prior: Prior,
        options: PrepareOptions,
        device: torch.device,
        compiled: bool,
    ) -> None:
        self.generator, self.prior, self.options, self.device = generator, prior, options, device
        self.features = PerceptualFeatures(options.beta, face=options.face).to(device)
        self.resolution = min(RESOLUTION, generator.resolution)
        with torch.no_grad():
            grey = torch.zeros(1, 3, self.resolution, self.resolution, device=device)
            self.size = self.features(grey).shape[1]
        self.project = torch.compile(self._project, dynamic=False) if compiled else self._project
        self.random = torch.Generator().manual_seed(options.seed + 1)
        self.mixed = has_fast_bfloat16(device)
        decisive = ("draw_tau", "beta", "batch", "seed", *(["face"] if options.face else []))
        described = {name: value for name, value in asdict(options).items() if name in decisive}
        self.made_for = json.dumps({**described, "size": generator.latent_size}, sort_keys=True)

    def _project(self, latents: Tensor, directions: Tensor) -> Tensor:
        image = self.generator.forward_reduced(latents, self.resolution)
        projected: Tensor = (self.features(image).float() * directions).sum()
        return projected

    def run(self, checkpoint: Path, progress: StageProgress) -> Tensor:
        """Gradients [draws, D]."""
        drawn = self._resume(checkpoint)
        while (done := sum(map(len, drawn))) < self.options.draws:
            progress("metric", done, self.options.draws)
            drawn.append(self._draw().cpu())
            if done // SAVE_EVERY != (done + self.options.batch) // SAVE_EVERY:
                self._save(checkpoint, drawn)
        self._save(checkpoint, drawn)
        progress("metric", self.options.draws, self.options.draws)
        return torch.cat(drawn)[: self.options.draws]

    def _draw(self) -> Tensor:
        """One batch of J^T u, [batch, D]."""
        count = self.options.batch
        z = torch.randn(count, self.generator.z_size, generator=self.random).to(self.device)
        classes = draw_classes(self.generator, count, self.random)
        classes = None if classes is None else classes.to(self.device)
        with torch.no_grad():
            latents = self.generator.spread(sample_of(self.generator, z, classes))
            if self.prior.layers > 1:
                x = torch.randn(count, self.generator.latent_size, generator=self.random)
                latents = latents + self.options.draw_tau * self.prior.own_parts(x.to(self.device))
        directions = torch.randn(count, self.size, generator=self.random).to(self.device)
        latents.requires_grad_()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            value = self.project(latents, directions)
        return torch.autograd.grad(value, latents)[0]

    def _save(self, path: Path, drawn: list[Tensor]) -> None:
        tensors = {"gradients": torch.cat(drawn), "source": self.random.get_state()}
        with atomic_write(path, force=True) as temporary:
            save_file(tensors, temporary, {"made_for": self.made_for})

    def _resume(self, path: Path) -> list[Tensor]:
        if not path.is_file():
            return []
        try:
            with safe_open(path, "pt") as file:
                if (file.metadata() or {}).get("made_for") != self.made_for:
                    raise BundleError(
                        f"{path} was begun with other options: delete it to start anew"
                    )
                self.random.set_state(file.get_tensor("source"))
                return [file.get_tensor("gradients")]
        except (SafetensorError, OSError) as error:
            raise BundleError(f"{path} is damaged ({error}): delete it to start anew") from error


# Calibration on images -------------------------------------------------------------------------


@dataclass(frozen=True)
class CodedImage:
    """An image coded at one step index.

    Attributes:
        step_index: of q_step.
        integers: that the search found, int [K].
        lpips: LPIPS-Alex of the decoded image.
    """

    step_index: int
    integers: Tensor
    lpips: float


def coded_beside(output: Path) -> Path:
    """The folder of the images that were coded for a bundle that is not yet written."""
    return output.with_name(output.name + ".coded")


def code_images(
    bundle: Bundle,
    images: Sequence[Path],
    folder: Path,
    step_indices: Sequence[int] = PrepareOptions.calibration_steps,
    progress: StageProgress = lambda stage, done, total: None,
    device: str = "auto",
    compiled: bool | None = False,
    search: SearchOptions | None = None,
) -> list[CodedImage]:
    """Codes images at every step index. Files are kept, so that an interrupted run can continue.

    Args:
        bundle: that codes the images.
        images: of the domain, in the generator's frame.
        folder: of the files. They are not deleted.
        step_indices: to code at.
        progress: called with stage, done and total.
        device: that it runs on.
        compiled: see `Codec`.
        search: options of the search; None: the defaults.

    Raises:
        ImageError: an image cannot be read.
        BundleError: an existing file is damaged or of another bundle.
        OutputError: a file cannot be written.
    """
    codec, search = Codec(bundle, device, compiled), search or SearchOptions()
    names = [_name_of(path) for path in images]
    total = len(images) * len(step_indices)
    coded: dict[Path, CodedImage] = {}  # by kept file, which equal images share

    def kept(name: str, step_index: int) -> Path:
        return folder / f"{name}.{step_index}.ivc"

    def add(path: Path, encoded: Encoded, step_index: int) -> None:
        found = decode(IvcFile.unpack(encoded.data), codec.bundle.entropy)
        coded[path] = CodedImage(step_index, torch.from_numpy(found.integers), encoded.lpips)
        progress("calibration", len(coded), total)

    progress("calibration", 0, total)
    missing = sum(not kept(name, index).is_file() for name in names for index in step_indices)
    for step_index in step_indices:
        sources = {kept(name, step_index): path for name, path in zip(names, images, strict=True)}
        there = {path: image for path, image in sources.items() if path.is_file()}
        for path, image in there.items():
            add(path, _measure(codec, read_image(image), path), step_index)
        if there == sources:
            continue
        new = ((path, partial(read_image, sources[path])) for path in sources if path not in there)
        options = EncodeOptions(q_step=q_step_of(step_index), search=search)
        for outcome in codec.stream(new, options, missing):
            encoded = outcome.result()
            with atomic_write(outcome.key) as temporary:
                temporary.write_bytes(encoded.data)
            add(outcome.key, encoded, step_index)
    progress("calibration", total, total)
    return [coded[kept(name, index)] for name in names for index in step_indices]


def drop_coded(folder: Path) -> None:
    """Deletes the files of `code_images`, and their folder if it is empty then."""
    for path in folder.glob("*.ivc"):
        path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def with_priors(bundle: Bundle, coded: Sequence[CodedImage]) -> Bundle:
    """The bundle with the entropy model that codes these images in the fewest bits."""
    pairs = [(image.step_index, image.integers) for image in coded]
    deviations = bundle.coordinates.deviations.cpu()
    return replace(bundle, entropy=bundle.entropy.fitted(pairs, deviations))


def with_qualities(bundle: Bundle, coded: Sequence[CodedImage]) -> Bundle:
    """The bundle with a table that gives a quality the same LPIPS as in other bundles.

    Decoding does not change, so the fingerprint does not either.
    """
    by_step: dict[int, list[float]] = {}
    for image in coded:
        by_step.setdefault(image.step_index, []).append(image.lpips)
    means = {index: fmean(values) for index, values in sorted(by_step.items())}
    steps = fit_steps(means)
    made = {
        "images": len(next(iter(by_step.values()))),
        "lpips": {str(index): mean for index, mean in means.items()},  # by step index, as in JSON
    }
    settings = replace(
        bundle.settings,
        quality_steps=steps,
        default_quality=5 * round(quality_of_step_index(DEFAULT_STEP_INDEX, steps) / 5),
        made={**bundle.settings.made, "quality": made},
    )
    return replace(bundle, settings=settings)


def _measure(codec: Codec, image: Image.Image, kept: Path) -> Encoded:
    try:
        return codec.measure(image, kept.read_bytes())
    except (BitstreamError, MissingBundleError) as error:
        raise BundleError(
            f"{kept} is damaged or of another bundle: delete it to start anew"
        ) from error


def _name_of(path: Path) -> str:
    """A name that says which image it is, by its file's name and its pixels."""
    return f"{path.stem}-{hashlib.sha256(read_image(path).tobytes()).hexdigest()[:16]}"
