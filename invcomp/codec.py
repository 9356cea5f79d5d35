"""The codec: encoder and decoder of one bundle in one class."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from .bitstream import IvcFile
from .bundle import Bundle
from .decoder import Decoder
from .encoder import EncodeOptions, Encoder
from .fitting import fit_faces
from .lookup import find_bundle, load_bundle
from .measurement import Encoded
from .photo import with_photo
from .preprocessing.frame import to_pil
from .runner import ImageLike, Input, Outcome, StreamCallback


class Codec:
    """Compresses and decompresses images of one domain.

    Args:
        bundle: generator, coordinates and priors.
        device: "cpu", "cuda", "mps" or "auto" (cuda, else mps, else cpu).
        compiled: see `Encoder`.

    Raises:
        OptionError: there is no such device.
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
            MissingBundleError: there is no such name or file.
            DownloadError: the weights of a known model cannot be downloaded.
            BundleError: the file is damaged.
            OptionError: there is no such device.
        """
        return cls(load_bundle(name), device, compiled)

    @classmethod
    def for_file(cls, data: bytes, device: str = "auto") -> Codec:
        """The codec of the bundle that an .ivc file names.

        Raises:
            MissingBundleError: the bundle is not on this machine.
            BitstreamError: not an .ivc file.
        """
        return cls.load(find_bundle(IvcFile.unpack(data).fingerprint), device)

    def compress(self, image: ImageLike, **options: Any) -> bytes:
        """Compresses one image to the bytes of an .ivc file.

        Args:
            image: a PIL image, uint8 [H, W, 3], or a tensor [3, H, W] or [1, 3, H, W] of uint8 or
                of floats in [0, 1]. A PIL image is turned upright by its EXIF orientation and
                converted to sRGB by its colour profile; transparency becomes white.
            options: see `Encoder.encode`.

        Raises:
            ImageError: an image of another kind.
            OptionError: an option is out of range.
        """
        return next(self.encode([image], **options)).data

    def compress_photo(
        self, image: ImageLike, background: int = 2000, codec: str = "avif", **options: Any
    ) -> bytes:
        """Compresses a whole photo: every face by the generator, the rest by a conventional codec.

        An image that is aligned already has no rest; its file is that of `compress`.

        Args:
            image: as in `compress`.
            background: largest size of the rest, in bytes; 0: only the faces.
            codec: for the rest, one of `conventional.CODECS`.
            options: for each face, see `Encoder.encode`.

        Raises:
            FrameError: the photo has no face that can be compressed.
            GoalError: the codec cannot write so few bytes.
            ImageError: an image of another kind, or the codec is not available here.
            OptionError: an option is out of range.
        """
        photo = to_pil(image)
        faces = fit_faces(photo, self.bundle.resolution)
        if faces[0].place is None:
            return self.compress(faces[0], **options)
        first, *more = self.compress_batch(faces, **options)
        places = [face.place for face in faces if face.place is not None]
        return with_photo(first, more, photo, places, codec, background)

    def compress_batch(self, images: Sequence[ImageLike], **options: Any) -> list[bytes]:
        """Compresses several images; see `compress`."""
        return [encoded.data for encoded in self.encode(images, **options)]

    def encode(self, images: Sequence[ImageLike], **options: Any) -> Iterator[Encoded]:
        """Compresses images and yields each file with its metrics; see `Encoder.encode`."""
        return self.encoder.encode(images, **options)

    def stream(
        self,
        inputs: Iterable[Input],
        options: EncodeOptions | None = None,
        total: int | None = None,
        progress: StreamCallback | None = None,
    ) -> Generator[Outcome, None, None]:
        """Compresses any number of images as they come; see `Encoder.stream`."""
        return self.encoder.stream(inputs, options or EncodeOptions(), total, progress)

    def measure(self, image: ImageLike, data: bytes) -> Encoded:
        """The metrics of an existing file for an original; see `Encoder.measure`."""
        return self.encoder.measure(image, data)

    def decompress(
        self, data: bytes, first_bytes: int | None = None, **options: Any
    ) -> Image.Image:
        """The image of an .ivc file's bytes; see `Decoder.decompress`."""
        return self.decoder.decompress(data, first_bytes, **options)

    def decompress_batch(
        self, files: Sequence[bytes], first_bytes: int | None = None, **options: Any
    ) -> list[Image.Image]:
        """Decompresses several files, their first faces in one pass; see `Decoder.decompress`.

        Raises:
            ImageError: also if all images together have too many pixels (`decompress_each`).
        """
        return self.decoder.decompress_batch(files, first_bytes, **options)

    def decompress_each(
        self, files: Sequence[bytes], first_bytes: int | None = None, **options: Any
    ) -> Iterator[Image.Image]:
        """As `decompress_batch`, but each image is made when it is asked for."""
        return self.decoder.decompress_each(files, first_bytes, **options)
