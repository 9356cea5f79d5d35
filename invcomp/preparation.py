"""Prepares a generator for compression: draws, perceptual coordinates, candidates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .bundle import Bundle, Settings
from .calibration import (
    STEPS,
    StageProgress,
    code_images,
    coded_beside,
    drop_coded,
    with_detail_priors,
    with_limits,
    with_priors,
    with_qualities,
)
from .detail_preparation import MapMeasurement
from .device import choose_device, has_fast_bfloat16
from .entropy.calibration import provisional_mixture
from .errors import BundleError, OptionError
from .files import atomic_write
from .generators.base import Generator, draw_classes, sample_of
from .latents.coordinates import perceptual_coordinates
from .latents.prior import Prior, prior_of
from .measurement import perceptual_features
from .perception.features import RESOLUTION, PerceptualFeatures
from .perception.identity import Face
from .preprocessing.frame import CENTRE_CROP, check_frame

SAVE_EVERY = 50  # draws between two checkpoints
CLOSER_WEIGHT = 1.0  # of what is seen at 512 px (docs/experiments.md)


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
        closer: `Settings.closer`: the weight of what is seen at 512 px. None: CLOSER_WEIGHT from
            256 px on, where the domain is not faces.
        face: position of the face in the frame; identity is then a part of the distortion. None:
            the domain is not faces.
        frame: how images are fitted, one of `FRAMES`. None: as those that the generator was trained
            on, or "center-crop" if that is not known.
        detail: measure the channels of inner maps too, so that files can have a detail.
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
    closer: float | None = None
    face: Face | None = None
    frame: str | None = None
    detail: bool = True
    batch: int = 1
    candidates: int = 64
    prior_samples: int = 50_000
    calibration_steps: tuple[int, ...] = STEPS
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("draws", "coordinates", "batch", "candidates", "prior_samples"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}: at least 1 is needed")
        if self.closer is not None:
            check_closer(self.closer, self.face)
        if self.frame is not None:
            check_frame(self.frame)


def check_closer(closer: float, face: Face | None) -> None:
    """Checks the weight of what is seen at 512 px.

    Raises:
        OptionError: it is out of range, or the domain is faces.
    """
    if not 0 <= closer <= 100:
        raise OptionError(f"closer is {closer}: it must be from 0 to 100")
    if closer and face is not None:
        raise OptionError("faces have weights of their own for what is seen at 512 px")


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
    frame = options.frame or generator.frame or CENTRE_CROP
    if (closer := options.closer) is None:
        large = generator.resolution >= RESOLUTION and options.face is None
        closer = CLOSER_WEIGHT if large else 0.0
    options = replace(options, frame=frame, closer=closer)
    prior, samples = prior_of(generator, options.prior_samples, options.tau, options.seed, where)
    drawing = _Drawing(generator, prior, options, where, compiled)
    gradients = drawing.run(_draws_beside(output), progress)  # on the CPU, as what follows
    own = prior.to("cpu")
    coordinates, projection = perceptual_coordinates(gradients, own, options.coordinates)
    starts, start_classes = _starts(samples.cpu(), own, options)
    candidates = (0.8 * starts @ projection).half()
    settings = Settings(
        output.stem,
        options.beta,
        made={"options": asdict(options), "images": len(images)},
        face=options.face,
        frame=frame,
        closer=closer,
    )
    bundle = Bundle(
        generator,
        coordinates,
        provisional_mixture(coordinates.deviations, len(prior.mean)),
        candidates,
        settings,
        start_classes,
    )
    if options.detail:
        features = perceptual_features(settings, generator.resolution).to(where)
        measurement = MapMeasurement(
            generator, features, prior, options.draw_tau, options.seed, where
        )
        told = partial(progress, "detail")
        bundle = replace(bundle, detail=measurement.run(_maps_beside(output), told))
    if images:
        folder, steps = coded_beside(output), options.calibration_steps
        coded = code_images(bundle, images, folder, steps, progress, device, compiled)
        bundle = with_detail_priors(with_priors(bundle, coded), coded)
        bundle = with_limits(with_qualities(bundle, coded), coded)
    return bundle


def drop_work(output: Path) -> None:
    """Deletes the intermediate files beside a bundle's file."""
    _draws_beside(output).unlink(missing_ok=True)
    _maps_beside(output).unlink(missing_ok=True)
    drop_coded(coded_beside(output))


def _draws_beside(output: Path) -> Path:
    return output.with_name(output.name + ".draws")


def _maps_beside(output: Path) -> Path:
    return output.with_name(output.name + ".maps.draws")


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
