"""The place of a face in a photograph: FFHQ's frame, and resampling to and from it.

Coordinates are pixels, x to the right and y down. The corner of an image is (0, 0), so the middle
of its first pixel is (0.5, 0.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Points = NDArray[np.float64]  # [n, 2], x and y

# of the 468 points of a face mesh, those at the places of the landmarks that FFHQ was aligned by
LEFT_EYE, RIGHT_EYE = (33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380)
MOUTH_CORNERS = (61, 291)
# the mesh's eyes are a little wider apart than those landmarks; measured on aligned portraits
SCALE = 0.98
# largest deviations of the frames that are found in 56 aligned portraits: 2.3 degrees, 1.3% of the
# side in either direction, 5.6% of its length (scripts/benchmarks/alignment.py)
ALIGNED_ANGLE, ALIGNED_SHIFT, ALIGNED_SIDE = 2.5, 0.02, 0.06
BLUR = 0.02  # of what lies beyond the photograph: standard deviation in sides of the frame
FADE = 0.3  # over so many sides of the frame it fades to the median colour


@dataclass(frozen=True)
class Frame:
    """A square of an image, which may be turned and may leave the image.

    Attributes:
        x, y: its centre.
        side: in pixels.
        angle: in degrees, clockwise, by which it is turned.
    """

    x: float
    y: float
    side: float
    angle: float = 0.0

    def in_image(self, points: Points) -> Points:
        """Points [n, 2] in sides of the frame, (0, 0) its first corner, in pixels of the image."""
        placed: Points = (points - 0.5) @ self._axes().T + (self.x, self.y)
        return placed

    def in_frame(self, points: Points) -> Points:
        """The inverse of `in_image`."""
        return (points - (self.x, self.y)) @ self._axes() / self.side**2 + 0.5

    def corners(self) -> Points:
        """[4, 2]: in an upright frame top left, bottom left, bottom right, top right."""
        return self.in_image(np.array([[0, 0], [0, 1], [1, 1], [1, 0]], float))

    def affine(self, size: int) -> tuple[float, ...]:
        """Numbers (a, b, c, d, e, f) for `Image.transform`, which cut the frame out at `size` px.

        A point (x, y) of the result lies at (a x + b y + c, d x + e y + f) in the image.
        """
        axes, corner = self._axes() / size, self.corners()[0]
        return (*axes[0], corner[0], *axes[1], corner[1])

    def affine_back(self, size: int) -> tuple[float, ...]:
        """As `affine`, but these put a result of `size` px back to its place in the image."""
        back = self._axes().T * (size / self.side**2)
        offset = size / 2 - back @ (self.x, self.y)
        return (*back[0], offset[0], *back[1], offset[1])

    def within(self, corner: tuple[float, float], scale: float) -> Frame:
        """The frame in an image that was cropped from `corner` on and then reduced by `scale`."""
        x, y = (self.x - corner[0]) / scale, (self.y - corner[1]) / scale
        return replace(self, x=x, y=y, side=self.side / scale)

    def _axes(self) -> Points:
        """Columns: the sides, from the first corner to the right and down."""
        cos = self.side * math.cos(math.radians(self.angle))
        sin = self.side * math.sin(math.radians(self.angle))
        return np.array([[cos, -sin], [sin, cos]])


def ffhq_frame(points: Points) -> Frame:
    """FFHQ's frame (Karras et al., 2019) of a face mesh [468, 2]."""
    left, right = points[list(LEFT_EYE)].mean(0), points[list(RIGHT_EYE)].mean(0)
    eyes, mouth = (left + right) / 2, points[list(MOUTH_CORNERS)].mean(0)
    across, down = right - left, mouth - eyes
    x = across - np.array([-down[1], down[0]])
    side = 2 * SCALE * max(np.hypot(*across) * 2.0, np.hypot(*down) * 1.8)
    centre = eyes + down * 0.1
    angle = math.degrees(math.atan2(x[1], x[0]))
    return Frame(float(centre[0]), float(centre[1]), float(side), angle)


def is_aligned(frame: Frame, size: tuple[int, int]) -> bool:
    """Whether an image of `size` is aligned as it is, so that its frame is the whole image.

    The tolerances are the deviations that frames have in aligned portraits: 2.5 degrees, 2% of the
    side in either direction, 6% of its length.
    """
    width, height = size
    shift = max(abs(frame.x / width - 0.5), abs(frame.y / height - 0.5))
    return (
        abs(width / height - 1) < 0.01
        and abs(frame.angle) < ALIGNED_ANGLE
        and shift < ALIGNED_SHIFT
        and abs(frame.side / width - 1) < ALIGNED_SIDE
    )


def align(image: Image.Image, frame: Frame, resolution: int) -> Image.Image:
    """The frame of an RGB image at `resolution` px, without aliasing.

    What lies beyond the image is the image mirrored, blurred and faded to one colour, as in FFHQ.
    """
    found = sample(image, frame, resolution, mirrored=True)
    low, high = _bounds(frame)
    beyond = np.concatenate([-low, high - image.size])  # left, top, right, bottom
    if beyond.max() <= 0:
        return found
    middles = (np.arange(resolution) + 0.5) / resolution
    x, y = frame.in_image(np.stack(np.meshgrid(middles, middles), -1).reshape(-1, 2)).T
    outside = np.stack([-x, -y, x - image.width, y - image.height])
    # 1 at the outer edge of the mirrored part, 0 at the edge of the image
    fade = (outside / np.maximum(beyond, FADE * frame.side)[:, None]).max(0)
    fade = fade.reshape(resolution, resolution, 1)
    blurred = found.filter(ImageFilter.GaussianBlur(BLUR * resolution))
    pixels = np.asarray(found, np.float32)
    pixels = pixels + (np.asarray(blurred, np.float32) - pixels) * np.clip(3 * fade + 1, 0, 1)
    pixels += (np.median(pixels, axis=(0, 1)) - pixels) * np.clip(fade, 0, 1)
    return Image.fromarray(np.rint(pixels).clip(0, 255).astype(np.uint8))


def sample(
    image: Image.Image, frame: Frame, size: int, *, detail: int = 2, mirrored: bool = False
) -> Image.Image:
    """The frame of an RGB image at `size` px; beyond the image it is black, or mirrored.

    Args:
        image: the image.
        frame: the part of it.
        size: of the result in pixels.
        detail: a large frame is first reduced by means to so many pixels for one of the result.
        mirrored: continue the image by its mirror image.
    """
    scale = max(int(frame.side / size / detail), 1)
    low, high = _bounds(frame)
    left, top = np.clip(np.floor(low) - 2 * scale, 0, np.subtract(image.size, 1)).astype(int)
    right, bottom = np.clip(np.ceil(high) + 2 * scale, (left + 1, top + 1), image.size).astype(int)
    part = image.crop((left, top, right, bottom))
    part = part.reduce(scale) if scale > 1 else part
    moved = frame.within((left, top), scale)
    if mirrored:
        part, moved = _mirrored(part, moved)
    finer = size * max(math.ceil(moved.side / size), 1)
    found = part.transform(
        (finer, finer), Image.Transform.AFFINE, moved.affine(finer), Image.Resampling.BICUBIC
    )
    return found if finer == size else found.resize((size, size), Image.Resampling.LANCZOS)


def _mirrored(image: Image.Image, frame: Frame) -> tuple[Image.Image, Frame]:
    """The image mirrored past its borders as far as the frame reaches, and the frame in it."""
    low, high = _bounds(frame)
    beyond = np.ceil(np.concatenate([-low, high - image.size])).clip(-1).astype(int) + 1
    left, top, right, bottom = map(int, beyond)
    if not beyond.any():
        return image, frame
    pixels = np.pad(np.asarray(image), ((top, bottom), (left, right), (0, 0)), "symmetric")
    return Image.fromarray(pixels), frame.within((-left, -top), 1)


def _bounds(frame: Frame) -> tuple[Points, Points]:
    """The least and the largest coordinates of the frame."""
    corners = frame.corners()
    return corners.min(0), corners.max(0)
