"""The codec: encoder and decoder of one bundle in one hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from .bitstream import IvcFile
from .bundle import Bundle, find_bundle, load_bundle
from .decoder import Decoder
from .encoder import Encoded, Encoder, ImageLike


class Codec:
    """Compresses and decompresses images of one domain.

    Args:
        bundle: generator, coordinates and priors.
        device: "cpu", "cuda", "mps" or "auto" (cuda, else mps, else cpu).
        compiled: as of `Encoder`.

    Raises:
        OptionError: no such device.
    """

    def __init__(self, bundle: Bundle, device: str = "auto", compiled: bool | None = None) -> None:
        self.bundle, self.decoder = bundle, Decoder(bundle, device)
        self.device = self.decoder.device
        self.encoder = Encoder(self.decoder, compiled)

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

    def compress(self, image: ImageLike, **options: Any) -> bytes:
        """One image to the bytes of an .ivc file.

        Args:
            image: a PIL image, uint8 [H, W, 3], or a tensor [3, H, W] or [1, 3, H, W] of uint8 or
                of floats in [0, 1].
            options: as `encode` takes them.

        Raises:
            ImageError: not an image of that kind.
            OptionError: an option out of range.
        """
        return next(self.encode([image], **options)).data

    def compress_batch(self, images: Sequence[ImageLike], **options: Any) -> list[bytes]:
        """Several images to the bytes of .ivc files; see `compress`."""
        return [encoded.data for encoded in self.encode(images, **options)]

    def encode(self, images: Sequence[ImageLike], **options: Any) -> Iterator[Encoded]:
        """Images to files with their true figures, as they get done; see `Encoder.encode`."""
        return self.encoder.encode(images, **options)

    def measure(self, image: ImageLike, data: bytes) -> Encoded:
        """A file of this bundle held against an image; see `Encoder.measure`."""
        return self.encoder.measure(image, data)

    def decompress(self, data: bytes, first_bytes: int | None = None) -> Image.Image:
        """The image of an .ivc file's bytes; see `Decoder.decompress`."""
        return self.decoder.decompress(data, first_bytes)

    def decompress_batch(
        self, files: Sequence[bytes], first_bytes: int | None = None
    ) -> list[Image.Image]:
        """Several files in one pass of the generator; see `Decoder.decompress`."""
        return self.decoder.decompress_batch(files, first_bytes)
