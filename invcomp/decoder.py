"""The decoder: .ivc bytes to images. It imports and loads nothing of the search."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .bitstream import DETAIL, IvcFile, Layer, decode
from .bundle import Bundle
from .device import choose_device, default_modes
from .entropy.density import q_step_of
from .entropy.detail import Integers
from .errors import ImageWarning, MissingBundleError
from .generators.base import NO_OFFSETS, Offsets
from .latents.space import LatentSpace
from .lookup import find_bundle, load_bundle
from .photo import FacesLayer, PhotoLayer, composed, conventional_image, photo_in, shown_size
from .preprocessing.frame import from_tensor


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
    ) -> Image.Image:
        """Decompresses an .ivc file by the generator in float32.

        Args:
            data: the file.
            first_bytes: use this many bytes only. The data may then be the beginning of a file,
                which no checksum can verify.
            size: longer side of the image in pixels; None: that of the original.
            faces_only: of a photo, decode the first face alone.

        Raises:
            BitstreamError: not an .ivc file, truncated, or altered.
            VersionError: the file has a newer version.
            MissingBundleError: the file was made with another bundle.
            ImageError: the image's size is over Pillow's limit.
            OptionError: `size` is not at least 1.
        """
        return self.decompress_batch([data], first_bytes, size=size, faces_only=faces_only)[0]

    def decompress_batch(
        self,
        files: Sequence[bytes],
        first_bytes: int | None = None,
        *,
        size: int | None = None,
        faces_only: bool = False,
    ) -> list[Image.Image]:
        """Decompresses several files, their first faces in one pass; see `decompress`."""
        unpacked = [IvcFile.unpack(data, first_bytes) for data in files]
        done = {
            index: conventional_image(file, size)
            for index, file in enumerate(unpacked)
            if not file.needs_bundle
        }
        coded = [self._own(file) for index, file in enumerate(unpacked) if index not in done]
        square = (self.generator.resolution,) * 2
        photos = [None if faces_only else photo_in(file) for file in coded]
        sizes = [
            shown_size(photo[1].size if photo else file.original_size or square, size)
            for file, photo in zip(coded, photos, strict=True)
        ]  # which a file claims, before anything is decoded
        parts = zip(coded, photos, sizes, self.images(coded) if coded else (), strict=True)
        shown = (
            from_tensor(image[None], shown if file.original_size or size else None, file.padded)
            if photo is None
            else self._photo(file, *photo, image, shown)
            for file, photo, shown, image in parts
        )
        return [done[index] if index in done else next(shown) for index in range(len(files))]

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


def decode_conventional(data: bytes, size: int | None = None) -> Image.Image | None:
    """The image of a file that a conventional codec coded; None if it is a bundle's file.

    Args:
        data: the file.
        size: longer side of the image in pixels; None: that of the original.

    Raises:
        BitstreamError: not an .ivc file, truncated, or altered.
        ImageError: the image's size is over Pillow's limit, or Pillow lacks the codec.
        OptionError: `size` is not at least 1.
    """
    file = IvcFile.unpack(data)
    return None if file.needs_bundle else conventional_image(file, size)


def _require_bundle(file: IvcFile) -> None:
    if not file.needs_bundle:
        raise MissingBundleError("the file was made without a bundle, by a conventional codec")
