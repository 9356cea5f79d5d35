"""The encoder: images to .ivc bytes by the search. Each file is measured after decoding it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .decoder import Decoder
from .device import default_modes, has_compiler, has_fast_bfloat16
from .entropy.density import q_step_of, step_index_of
from .errors import OptionError
from .generators.base import reduce_images
from .inversion.distortion import Distortion, compiled_before
from .inversion.options import Goal, SearchOptions
from .inversion.quantiser import Quantiser
from .inversion.rate_control import RateControl
from .inversion.search import ProgressCallback, Search
from .perception.features import RESOLUTION, PerceptualFeatures
from .preprocessing.frame import fit, from_tensor, to_tensor
from .preprocessing.region import region

REPAY_COMPILING, REPAY_LOADING = 100, 15  # iterations at 1024 px that repay this time

ImageLike: TypeAlias = Image.Image | NDArray[np.uint8] | Tensor


@dataclass(frozen=True)
class Encoded:
    """A compressed image and its metrics, measured on the decoded image.

    Attributes:
        data: the .ivc file.
        decoded: the image that the file decodes to.
        lpips: LPIPS-Alex between original and decoded image, in the generator's frame at 256 px.
        psnr: in dB, in the generator's frame.
        identity: distance of dlib's face descriptors; its limit for one person is 0.6. The search
            minimises it, so it is not an independent metric. None: the domain is not faces.
        seconds: encoding time of this image (its share of the batch), without loading.
        limit: largest size in bytes by a goal; None: there was no such goal.
    """

    data: bytes
    decoded: Image.Image
    lpips: float
    psnr: float
    seconds: float
    limit: int | None = None
    identity: float | None = None

    @property
    def fill(self) -> float | None:
        """Fraction of `limit` that the file uses; None: there is no limit."""
        return None if self.limit is None else len(self.data) / self.limit

    @property
    def bits_per_pixel(self) -> float:
        """Bits of the file over pixels of the decoded image."""
        return 8 * len(self.data) / (self.decoded.width * self.decoded.height)


@dataclass(frozen=True)
class _Request:
    """The arguments of `Encoder.encode` that all batches share."""

    searcher: Search
    aim: Goal | int  # a goal, or a step index
    options: SearchOptions
    progress: ProgressCallback | None
    total: int
    region: Tensor | None


class Encoder:
    """Compresses images of one domain.

    Args:
        decoder: of the bundle. It decodes every file, for the metrics.
        compiled: use torch.compile in the search. None: if there is a C++ compiler and the search
            is long enough to repay the minute that compiling takes.
    """

    def __init__(self, decoder: Decoder, compiled: bool | None = None) -> None:
        self.decoder, self.compiled = decoder, compiled
        self.bundle, self.device = decoder.bundle, decoder.device
        self.generator = decoder.generator
        self._search: Search | None = None
        self._most_at_once = sys.maxsize  # images; smaller after memory ran out with more

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
        total: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> Iterator[Encoded]:
        """Compresses images and yields each file with its metrics when it is done.

        Args:
            images: of the kinds that `Codec.compress` takes.
            quality: 0 to 100. The default is the bundle's, if no q_step is given.
            q_step: the quantiser's step instead of a quality, 2^(-255/16) to 1.
            goal: a size or an LPIPS instead of a quality.
            mask: region of interest: an image in which white weighs more in the search, or
                "faces-oval", the oval of the face in the frame of portraits. LPIPS and PSNR are
                still those of the whole image.
            search: options of the search.
            batch: number of images in one graph. None: one on a CPU; on a GPU, as many as its
                memory holds. If memory runs out, the batch is halved.
            total: number of images, if they come in several calls. It decides whether compiling
                pays. With compiling, a smaller last batch is padded with copies.
            progress: called after every iteration of the search.

        Raises:
            ImageError: an image is of another kind.
            OptionError: an option is out of range, or one image needs too much of the GPU's memory.
            GoalError: no file of an image meets the goal. Later images are not compressed.
        """
        if goal is not None and (quality is not None or q_step is not None):
            raise OptionError("quality, q_step and a goal exclude each other")
        index, options = self.step_index(quality, q_step), search or SearchOptions()
        if batch is not None and batch < 1:
            raise OptionError(f"batch is {batch}: at least 1 is needed")
        if not len(images):
            return iter(())
        total = len(images) if total is None else total
        with default_modes(self.device):
            weights = None if mask is None else region(mask, self.generator.resolution)
            searcher = self.searcher(options, total)
            batch = self.batch_for(total) if batch is None else batch
        request = _Request(searcher, goal or index, options, progress, total, weights)
        return self._encode_all(request, images, batch)

    def _encode_all(
        self, request: _Request, images: Sequence[ImageLike], batch: int
    ) -> Iterator[Encoded]:
        """Compresses batch after batch. If memory runs out, the batch size is halved."""
        batch, first = min(batch, self._most_at_once), 0
        while first < len(images):
            some = images[first : first + batch]
            try:
                with default_modes(self.device):  # left before the caller runs
                    found = self._encode_batch(request, some, batch)
            except torch.cuda.OutOfMemoryError as error:
                if batch == 1:
                    raise OptionError(f"out of memory on {self.device}, with one image") from error
                batch = self._most_at_once = (batch + 1) // 2
                torch.cuda.empty_cache()
                continue
            first += len(some)
            yield from found

    def _encode_batch(
        self, request: _Request, images: Sequence[ImageLike], batch: int
    ) -> list[Encoded]:
        started = time.perf_counter()
        originals, sizes = self._fitted(images)
        # a smaller batch would be compiled again
        batch_size = batch if self.compiled and batch < request.total else len(sizes)
        limits: list[int | None] = [None] * len(sizes)
        quantisers = [
            Quantiser(self.bundle.entropy, self.decoder.fingerprint, size) for size in sizes
        ]
        search, options = request.searcher, request.options
        if isinstance(request.aim, Goal):
            control = RateControl(
                search, self.step_index(), options, request.progress, request.region
            )
            limits = [request.aim.limit(self._pixels(size)) for size in sizes]
            files = self._reach(request.aim, limits, control, originals, quantisers, batch_size)
        else:
            index = request.aim
            found = search.run(
                originals, index, options, request.progress, batch_size, request.region
            )
            rows = zip(
                quantisers, found.coordinates.cpu().numpy(), found.classes.tolist(), strict=True
            )
            files = [quantiser.encode(integers, index, one) for quantiser, integers, one in rows]
        seconds = (time.perf_counter() - started) / len(files)
        return [
            self._measured(original[None], data, seconds, limit)
            for original, data, limit in zip(originals, files, limits, strict=True)
        ]

    def _fitted(self, images: Sequence[ImageLike]) -> tuple[Tensor, list[tuple[int, int] | None]]:
        """Images in the generator's frame, [N, 3, R, R] in [-1, 1], and their original sizes."""
        fitted = [fit(image, self.bundle.resolution) for image in images]
        originals = torch.cat([tensor for tensor, _ in fitted]).to(self.device)
        originals = reduce_images(originals, self.generator.resolution)
        return originals, [size for _, size in fitted]

    def _reach(
        self,
        goal: Goal,
        limits: list[int | None],
        control: RateControl,
        originals: Tensor,
        quantisers: list[Quantiser],
        batch_size: int,
    ) -> list[bytes]:
        """Files of the originals [N, 3, R, R] that meet a goal."""
        if goal.lpips is not None:
            return control.within_lpips(
                originals,
                quantisers,
                goal.lpips,
                lambda row, data: self._measured(originals[row : row + 1], data, 0.0).lpips,
                batch_size,
            )
        within = [limit for limit in limits if limit is not None]
        return control.within_bytes(originals, quantisers, within, batch_size)

    def _pixels(self, size: tuple[int, int] | None) -> int:
        """Number of pixels of the decoded image; `size` is the stored original size."""
        width, height = size or (self.generator.resolution,) * 2
        return width * height

    def batch_for(self, images: int) -> int:
        """Batch size for a number of images.

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
        return int(min(max(0.7 * free // max(one, 1), 1), images, 64))

    def measure(self, image: ImageLike, data: bytes) -> Encoded:
        """The metrics of an existing file of this bundle for an original; `seconds` is 0.

        Raises:
            ImageError: not an image that `compress` takes.
            BitstreamError, MissingBundleError: see `Decoder.decompress`.
        """
        with default_modes(self.device):
            return self._measured(self._fitted([image])[0], data, 0.0)

    def _measured(
        self, original: Tensor, data: bytes, seconds: float, limit: int | None = None
    ) -> Encoded:
        file = self.decoder.unpack(data)
        decoded = from_tensor(self.decoder.images([file]), file.original_size)
        shown = to_tensor(decoded.resize((self.generator.resolution,) * 2)).to(self.device)
        lpips = self.features.lpips_distance(original, shown)  # loaded outside inference mode
        psnr = -10 * ((original - shown) / 2).square().mean().log10()
        identity = None
        if self.bundle.settings.face is not None:
            identity = float(self.features.identity_distance(original, shown))
        return Encoded(data, decoded, float(lpips), float(psnr), seconds, limit, identity)

    @cached_property
    def features(self) -> PerceptualFeatures:
        """The perceptual features of the bundle's distortion."""
        settings = self.bundle.settings
        seen = 0 if settings.original is None else min(RESOLUTION, self.bundle.resolution)
        with default_modes(self.device):
            return PerceptualFeatures(settings.beta, seen, settings.face).to(self.device)

    def searcher(self, options: SearchOptions, images: int) -> Search:
        """The search, made on first use. The number of images decides `compiled` if it is None."""
        if self._search is None:
            if self.compiled is None:
                self.compiled = has_compiler() and self._repays_compiling(options, images)
            fast, aids = has_fast_bfloat16(self.device), self.bundle.aids.to(self.device)
            settings = (self.generator, self.features, fast, self.compiled)
            quick = Distortion(*settings, aids.surrogate) if aids.surrogate else None
            self._search = Search(
                Distortion(*settings),
                self.decoder.coordinates,
                self.bundle.entropy.density(self.device),
                self.bundle.candidates.float().to(self.device),
                self.bundle.candidate_classes,
                aids.encoder,
                quick,
            )
        return self._search

    def _repays_compiling(self, options: SearchOptions, images: int) -> bool:
        """Whether the iterations for this many images save more time than compiling takes.

        Compiling takes a minute, or some seconds if compiled code is in the cache. An iteration at
        1024 px saves most of a second, one of a smaller image less, in proportion to its pixels.
        """
        aids, classes = self.bundle.aids, self.decoder.coordinates.classes
        with_encoder = aids.encoder is not None and options.use_encoder
        quick = aids.surrogate is not None and options.hurried
        iterations = options.starts_cost(classes, with_encoder, quick)
        iterations += options.descent_cost(self.step_index(), quick)
        fast = has_fast_bfloat16(self.device)
        ways = (False, True) if quick else (False,)
        has_identity = self.bundle.settings.face is not None
        kept = all(compiled_before(self.generator, fast, way, has_identity) for way in ways)
        least = REPAY_LOADING if kept else REPAY_COMPILING
        return iterations * images * self.generator.resolution**2 >= least * 1024**2
