"""The decoder: .ivc bytes to images. It imports and loads nothing of the search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .bitstream import IvcFile, decode
from .bundle import Bundle
from .device import choose_device, default_modes
from .entropy.density import q_step_of
from .errors import MissingBundleError
from .latents.space import LatentSpace
from .lookup import find_bundle, load_bundle
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
            MissingBundleError: the bundle is not on this machine.
            BitstreamError: not an .ivc file.
        """
        return cls.load(find_bundle(IvcFile.unpack(data).fingerprint), device)

    @property
    def batch_size(self) -> int:
        """Best number of files for one forward pass of the generator.

        On a CPU, several large images in one pass take longer than one by one, because their
        feature maps do not fit the caches (docs/benchmarks.md). For small images, most of the time
        of a pass is overhead.
        """
        images = (512 if self.device.type == "cpu" else 2048) ** 2
        return int(min(max(images // self.bundle.resolution**2, 1), 64))

    def decompress(self, data: bytes, first_bytes: int | None = None) -> Image.Image:
        """Decompresses an .ivc file: one forward pass of the generator in float32.

        Args:
            data: the file.
            first_bytes: use this many bytes only. The data may then be the beginning of a file,
                which no checksum can verify.

        Raises:
            BitstreamError: not an .ivc file, truncated, or altered.
            VersionError: the file has a newer version.
            MissingBundleError: the file was made with another bundle.
        """
        return self.decompress_batch([data], first_bytes)[0]

    def decompress_batch(
        self, files: Sequence[bytes], first_bytes: int | None = None
    ) -> list[Image.Image]:
        """Decompresses several files in one forward pass; see `decompress`."""
        unpacked = [self.unpack(data, first_bytes) for data in files]
        images = self.images(unpacked)
        return [
            from_tensor(image[None], file.original_size)
            for image, file in zip(images, unpacked, strict=True)
        ]

    def unpack(self, data: bytes, first_bytes: int | None = None) -> IvcFile:
        """The fields of a file of this bundle. Raises the errors of `decompress`."""
        file = IvcFile.unpack(data, first_bytes)
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
            return self.generator(latents)  # type: ignore[no-any-return]
