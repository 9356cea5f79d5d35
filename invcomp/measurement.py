"""Files measured on what they decode to."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from .bitstream import IvcFile
from .bundle import Settings
from .decoder import Decoder
from .perception.features import CLOSER, RESOLUTION, PerceptualFeatures
from .perception.identity import Face
from .preprocessing.frame import from_tensor, to_tensor


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
        pixels: of the image that the file means. A proxy decodes it to fewer, if the file has no
            size of its own.
        doubt: one line, if the decoded image is beyond the limits of the bundle's domain
            (`DomainLimits.doubt`). None: it is not, or the bundle has no limits.
    """

    data: bytes
    decoded: Image.Image
    lpips: float
    psnr: float
    seconds: float
    limit: int | None = None
    identity: float | None = None
    doubt: str | None = None
    pixels: int = 0

    @property
    def fill(self) -> float | None:
        """Fraction of `limit` that the file uses; None: there is no limit."""
        return None if self.limit is None else len(self.data) / self.limit

    @property
    def bits_per_pixel(self) -> float:
        """Bits of the file over pixels of the decoded image, in its bundle's own size."""
        return 8 * len(self.data) / (self.pixels or self.decoded.width * self.decoded.height)


@dataclass(frozen=True)
class FileMeter:
    """Decodes files of one bundle and compares them with their originals.

    Originals are tensors [1, 3, R, R] in [-1, 1], in the generator's frame.

    Attributes:
        decoder: of the bundle.
        features: the networks that LPIPS and identity need.
    """

    decoder: Decoder
    features: PerceptualFeatures

    def encoded(
        self, original: Tensor, data: bytes, seconds: float = 0.0, limit: int | None = None
    ) -> Encoded:
        """A file with its metrics; `seconds` and `limit` as in `Encoded`."""
        file = self.decoder.unpack(data)
        decoded, shown = self._decoded(file)
        psnr = -10 * ((original - shown) / 2).square().mean().log10()
        lpips = float(self.features.lpips_distance(original, shown))
        settings, identity, doubt = self.decoder.bundle.settings, None, None
        if settings.face is not None:
            identity = float(self.features.identity_distance(original, shown))
        if settings.limits is not None:
            doubt = settings.limits.doubt(file.step_index, lpips, identity)
        width, height = file.original_size or (self.decoder.bundle.resolution,) * 2
        shared = lpips, float(psnr), seconds, limit, identity, doubt
        return Encoded(data, decoded, *shared, width * height)

    def lpips(self, original: Tensor, data: bytes) -> float:
        """LPIPS-Alex of a file."""
        return float(
            self.features.lpips_distance(original, self._decoded(self.decoder.unpack(data))[1])
        )

    def _decoded(self, file: IvcFile) -> tuple[Image.Image, Tensor]:
        """The decoded image as it is handed out, and in the generator's frame."""
        image = self.decoder.images([file])
        decoded = from_tensor(image, file.original_size, file.padded)
        square = (self.decoder.generator.resolution,) * 2
        framed = from_tensor(image) if file.padded else decoded.resize(square)
        return decoded, to_tensor(framed).to(self.decoder.device)


def perceptual_features(settings: Settings, resolution: int) -> PerceptualFeatures:
    """The features of a bundle's distortion, for images of a resolution."""
    if settings.original is not None:  # a proxy: its coordinates were measured on large images
        return PerceptualFeatures(settings.beta, min(RESOLUTION, resolution), settings.face)
    closer: Face | float | None = settings.closer
    if settings.face is not None:
        closer = settings.face if resolution >= CLOSER else None
    return PerceptualFeatures(settings.beta, face=settings.face, closer=closer)
