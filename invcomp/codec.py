"""The codec: photographs to .ivc bytes and back; the only place that knows the whole way."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .bitstream import IvcFile, decode
from .bundle import Bundle, find_bundle, load_bundle
from .errors import MissingBundleError, OptionError
from .frame import fit, from_picture, to_picture
from .generators.base import reduce_picture
from .inversion.distortion import Distortion, compiled_before
from .inversion.options import Goal, SearchOptions
from .inversion.quantiser import Quantiser
from .inversion.rate_control import RateControl
from .inversion.search import ProgressCallback, Search
from .latents.features import RESOLUTION, PerceptualFeatures
from .latents.rate import PriorScales, step_index_of, step_of
from .region import region

REPAY_COMPILING, REPAY_LOADING = 100, 15  # steps at 1024 px that save as much time as it takes

ImageLike: TypeAlias = Image.Image | NDArray[np.uint8] | Tensor


@dataclass(frozen=True)
class Encoded:
    """A compressed picture and what it is, measured on the decoded file itself.

    Attributes:
        data: the .ivc file.
        decoded: the picture that the file decodes to.
        lpips: LPIPS-Alex between photograph and decoded picture in the generator's frame, at
            256 px.
        psnr: in dB, in the generator's frame.
        identity: distance of dlib's face descriptors, 0.6 being its limit for one person. The
            search minimises it, so it is no independent judgement. None: the bundle is not of
            faces.
        seconds: encoding time of this picture (its share of its batch), without loading.
        limit: bytes that a goal allowed the file; None where there was no such goal.
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
        """The part of the allowed bytes that the file uses, where a goal set their number."""
        return None if self.limit is None else len(self.data) / self.limit

    @property
    def bits_per_pixel(self) -> float:
        """Bits of the file over pixels of the decoded picture."""
        return 8 * len(self.data) / (self.decoded.width * self.decoded.height)


@dataclass(frozen=True)
class _Work:
    """What `Codec.encode` was asked for: the same for all of its batches."""

    searcher: Search
    aim: Goal | int  # a goal, or the index of the quantiser's step
    options: SearchOptions
    progress: ProgressCallback | None
    total: int
    region: Tensor | None


class Codec:
    """Compresses and decompresses pictures of one domain.

    Args:
        bundle: generator, coordinates and priors.
        device: "cpu", "cuda", "mps" or "auto" (cuda, else mps, else cpu).
        compiled: whether the search runs through torch.compile; None: where a C++ compiler is
            found and the search is long enough to repay the minute that it takes.
    """

    def __init__(self, bundle: Bundle, device: str = "auto", compiled: bool | None = None) -> None:
        self.bundle = bundle
        self.device = choose_device(device)
        self.compiled = compiled
        self.generator = bundle.generator.to(self.device)
        self.coordinates = bundle.coordinates.to(self.device)
        self.tables = bundle.tables
        self.fingerprint = bundle.fingerprint[:4]
        self._search: Search | None = None
        self._most_at_once = sys.maxsize  # photographs, since memory ran out with more

    @classmethod
    def load(
        cls, name: str | Path = "faces-1024", device: str = "auto", compiled: bool | None = None
    ) -> Codec:
        """The codec of a known model or of a bundle's file (.ivm).

        Raises:
            MissingBundleError: no such name or file.
            DownloadError: a known model's weights could not be fetched.
            BundleError: the file is damaged.
            OptionError: no such device.
        """
        return cls(load_bundle(name), device, compiled)

    @classmethod
    def for_file(cls, data: bytes, device: str = "auto") -> Codec:
        """The codec of the bundle that an .ivc file names.

        Raises:
            MissingBundleError: it is not on this machine.
            BitstreamError: not an .ivc file.
        """
        return cls.load(find_bundle(IvcFile.unpack(data).fingerprint), device)

    def step_index(self, quality: float | None = None, step: float | None = None) -> int:
        """The step index of a quality 0..100, or of a step; by default the bundle's own.

        Raises:
            OptionError: both are given, or one is out of range.
        """
        if step is None:
            settings = self.bundle.settings
            return settings.step_index(settings.default_quality if quality is None else quality)
        if quality is not None:
            raise OptionError("quality and step exclude each other")
        if not step_of(255) <= step <= 1:
            raise OptionError(f"step {step} is not in {step_of(255):.2g}..1")
        return step_index_of(step)

    def compress(self, image: ImageLike, **options: Any) -> bytes:
        """One picture to the bytes of an .ivc file.

        Args:
            image: a PIL image, uint8 [H, W, 3], or a tensor [3, H, W] or [1, 3, H, W] of uint8 or
                of floats in [0, 1].
            options: as `encode` takes them.

        Raises:
            ImageError: not a picture of that kind.
            OptionError: an option out of range.
        """
        return next(self.encode([image], **options)).data

    def compress_batch(self, images: Sequence[ImageLike], **options: Any) -> list[bytes]:
        """Several pictures to the bytes of .ivc files; see `compress`."""
        return [encoded.data for encoded in self.encode(images, **options)]

    def encode(
        self,
        images: Sequence[ImageLike],
        *,
        quality: float | None = None,
        step: float | None = None,
        goal: Goal | None = None,
        mask: ImageLike | str | None = None,
        search: SearchOptions | None = None,
        batch: int | None = None,
        total: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> Iterator[Encoded]:
        """Pictures to files with their true figures, as they get done.

        Args:
            images: as `compress` takes them.
            quality: 0 to 100, the bundle's default where neither it nor a step is given.
            step: the quantiser's step instead, 2^(-255/16) to 1.
            goal: a size or an LPIPS that the file shall have instead.
            mask: a picture of which white matters more to the search, or "faces-oval", where the
                face is in a portrait's frame. LPIPS and PSNR are still those of the whole.
            search: how much to try.
            batch: pictures searched for in one graph; None: one on a CPU, on a GPU what its memory
                holds. Where memory runs out half as many go on.
            total: pictures in all, where they come by several calls. By their number compiling
                pays or not; once compiled, the search fills a smaller last batch with copies.
            progress: called after every step of the search.

        Raises:
            ImageError: not a picture of that kind.
            OptionError: an option out of range, or the batch is too large for the GPU's memory.
            GoalError: no file of a picture meets the goal; those after it are not begun.
        """
        if goal is not None and (quality is not None or step is not None):
            raise OptionError("quality, step and a goal exclude each other")
        index, options = self.step_index(quality, step), search or SearchOptions()
        weights = None if mask is None else region(mask, self.generator.resolution)
        if not len(images):
            return
        total = len(images) if total is None else total
        work = _Work(
            self.searcher(options, total), goal or index, options, progress, total, weights
        )
        batch = self.batch_for(total) if batch is None else batch
        if batch < 1:
            raise OptionError(f"batch is {batch}: at least 1 is needed")
        batch, first = min(batch, self._most_at_once), 0
        while first < len(images):
            some = images[first : first + batch]
            try:
                found = self._encode_batch(work, some, batch)
            except torch.cuda.OutOfMemoryError as error:
                if batch == 1:
                    raise OptionError(
                        f"out of memory on {self.device}: give --device cpu"
                    ) from error
                batch = self._most_at_once = (batch + 1) // 2
                torch.cuda.empty_cache()
                continue
            first += len(some)
            yield from found

    def _encode_batch(self, work: _Work, images: Sequence[ImageLike], batch: int) -> list[Encoded]:
        started = time.perf_counter()
        photographs, sizes = self._fitted(images)
        # a smaller batch would be compiled for anew
        places = batch if self.compiled and batch < work.total else len(sizes)
        limits: list[int | None] = [None] * len(sizes)
        if isinstance(work.aim, Goal):
            control = RateControl(
                work.searcher, self.step_index(), work.options, work.progress, work.region
            )
            limits = [work.aim.limit(self._pixels(size)) for size in sizes]
            files = self._reach(work.aim, limits, control, photographs, sizes, places)
        else:
            index = work.aim
            found = work.searcher.run(
                photographs, index, work.options, work.progress, places, work.region
            )
            files = [
                Quantiser(self.tables, self.fingerprint, size).encode(integers, index, class_index)
                for integers, class_index, size in zip(
                    found.coordinates.cpu().numpy(), found.classes.tolist(), sizes, strict=True
                )
            ]
        seconds = (time.perf_counter() - started) / len(files)
        return [
            self._measured(photograph[None], data, seconds, limit)
            for photograph, data, limit in zip(photographs, files, limits, strict=True)
        ]

    def _fitted(self, images: Sequence[ImageLike]) -> tuple[Tensor, list[tuple[int, int] | None]]:
        """Pictures in the generator's frame, [N, 3, R, R] in [-1, 1], and their original sizes."""
        fitted = [fit(image, self.bundle.resolution) for image in images]
        photographs = torch.cat([picture for picture, _ in fitted]).to(self.device)
        photographs = reduce_picture(photographs, self.generator.resolution)
        return photographs, [size for _, size in fitted]

    def _reach(
        self,
        goal: Goal,
        limits: list[int | None],
        control: RateControl,
        photographs: Tensor,
        sizes: list[tuple[int, int] | None],
        places: int,
    ) -> list[bytes]:
        """Files of photographs [N, 3, R, R] of such original sizes that meet a goal."""
        quantisers = [Quantiser(self.tables, self.fingerprint, size) for size in sizes]
        if goal.lpips is not None:
            return control.within_lpips(
                photographs,
                quantisers,
                goal.lpips,
                lambda row, data: self._measured(photographs[row : row + 1], data, 0.0).lpips,
                places,
            )
        within = [limit for limit in limits if limit is not None]
        return control.within_bytes(photographs, quantisers, within, places)

    def _pixels(self, size: tuple[int, int] | None) -> int:
        """Of a decoded picture of an original size."""
        width, height = size or (self.generator.resolution,) * 2
        return width * height

    @property
    def decoding_batch(self) -> int:
        """How many files one pass of the generator decodes best.

        On a CPU several large pictures at once take longer than one by one, as their feature maps
        leave its caches (docs/benchmarks.md); of small ones a pass is mostly calls.
        """
        pictures = (512 if self.device.type == "cpu" else 2048) ** 2
        return int(min(max(pictures // self.bundle.resolution**2, 1), 64))

    def batch_for(self, images: int) -> int:
        """How many of so many pictures one graph takes: on a CPU one, where more gain nothing.

        On a GPU what its free memory holds, by what one picture takes.
        """
        if self.device.type != "cuda":
            return 1
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        distortion = Distortion(
            self.generator, self.features, has_fast_bfloat16(self.device), compiled=False
        )
        latents = self.coordinates.means().detach().requires_grad_()
        distortion.features_of(latents).square().sum().backward()
        one = torch.cuda.max_memory_allocated(self.device) - before
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(self.device)
        return int(min(max(0.7 * free // max(one, 1), 1), images, 64))

    def decompress(
        self, data: bytes, segments: int | None = None, first_bytes: int | None = None
    ) -> Image.Image:
        """The picture of an .ivc file's bytes, one forward pass of the generator in float32.

        Args:
            data: the file.
            segments: how many of its segments to use, from the first: a coarser picture.
            first_bytes: use only so many bytes. The data may then be the mere beginning of a file,
                which no checksum verifies.

        Raises:
            BitstreamError: not an .ivc file, truncated, or altered.
            OptionError: there are not so many segments.
            VersionError: of a newer version.
            MissingBundleError: made with another bundle.
        """
        return self.decompress_batch([data], segments, first_bytes)[0]

    def decompress_batch(
        self,
        files: Sequence[bytes],
        segments: int | None = None,
        first_bytes: int | None = None,
    ) -> list[Image.Image]:
        """Several files in one pass of the generator; see `decompress`."""
        unpacked = [self._unpack(data, first_bytes) for data in files]
        pictures = self._pictures(unpacked, segments)
        return [
            from_picture(picture[None], file.original_size)
            for picture, file in zip(pictures, unpacked, strict=True)
        ]

    def _unpack(self, data: bytes, first_bytes: int | None = None) -> IvcFile:
        file = IvcFile.unpack(data, first_bytes)
        if file.fingerprint != self.fingerprint:
            raise MissingBundleError(
                f"the file was made with bundle {file.fingerprint.hex()}, this is "
                f"{self.bundle.settings.name} ({self.fingerprint.hex()}): give the right --model"
            )
        return file

    @torch.inference_mode()
    def _pictures(self, files: Sequence[IvcFile], segments: int | None = None) -> Tensor:
        """Decoded pictures [N, 3, R, R]."""
        decoded = [decode(file, self.tables, segments) for file in files]
        steps = [np.float32(step_of(file.step_index)) for file in files]
        coordinates = np.stack(
            [found.integers * step for found, step in zip(decoded, steps, strict=True)]
        )
        latents = self.coordinates.latents(
            torch.from_numpy(coordinates).float().to(self.device),
            torch.tensor([found.class_index for found in decoded], device=self.device),
        )
        return self.generator(latents)  # type: ignore[no-any-return]

    def measure(self, image: ImageLike, data: bytes) -> Encoded:
        """A file of this bundle held against a picture; of its encoding it knows no seconds.

        Raises:
            ImageError: not a picture that `compress` takes.
            BitstreamError, MissingBundleError: as of `decompress`.
        """
        return self._measured(self._fitted([image])[0], data, 0.0)

    def _measured(
        self, photograph: Tensor, data: bytes, seconds: float, limit: int | None = None
    ) -> Encoded:
        file = self._unpack(data)
        decoded = from_picture(self._pictures([file]), file.original_size)
        shown = to_picture(decoded.resize((self.generator.resolution,) * 2)).to(self.device)
        lpips = self.features.lpips_distance(photograph, shown)  # loaded outside inference mode
        psnr = -10 * ((photograph - shown) / 2).square().mean().log10()
        identity = None
        if self.bundle.settings.face is not None:
            identity = float(self.features.identity_distance(photograph, shown))
        return Encoded(data, decoded, float(lpips), float(psnr), seconds, limit, identity)

    @cached_property
    def features(self) -> PerceptualFeatures:
        """The perceptual features of the bundle's distortion."""
        settings = self.bundle.settings
        seen = 0 if settings.original is None else min(RESOLUTION, self.bundle.resolution)
        return PerceptualFeatures(settings.beta, seen, settings.face).to(self.device)

    def searcher(self, options: SearchOptions, images: int) -> Search:
        """The search for so many images, made on first use; with it `compiled` is settled."""
        if self._search is None:
            if self.compiled is None:
                self.compiled = has_compiler() and self._repays_compiling(options, images)
            fast, aids = has_fast_bfloat16(self.device), self.bundle.aids.to(self.device)
            settings = (self.generator, self.features, fast, self.compiled)
            quick = Distortion(*settings, aids.shortcut) if aids.shortcut else None
            self._search = Search(
                Distortion(*settings),
                self.coordinates,
                PriorScales.of(self.tables, self.device),
                self.bundle.settings.shape,
                self.bundle.candidates.float().to(self.device),
                self.bundle.candidate_classes,
                aids.encoder,
                quick,
            )
        return self._search

    def _repays_compiling(self, options: SearchOptions, images: int) -> bool:
        """Whether so many steps save more than compiling takes: a minute, or, of what was
        compiled on this machine before and kept, some seconds.

        A step at 1024 px saves most of a second, one of a smaller picture less, as it has fewer
        pixels.
        """
        aids, classes = self.bundle.aids, len(self.coordinates.mean)
        warm = aids.encoder is not None and options.warm_start
        quick = aids.shortcut is not None and options.hurried
        steps = options.starts_cost(classes, warm, quick)
        steps += options.descent_cost(self.step_index(), quick)
        fast = has_fast_bfloat16(self.device)
        ways = (False, True) if quick else (False,)
        has_identity = self.bundle.settings.face is not None
        kept = all(compiled_before(self.generator, fast, way, has_identity) for way in ways)
        least = REPAY_LOADING if kept else REPAY_COMPILING
        return steps * images * self.generator.resolution**2 >= least * 1024**2


def choose_device(name: str) -> torch.device:
    """The device of a name; "auto" takes the fastest there is.

    Raises:
        OptionError: no such device here.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available.get(name.split(":")[0]):
        raise OptionError(f"device {name} is not available here")
    return torch.device(name)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 runs faster than float32 there."""
    if device.type == "cpu":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def has_compiler() -> bool:
    """Whether torch.compile finds a C++ compiler here."""
    return any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))
