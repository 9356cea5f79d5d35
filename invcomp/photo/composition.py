"""Composes a photo: its faces in their places, with blended edges."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from ..preprocessing.alignment import Frame, sample

# of a face's mask, in half sides of its frame
EXPONENT = 4  # of its outline, |x|^4 + |y|^4 = 1
EDGE = 0.14  # from the outline inwards, over which it is blended
MARGIN = 0.04  # from there on to the part that is not coded, because faces hide it

# the colours of a face are matched to what surrounds it, from its edge to where it is this near
MATCHED = 0.5
GRID, SPREAD = 64, 5  # the difference is taken at so many pixels a side, and blurred by so many
LARGEST_CHANGE = 16  # of a colour, in 255ths

GREY = (128, 128, 128)  # of a photo of which only the faces are known
CONTRAST = 4  # how sharply two faces that overlap are parted
BAND = 256  # rows that are composed at once

Size = tuple[int, int]  # width, height
Pixels = NDArray[np.float32]


def composed(
    background: Image.Image | None,
    faces: Iterable[Image.Image],
    frames: Sequence[Frame],
    size: Size,
) -> Image.Image:
    """A photo with its faces in their places.

    Args:
        background: the photo without its faces, of any size; None: it is not known.
        faces: square RGB images, of any resolution.
        frames: of the faces, in a photo of `size`.
        size: of the photo, (width, height) in pixels.
    """
    whole = background.resize(size, Image.Resampling.BICUBIC) if background else None
    canvas = np.array(whole or Image.new("RGB", size, GREY))
    nearness = np.zeros(canvas.shape[:2], np.float16)  # to the centre of the nearest face
    for face, frame in zip(faces, frames, strict=True):
        if background:
            face = _matched(face, background, frame.within((0, 0), size[0] / background.width))
        _place(canvas, nearness, face, frame)
    return Image.fromarray(canvas)


def _matched(face: Image.Image, background: Image.Image, frame: Frame) -> Image.Image:
    """A face whose colours towards its edge are those of the background, but for details.

    Args:
        face: the face.
        background: what surrounds it.
        frame: of the face in the background.
    """
    around = np.asarray(sample(background, frame, GRID, mirrored=True), np.float32)
    own = np.asarray(face.resize((GRID, GRID), Image.Resampling.BOX), np.float32)
    near = _nearness(Frame(GRID / 2, GRID / 2, GRID), (GRID, GRID))
    rim = np.float32((near > 0) & (near < EDGE))
    # edges that do not meet weigh no more than colours that differ
    change = np.clip(around - own, -3 * LARGEST_CHANGE, 3 * LARGEST_CHANGE) * rim[..., None]
    weight = gaussian_filter(rim, SPREAD) + 1e-4
    depth = np.clip((MATCHED - near) / (MATCHED - EDGE), 0, 1)
    share = depth * depth * (3 - 2 * depth)
    pixels = np.array(face, np.float32)
    for channel in range(3):
        blurred = gaussian_filter(change[..., channel], SPREAD) / weight
        limited = np.clip(blurred, -LARGEST_CHANGE, LARGEST_CHANGE) * share
        plane = Image.fromarray(np.asarray(limited, np.float32))
        pixels[..., channel] += np.asarray(plane.resize(face.size, Image.Resampling.BILINEAR))
    return Image.fromarray(np.rint(pixels).clip(0, 255).astype(np.uint8))


def _place(
    canvas: NDArray[np.uint8], nearness: NDArray[np.float16], face: Image.Image, frame: Frame
) -> None:
    """Blends a face into the canvas."""
    side = min(face.width, math.ceil(frame.side))
    if side < face.width:
        face = face.resize((side, side), Image.Resampling.LANCZOS)
    corners, limits = frame.corners(), canvas.shape[1::-1]
    left, top = np.clip(np.floor(corners.min(0)), 0, limits).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(0)), 0, limits).astype(int)
    if right <= left:
        return
    for start in range(top, bottom, BAND):
        rows, columns = slice(start, min(start + BAND, bottom)), slice(left, right)
        size, part = (right - left, rows.stop - start), frame.within((left, start), 1)
        warped = face.transform(
            size, Image.Transform.AFFINE, part.affine_back(side), Image.Resampling.BICUBIC
        )
        near, before = _nearness(part, size), nearness[rows, columns].astype(np.float32)
        share = near**CONTRAST / np.maximum(near**CONTRAST + before**CONTRAST, 1e-12)
        behind = canvas[rows, columns].astype(np.float32)
        mixed = behind + (np.asarray(warped) - behind) * (_mask(near) * share)[..., None]
        canvas[rows, columns] = np.rint(mixed)
        nearness[rows, columns] = np.maximum(near, before)


def _nearness(frame: Frame, size: Size) -> Pixels:
    """Of the pixels of an image: 1 at the frame's centre, 0 on its outline and beyond."""
    x, y = (np.arange(length, dtype=np.float32) + 0.5 for length in size)
    corner, right, below = frame.in_frame(np.array([[0, 0], [1, 0], [0, 1]], float))
    across, down = right - corner, below - corner
    powers = 0
    for axis in range(2):
        along = corner[axis] + across[axis] * x[None] + down[axis] * y[:, None]
        powers = powers + np.square(np.square(2 * along.astype(np.float32) - 1))
    nearness: Pixels = np.maximum(1 - powers ** (1 / EXPONENT), 0)
    return nearness


def _mask(near: Pixels) -> Pixels:
    """How much of a face is shown, 0 to 1."""
    share = np.clip(near / EDGE, 0, 1)
    smooth: Pixels = share * share * (3 - 2 * share)
    return smooth


def without_faces(photo: Image.Image, frames: Sequence[Frame], longer: int) -> Image.Image:
    """A photo whose parts that faces hide are filled smoothly, as they need not be coded.

    Args:
        photo: an RGB image.
        frames: of its faces.
        longer: longer side in pixels to which it is reduced if it has more.
    """
    scale = max(max(photo.size) / longer, 1)
    size = max(1, round(photo.width / scale)), max(1, round(photo.height / scale))
    pixels = np.asarray(photo.resize(size, Image.Resampling.LANCZOS), np.float32)
    known = np.ones((size[1], size[0], 1), np.float32)
    for frame in frames:
        known[_nearness(frame.within((0, 0), scale), size) >= EDGE + MARGIN] = 0
    return Image.fromarray(np.rint(_filled(pixels, known)).clip(0, 255).astype(np.uint8))


def _filled(pixels: Pixels, known: Pixels) -> Pixels:
    """Pixels [H, W, 3] whose unknown ones continue the known ones, from coarse to fine."""
    height, width = known.shape[:2]
    if known.all() or min(height, width) < 2:
        mean = (pixels * known).sum((0, 1)) / max(known.sum(), 1)
        return np.where(known > 0, pixels, mean).astype(np.float32)
    sums, weights = _halved(pixels * known), _halved(known)
    means = np.asarray(sums / np.maximum(weights, 1e-6), np.float32)
    coarse = _filled(means, (weights > 0).astype(np.float32))
    finer = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
        for plane in np.moveaxis(coarse, -1, 0)
    ]
    return np.where(known > 0, pixels, np.stack(finer, -1))


def _halved(values: Pixels) -> Pixels:
    """Means of 2 x 2 of [H, W, C], the last row or column twice if they are odd."""
    padded = np.pad(values, ((0, len(values) % 2), (0, values.shape[1] % 2), (0, 0)), "edge")
    height, width, channels = padded.shape
    blocks = padded.reshape(height // 2, 2, width // 2, 2, channels)
    return np.asarray(blocks.mean((1, 3)), np.float32)
