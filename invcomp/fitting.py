"""Fits an image to a bundle's frame: its face is found and aligned, or its own frame is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from .errors import FrameError
from .perception.faces import FoundFace, find_faces, obstacle
from .photo import quantised
from .preprocessing.alignment import Frame, align, is_aligned
from .preprocessing.frame import CENTRE_CROP, FACE, PAD, fit, to_pil, to_tensor


@dataclass(frozen=True)
class Fitted:
    """An image in a bundle's frame.

    Attributes:
        tensor: [1, 3, R, R] in [-1, 1].
        size: width and height in pixels of what was fitted; None: R.
        padded: whether it does not fill the frame, because its edges were continued to a square.
        place: of the face that was cut out of the image; None: the image is fitted as a whole.
        notes: what the user should know, one line each.
    """

    tensor: Tensor
    size: tuple[int, int] | None = None
    padded: bool = False
    place: Frame | None = None
    notes: tuple[str, ...] = ()


def fit_image(
    image: Any, resolution: int, frame: str = CENTRE_CROP, face: int | None = None
) -> Fitted:
    """Fits an image, as `compress` does.

    Args:
        image: of the kinds that `Codec.compress` takes. One that is fitted is returned unchanged.
        resolution: of the generator in pixels.
        frame: one of `FRAMES`. By "ffhq-face" a face is cut out and aligned; an image that is
            aligned already is left alone.
        face: which face, 1 for the largest. None: the largest, with a note if there are others.

    Raises:
        ImageError: an image of another kind, or one that cannot be read completely.
        FrameError: there is no face that can be coded, or fewer than asked for.
    """
    if isinstance(image, Fitted):
        return image
    if frame != FACE:
        tensor, size = fit(image, resolution, frame)
        return Fitted(tensor, size, frame == PAD and size is not None and size[0] != size[1])
    photo = to_pil(image)
    faces = find_faces(photo)
    chosen = chosen_face(faces, face)
    notes: tuple[str, ...] = ()
    if face is None and len(faces) > 1:
        notes = (f"{len(faces)} faces were found: the largest is compressed",)
    return fit_face(photo, chosen.frame, resolution, notes)


def chosen_face(faces: Sequence[FoundFace], number: int | None = None) -> FoundFace:
    """The face of a number; None: the largest.

    Args:
        faces: of one image, the largest first.
        number: 1 for the largest.

    Raises:
        FrameError: there is no such face, or it cannot be coded.
    """
    if number is not None and faces and number > len(faces):
        raise FrameError(f"face {number} was asked for, {len(faces)} found")
    face = faces[(number or 1) - 1] if faces else None
    if (found := obstacle(face)) or face is None:
        raise FrameError(found.message if found else "no face was found")
    return face


def fit_face(
    photo: Image.Image, frame: Frame, resolution: int, notes: tuple[str, ...] = ()
) -> Fitted:
    """A face whose frame is known; see `fit_image`.

    Args:
        photo: upright and in sRGB.
        frame: of the face.
        resolution: of the generator in pixels.
        notes: for the user.
    """
    if is_aligned(frame, photo.size):
        return Fitted(*fit(photo, resolution), notes=notes)
    frame = quantised(frame, photo.size)  # as a file of the whole photo stores it
    tensor = to_tensor(align(photo, frame, resolution))
    return Fitted(tensor, place=frame, notes=notes)


def fit_faces(image: Any, resolution: int) -> list[Fitted]:
    """All faces of a photo that can be compressed, the largest first.

    Args:
        image: of the kinds that `Codec.compress` takes.
        resolution: of the generator in pixels.

    Raises:
        ImageError: an image of another kind, or one that cannot be read completely.
        FrameError: there is no such face.
    """
    photo = to_pil(image)
    faces = find_faces(photo)
    found = [face for face in faces if obstacle(face) is None] or [chosen_face(faces)]
    return [fit_face(photo, face.frame, resolution) for face in found]
