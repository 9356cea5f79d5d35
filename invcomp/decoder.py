"""The decoder: .ivc bytes to images. It imports and loads nothing of the search."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .bitstream import DETAIL, IvcFile, Layer, decode
from .bundle import Bundle
from .device import choose_device, default_modes
from .entropy.density import q_step_of
from .entropy.detail import Integers
from .errors import ImageError, ImageWarning, MissingBundleError
from .generators.base import NO_OFFSETS, Offsets
from .latents.space import LatentSpace
from .lookup import find_bundle, load_bundle
from .photo import FacesLayer, PhotoLayer, composed, conventional_image, photo_in, shown_size
from .preprocessing.frame import from_tensor

BATCH_PIXELS = 1 << 28  # of the images of one list: 1 GB as Pillow holds them


class Decoder:
    """Decompresses the files of one bundle.

    Args:
        bundle: generator, coordinates and priors.
        device: "cpu", "cuda", "mps" or "auto" (cuda, else mps, else cpu).

    Raises:
        OptionError: there is no such device.
    """

    def __init__(self, bundle: Bundle, device: str = "auto") -> None:
        self.bundle, self.device = bundle, choose_device(device)
        with default_modes(self.device):
            self.generator = bundle.generator.to(self.device)
            self.coordinates: LatentSpace = bundle.coordinates.to(self.device)
            self.detail = None if bundle.detail is None else bundle.detail.to(self.device)
        self.fingerprint = bundle.fingerprint[:4]

    @classmethod
    def load(cls, name: str | Path = "faces-1024", device: str = "auto") -> Decoder:
        """The decoder of a known model or of a bundle's file (.ivm).

        Raises:
            MissingBundleError: there is no such name or file.
            DownloadError: the weights of a known model cannot be downloaded.
            BundleError: the file is damaged.
            OptionError: there is no such device.
        """
        return cls(load_bundle(name, aids=False), device)

    @classmethod
    def for_file(cls, data: bytes, device: str = "auto") -> Decoder:
        """The decoder of the bundle that an .ivc file names.

        Raises:
            MissingBundleError: the bundle is not on this machine, or the file has none, because a
                conventional codec coded it (`decode_conventional`).
            BitstreamError: not an .ivc file.
        """
        file = IvcFile.unpack(data)
        _require_bundle(file)
        return cls.load(find_bundle(file.fingerprint), device)

    @property
    def batch_size(self) -> int:
        """Best number of files for one forward pass of the generator.

        On a CPU, several large images in one pass take longer than one by one, because their
        feature maps do not fit the caches (docs/benchmarks.md). For small images, most of the time
        of a pass is overhead.
        """
        images = (512 if self.device.type == "cpu" else 2048) ** 2
        return int(min(max(images // self.bundle.resolution**2, 1), 64))

    def decompress(
        self,
        data: bytes,
        first_bytes: int | None = None,
        *,
        size: int | None = None,
        faces_only: bool = False,
        max_pixels: int | None = None,
    ) -> Image.Image:
        """Decompresses an .ivc file by the generator in float32.

        Args:
            data: the file.
            first_bytes: use this many bytes only. The data may then be the beginning of a file,
                which no checksum can verify.
            size: longer side of the image in pixels; None: that of the original.
            faces_only: of a photo, decode the first face alone.
            max_pixels: most pixels of an image, because a file of 19 bytes can claim any size;
                None: Pillow's limit.

        Raises:
            BitstreamError: not an .ivc file, truncated, or altered.
            VersionError: the file has a newer version.
            MissingBundleError: the file was made with another bundle.
            ImageError: the image has more pixels than `max_pixels` or Pillow's limit.
            OptionError: `size` is not at least 1.
        """
        options = {"size": size, "faces_only": faces_only, "max_pixels": max_pixels}
        return next(self.decompress_each([data], first_bytes, **options))

    def decompress_batch(
        self, files: Sequence[bytes], first_bytes: int | None = None, **options: Any
    ) -> list[Image.Image]:
        """Decompresses several files, their first faces in one pass; see `decompress`.

        Raises:
            ImageError: also if all images together have over `BATCH_PIXELS`.
        """
        return [*self._each(files, first_bytes, together=BATCH_PIXELS, **options)]

    def decompress_each(
        self, files: Sequence[bytes], first_bytes: int | None = None, **options: Any
    ) -> Iterator[Image.Image]:
        """As `decompress_batch`, but each image is made when it is asked for.

        So memory holds one image in the size that its file claims. Sizes are checked when this is
        called, before anything is decoded.
        """
        return self._each(files, first_bytes, **options)

    def _each(
        self,
        files: Sequence[bytes],
        first_bytes: int | None,
        *,
        size: int | None = None,
        faces_only: bool = False,
        max_pixels: int | None = None,
        together: int | None = None,
    ) -> Iterator[Image.Image]:
        unpacked = [IvcFile.unpack(data, first_bytes) for data in files]
        coded = [self._own(file) for file in unpacked if file.needs_bundle]
        square = (self.generator.resolution,) * 2
        photos = [None if faces_only else photo_in(file) for file in coded]
        sizes = [
            shown_size(photo[1].size if photo else file.original_size or square, size, max_pixels)
            for file, photo in zip(coded, photos, strict=True)
        ]  # which a file claims, before anything is decoded
        if together is not None and (total := sum(map(prod, sizes))) > together:
            raise ImageError(f"{len(sizes)} images of {total:,} pixels are too many at once")
        return self._shown(unpacked, coded, photos, sizes, size, max_pixels)

    def _shown(
        self,
        unpacked: Sequence[IvcFile],
        coded: Sequence[IvcFile],
        photos: Sequence[tuple[FacesLayer, PhotoLayer] | None],
        sizes: Sequence[tuple[int, int]],
        longer: int | None,
        max_pixels: int | None,
    ) -> Iterator[Image.Image]:
        """The images of files, one after the other; `coded` are those of this bundle."""
        parts = zip(coded, photos, sizes, self.images(coded) if coded else (), strict=True)
        for unpacked_file in unpacked:
            if not unpacked_file.needs_bundle:
                yield conventional_image(unpacked_file, longer, max_pixels)
                continue
            file, photo, size, image = next(parts)
            if photo is None:
                resized = size if file.original_size or longer else None
                yield from_tensor(image[None], resized, file.padded)
            else:
                yield self._photo(file, *photo, image, size)

    def _photo(
        self,
        file: IvcFile,
        more: FacesLayer,
        photo: PhotoLayer,
        first: Tensor,
        size: tuple[int, int],
    ) -> Image.Image:
        """A whole photo at `size`, from the layers of a file and its decoded first face."""
        background = photo.background()
        frames = [place.frame(size) for place in photo.places]

        def faces() -> Iterator[Image.Image]:
            yield from_tensor(first[None])
            for start in range(0, len(more.faces), self.batch_size):
                batch = [
                    replace(
                        file,
                        step_index=face.step_index,
                        payloads=(face.payload,),
                        layers=(Layer(DETAIL, face.detail),) if face.detail else (),
                    )
                    for face in more.faces[start : start + self.batch_size]
                ]
                yield from (from_tensor(image[None]) for image in self.images(batch))

        return composed(background, faces(), frames, size)

    def unpack(self, data: bytes, first_bytes: int | None = None) -> IvcFile:
        """The fields of a file of this bundle. Raises the errors of `decompress`."""
        return self._own(IvcFile.unpack(data, first_bytes))

    def _own(self, file: IvcFile) -> IvcFile:
        """A file, which must be of this bundle."""
        _require_bundle(file)
        if file.fingerprint != self.fingerprint:
            raise MissingBundleError(
                f"the file was made with bundle {file.fingerprint.hex()}, this is "
                f"{self.bundle.settings.name} ({self.fingerprint.hex()}): give the right --model"
            )
        return file

    def images(self, files: Sequence[IvcFile]) -> Tensor:
        """Decoded images in the generator's frame, [N, 3, R, R], about in [-1, 1]: not clamped."""
        decoded = [decode(file, self.bundle.entropy) for file in files]
        q_steps = [np.float32(q_step_of(file.step_index)) for file in files]
        coordinates = np.stack(
            [found.integers * q_step for found, q_step in zip(decoded, q_steps, strict=True)]
        )
        with default_modes(self.device), torch.no_grad():
            latents = self.coordinates.latents(
                torch.from_numpy(coordinates).float().to(self.device),
                torch.tensor([found.class_index for found in decoded], device=self.device),
            )
            offsets = self._offsets(files)
            given = () if offsets is NO_OFFSETS else (offsets,)
            return self.generator(latents, *given)  # type: ignore[no-any-return]

    def _offsets(self, files: Sequence[IvcFile]) -> Offsets:
        """Offsets of the inner maps by the details of files; none if no file has one."""
        if self.detail is None or not any(file.has(DETAIL) for file in files):
            return NO_OFFSETS
        coefficients = np.zeros((len(files), self.detail.count), dtype=np.float32)
        for row, file in enumerate(files):
            found = self.detail_of(file)
            if found is not None:
                coefficients[row] = found * np.float32(q_step_of(file.step_index))
        return self.detail.offsets(torch.from_numpy(coefficients).to(self.device))

    def detail_of(self, file: IvcFile) -> Integers | None:
        """The integers of a file's detail, `[M]`; None if the bundle has no detail.

        They are zero if the file has no detail, or one of another bundle, of which is warned.

        Raises:
            BitstreamError: the layer is altered.
        """
        if self.detail is None:
            return None
        layer, whole = file.layer(DETAIL), True
        if layer is None and file.cut is not None and file.cut.tag == DETAIL:
            layer, whole = file.cut.payload, False
        payload = None if layer is None else self.detail.unpack(layer)
        if payload is None:
            if layer is not None and whole:
                told = ImageWarning("decoded without its detail: the bundle has another one")
                warnings.warn(told, stacklevel=4)
            return np.zeros(self.detail.count, dtype=np.int32)
        return self.detail.model.decode(payload, file.step_index, whole)


def decode_conventional(
    data: bytes, size: int | None = None, max_pixels: int | None = None
) -> Image.Image | None:
    """The image of a file that a conventional codec coded; None if it is a bundle's file.

    Args:
        data: the file.
        size: longer side of the image in pixels; None: that of the original.
        max_pixels: as in `Decoder.decompress`.

    Raises:
        BitstreamError: not an .ivc file, truncated, or altered.
        ImageError: the image has more pixels than the limit, or Pillow lacks the codec.
        OptionError: `size` is not at least 1.
    """
    file = IvcFile.unpack(data)
    return None if file.needs_bundle else conventional_image(file, size, max_pixels)


def _require_bundle(file: IvcFile) -> None:
    if not file.needs_bundle:
        raise MissingBundleError("the file was made without a bundle, by a conventional codec")
