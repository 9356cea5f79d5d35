"""The encoder: images to .ivc bytes by the search. Each file is measured after decoding it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
from torch import Tensor

from .decoder import Decoder
from .device import default_modes, has_fast_bfloat16, repays_compiling
from .entropy.density import q_step_of, step_index_of
from .errors import GoalError, ImageWarning, OptionError
from .fitting import Fitted, fit_image
from .generators.base import reduce_images
from .inversion.control import Control, FixedStep
from .inversion.distortion import Distortion
from .inversion.options import Goal, SearchOptions
from .inversion.progress import ProgressCallback
from .inversion.quantiser import Quantiser
from .inversion.rate_control import ByteControl, LpipsControl
from .inversion.search import Search
from .latents.detail import DetailedGenerator
from .measurement import Encoded, FileMeter, perceptual_features
from .perception.faces import face_networks
from .perception.features import PerceptualFeatures
from .preprocessing.frame import CENTRE_CROP, FACE, check_frame
from .preprocessing.region import region
from .runner import ImageLike, Input, Outcome, Runner, StreamCallback

BATCH = 64  # images in one graph, at most


@dataclass(frozen=True)
class EncodeOptions:
    """How images are compressed.

    Attributes:
        quality: 0 to 100. The default is the bundle's, if no q_step is given.
        q_step: the quantiser's step instead of a quality, 2^(-255/16) to 1.
        goal: a size or an LPIPS instead of a quality.
        mask: region of interest: an image in which white weighs more in the search, or
            "faces-oval", the oval of the face in the frame of portraits. LPIPS and PSNR are still
            those of the whole image.
        search: options of the search.
        batch: number of images in one graph. None: one on a CPU; on a GPU, as many as its memory
            holds. If memory runs out, the batch is halved.
        frame: how images are fitted, one of `FRAMES`. None: as the bundle says.
        face: which face of an image is compressed, 1 for the largest. None: the largest, with a
            warning if there are others.
    """

    quality: float | None = None
    q_step: float | None = None
    goal: Goal | None = None
    mask: ImageLike | str | None = None
    search: SearchOptions = field(default_factory=SearchOptions)
    batch: int | None = None
    frame: str | None = None
    face: int | None = None

    def __post_init__(self) -> None:
        if self.goal is not None and (self.quality is not None or self.q_step is not None):
            raise OptionError("quality, q_step and a goal exclude each other")
        if self.batch is not None and self.batch < 1:
            raise OptionError(f"batch is {self.batch}: at least 1 is needed")
        if self.frame is not None:
            check_frame(self.frame)
        if self.face is not None and self.face < 1:
            raise OptionError(f"face {self.face}: 1 is the largest")


@dataclass(frozen=True)
class _Plan:
    """Checked options, for all batches of a stream."""

    searcher: Search
    search: SearchOptions
    step_index: int  # to begin with
    goal: Goal | None
    region: Tensor | None
    total: int | None  # images


class Encoder:
    """Compresses images of one domain.

    Args:
        decoder: of the bundle. It decodes every file, for the metrics.
        compiled: use torch.compile in the search. None: on a CPU with a C++ compiler, for
            a generator of 512 px or more in bfloat16, or for 30 images or more
            (`device.repays_compiling`). A stream of unknown length counts as one image.
    """

    def __init__(self, decoder: Decoder, compiled: bool | None = None) -> None:
        self.decoder, self.compiled = decoder, compiled
        self.bundle, self.device = decoder.bundle, decoder.device
        self.generator = decoder.generator
        self._search: Search | None = None
        self._runner = Runner(self.device)

    def step_index(self, quality: float | None = None, q_step: float | None = None) -> int:
        """The step index of a quality 0..100 or of a q_step; by default the bundle's default.

        Raises:
            OptionError: both are given, or one is out of range.
        """
        if q_step is None:
            settings = self.bundle.settings
            return settings.step_index(settings.default_quality if quality is None else quality)
        if quality is not None:
            raise OptionError("quality and q_step exclude each other")
        if not q_step_of(255) <= q_step <= 1:
            raise OptionError(f"q_step {q_step} is not in {q_step_of(255):.2g}..1")
        return step_index_of(q_step)

    def encode(
        self,
        images: Sequence[ImageLike],
        *,
        quality: float | None = None,
        q_step: float | None = None,
        goal: Goal | None = None,
        mask: ImageLike | str | None = None,
        search: SearchOptions | None = None,
        batch: int | None = None,
        frame: str | None = None,
        face: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> Iterator[Encoded]:
        """Compresses images and yields each file with its metrics when it is done.

        Options are those of `EncodeOptions`. They are checked when this is called. Notes of fitting
        and `Encoded.doubt` are given as an `ImageWarning`.

        Args:
            images: of the kinds that `Codec.compress` takes.
            progress: called after every iteration of the search.

        Raises:
            ImageError: an image is of another kind.
            FrameError: no face of an image can be coded, in a domain of faces.
            OptionError: an option is out of range, or one image needs too much of the GPU's memory.
            GoalError: no file of an image meets the goal. Later images are not yielded.
        """
        options = EncodeOptions(
            quality, q_step, goal, mask, search or SearchOptions(), batch, frame, face
        )
        told = None if progress is None else lambda state: progress(state.search)
        outcomes = self.stream(enumerate(images), options, len(images), told)
        return map(_result, outcomes)

    def stream(
        self,
        inputs: Iterable[Input],
        options: EncodeOptions = EncodeOptions(),
        total: int | None = None,
        progress: StreamCallback | None = None,
    ) -> Generator[Outcome, None, None]:
        """Compresses images as they come: for each a file or an error, in the same order.

        Options are checked when this is called. An image that cannot be read, or whose goal cannot
        be met, does not affect the others.

        Args:
            inputs: pairs of a key, which can be anything, and an image of the kinds that
                `Codec.compress` takes, or a function without arguments that returns one. They are
                read as they are needed, at most one batch ahead, in another thread. There may be
                any number of them.
            options: for all images.
            total: number of images, if it is known. It decides whether the search is compiled,
                for which None counts as one image. If so, a smaller last batch is padded with
                copies.
            progress: called after every iteration of the search.

        Raises:
            ImageError: the mask is not an image.
            OptionError: an option is out of range, or one image needs too much of the GPU's memory.
        """
        index, search = self.step_index(options.quality, options.q_step), options.search
        if (options.frame or self.bundle.settings.frame) == FACE:
            face_networks()  # here, and not in the thread that reads
        with default_modes(self.device):
            weights = None
            if options.mask is not None:
                frame = options.frame or self.bundle.settings.frame
                frame = CENTRE_CROP if frame == FACE else frame  # masks lie in the aligned frame
                weights = region(options.mask, self.generator.resolution, frame)
            searcher = self.searcher(search, 1 if total is None else total)
            searcher.check(search)
            batch = options.batch or self.batch_for(total)
        plan = _Plan(searcher, search, index, options.goal, weights, total)
        return self._runner.run(
            inputs,
            partial(self.fit, frame=options.frame, face=options.face),
            partial(self._encode_batch, plan),
            batch,
            total,
            progress,
        )

    def fit(self, image: ImageLike, frame: str | None = None, face: int | None = None) -> Fitted:
        """The image in the bundle's frame, or in another one; see `fit_image`.

        Raises:
            ImageError: not an image that `compress` takes.
            FrameError: no face of it can be coded, in a domain of faces.
        """
        frame = self.bundle.settings.frame if frame is None else frame
        return fit_image(image, self.bundle.resolution, frame, face)

    def _encode_batch(
        self,
        plan: _Plan,
        images: Sequence[Fitted],
        batch: int,
        progress: ProgressCallback | None,
    ) -> list[Encoded | GoalError]:
        """The file of each image, or why there is none."""
        started = time.perf_counter()
        # a smaller batch would be compiled again
        padded = self.compiled and (plan.total is None or batch < plan.total)
        with default_modes(self.device):  # left before the caller runs
            originals = self._originals(images)
            rows = [original[None] for original in originals]
            limits = [self._limit(plan.goal, image.size) for image in images]
            controls = [self._control(plan, *row) for row in zip(rows, images, limits, strict=True)]
            files = plan.searcher.run(
                originals,
                controls,
                plan.step_index,
                plan.search,
                progress,
                batch if padded else 1,
                plan.region,
            )
            searched = sum(control.refusal is None for control in controls)
            seconds = (time.perf_counter() - started) / max(searched, 1)
            return [
                file
                if isinstance(file, GoalError)
                else self.meter.encoded(original, file, seconds, limit)
                for original, file, limit in zip(rows, files, limits, strict=True)
            ]

    def _control(self, plan: _Plan, original: Tensor, image: Fitted, limit: int | None) -> Control:
        """What decides the q_step of an image; `limit` is the largest size, if there is one."""
        quantiser = Quantiser(
            self.bundle.entropy,
            self.decoder.fingerprint,
            image.size,
            image.padded,
            self.bundle.detail,
        )
        if limit is not None:
            return ByteControl(quantiser, limit)
        if plan.goal is not None and plan.goal.lpips is not None:
            return LpipsControl(quantiser, plan.goal.lpips, original, self.meter)
        return FixedStep(quantiser)

    def _originals(self, images: Sequence[Fitted]) -> Tensor:
        """Images in the generator's frame, [N, 3, R, R] in [-1, 1]."""
        originals = torch.cat([image.tensor for image in images]).to(self.device)
        return reduce_images(originals, self.generator.resolution)

    def _limit(self, goal: Goal | None, size: tuple[int, int] | None) -> int | None:
        """Largest size in bytes of a file with this original size; None: no limit."""
        width, height = size or (self.bundle.resolution,) * 2
        return None if goal is None else goal.limit(width * height)

    def batch_for(self, images: int | None = None) -> int:
        """Batch size for a number of images; None: it is large.

        It is 1 on a CPU, where more gain nothing. On a GPU it depends on free memory and on the
        memory that one image takes.
        """
        if self.device.type != "cuda":
            return 1
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        distortion = Distortion(
            self.generator, self.features, has_fast_bfloat16(self.device), compiled=False
        )
        latents = self.decoder.coordinates.means().detach().requires_grad_()
        distortion.features_of(latents).square().sum().backward()
        one = torch.cuda.max_memory_allocated(self.device) - before
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(self.device)
        most = BATCH if images is None else min(images, BATCH)
        return int(min(max(0.7 * free // max(one, 1), 1), most))

    def measure(self, image: ImageLike, data: bytes) -> Encoded:
        """The metrics of an existing file of this bundle for an original; `seconds` is 0.

        Raises:
            ImageError: not an image that `compress` takes.
            BitstreamError, MissingBundleError: see `Decoder.decompress`.
        """
        with default_modes(self.device):
            return self.meter.encoded(self._originals([self.fit(image)]), data)

    @cached_property
    def meter(self) -> FileMeter:
        """Measures files of the bundle."""
        return FileMeter(self.decoder, self.features)

    @cached_property
    def features(self) -> PerceptualFeatures:
        """The perceptual features of the bundle's distortion."""
        with default_modes(self.device):
            return perceptual_features(self.bundle.settings, self.bundle.resolution).to(self.device)

    def searcher(self, options: SearchOptions, images: int) -> Search:
        """The search, made on first use. The number of images decides `compiled` if it is None."""
        if self._search is None:
            fast, aids = has_fast_bfloat16(self.device), self.bundle.aids.to(self.device)
            if self.compiled is None:
                resolution = self.generator.resolution
                self.compiled = repays_compiling(
                    self.device, resolution, images, options.hurried, fast
                )
            detail, generator = self.decoder.detail, self.generator
            if detail is not None:
                generator = DetailedGenerator(generator, detail)
            quick = None
            if aids.surrogate:  # its images have 256 px: at 512 px they show nothing more
                coarse = self.features.coarse()
                quick = Distortion(generator, coarse, fast, self.compiled, aids.surrogate)
            self._search = Search(
                Distortion(generator, self.features, fast, self.compiled),
                self.decoder.coordinates,
                self.bundle.entropy.density(self.device),
                self.bundle.candidates.float().to(self.device),
                self.bundle.candidate_classes,
                aids.encoder,
                quick,
                0 if detail is None else detail.count,
            )
        return self._search


def _result(outcome: Outcome) -> Encoded:
    """The file; notes and doubts become warnings. Raises the errors of `Outcome.result`."""
    for note in outcome.notes:
        warnings.warn(ImageWarning(note), stacklevel=2)
    encoded = outcome.result()
    if encoded.doubt:
        warnings.warn(ImageWarning(encoded.doubt), stacklevel=2)
    return encoded
