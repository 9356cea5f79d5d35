"""What an .ivc file says of a photo: where its faces are, further faces, the rest of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image

from .. import conventional
from ..bitstream import FACES, MORE_DETAILS, PHOTO, IvcFile
from ..bitstream.ivc import pack_length, unpack_length
from ..errors import BitstreamError, ImageError
from ..preprocessing.alignment import Frame

WHOLE = 0xFFFF  # a place's centre at the right or lower edge
SIDES, TURN = 16384, 65536  # units of a place's side in the longer side, of its angle in a turn


@dataclass(frozen=True)
class Place:
    """A face's frame as a file stores it.

    Attributes:
        x, y: its centre, in 65535ths of the photo's width and height.
        side: in 16384ths of the photo's longer side.
        angle: in 65536ths of a turn, clockwise.
    """

    x: int
    y: int
    side: int
    angle: int

    @classmethod
    def of(cls, frame: Frame, size: tuple[int, int]) -> Place:
        """The nearest place to a frame in a photo of `size`.

        Raises:
            ImageError: the frame's centre lies beyond the photo, or its side is over 3.99 times
                the photo's longer side.
        """
        x, y = (
            round(centre / side * WHOLE)
            for centre, side in zip((frame.x, frame.y), size, strict=True)
        )
        side = max(round(frame.side / max(size) * SIDES), 1)
        if not (0 <= x <= WHOLE and 0 <= y <= WHOLE and side <= 0xFFFF):
            raise ImageError("the face's frame lies too far beyond the photo to be stored")
        return cls(x, y, side, round(frame.angle / 360 * TURN) % TURN)

    def frame(self, size: tuple[int, int]) -> Frame:
        """The frame in a photo of `size`."""
        (width, height), angle = size, self.angle - TURN * (self.angle > TURN // 2)
        return Frame(
            self.x / WHOLE * width,
            self.y / WHOLE * height,
            self.side / SIDES * max(size),
            angle * 360 / TURN,
        )


def quantised(frame: Frame, size: tuple[int, int]) -> Frame:
    """The frame that a file stores for `frame` in a photo of `size`, by which to align.

    Raises:
        ImageError: as `Place.of`.
    """
    return Place.of(frame, size).frame(size)


class CodedFace(NamedTuple):
    """A further face of a photo.

    Attributes:
        step_index: of its q_step.
        payload: of its coordinates.
        detail: the layer of its detail; empty if it has none.
    """

    step_index: int
    payload: bytes
    detail: bytes = b""


@dataclass(frozen=True)
class FacesLayer:
    """The further faces of a photo.

    Attributes:
        faces: at least one.
    """

    faces: tuple[CodedFace, ...]

    def pack(self) -> bytes:
        """The layer's bytes, without the details."""
        return b"".join(
            bytes([face.step_index]) + pack_length(len(face.payload)) + face.payload
            for face in self.faces
        )

    def pack_details(self) -> bytes:
        """The bytes of the layer of their details; empty if no face has one."""
        if not any(face.detail for face in self.faces):
            return b""
        return b"".join(pack_length(len(face.detail)) + face.detail for face in self.faces)

    @classmethod
    def unpack(cls, data: bytes, details: bytes = b"") -> FacesLayer:
        """Reads the layer's bytes, and those of the layer of details.

        Raises:
            BitstreamError: they make no sense.
        """
        faces: list[CodedFace] = []
        at = 0
        while at < len(data) or not faces:
            length, start = unpack_length(data, at + 1)
            if start + length > len(data):
                raise BitstreamError("altered: the layer of its faces ends within one")
            faces.append(CodedFace(data[at], data[start : start + length]))
            at = start + length
        at = 0
        for index, face in enumerate(faces if details else ()):
            length, start = unpack_length(details, at)
            at = start + length
            faces[index] = face._replace(detail=details[start:at])
        if at != len(details):
            raise BitstreamError("altered: the layer of its details does not fit its faces")
        return cls(tuple(faces))


@dataclass(frozen=True)
class PhotoLayer:
    """Where the faces of a photo are, and the rest of it.

    Attributes:
        size: of the photo, (width, height) in pixels.
        places: of its faces, the first one included.
        stream: of a conventional codec; empty: only the faces are known.
    """

    size: tuple[int, int]
    places: tuple[Place, ...]
    stream: bytes

    def pack(self) -> bytes:
        """The layer's bytes."""
        values = [place for each in self.places for place in vars(each).values()]
        return b"".join(value.to_bytes(2, "big") for value in [*self.size, *values]) + self.stream

    @classmethod
    def unpack(cls, data: bytes, count: int) -> PhotoLayer:
        """Reads the layer's bytes; `count` is the number of faces.

        Raises:
            BitstreamError: they make no sense.
        """
        end = 4 + 8 * count
        if len(data) < end:
            raise BitstreamError(f"altered: the layer of its photo has {len(data)} bytes of {end}")
        width, height, *values = (
            int.from_bytes(data[at : at + 2], "big") for at in range(0, end, 2)
        )
        places = tuple(Place(*values[at : at + 4]) for at in range(0, len(values), 4))
        if not (width and height and all(place.side for place in places)):
            raise BitstreamError("altered: the layer of its photo has a side of 0")
        return cls((width, height), places, data[end:])

    def background(self) -> Image.Image | None:
        """The photo without its faces, in the coded size; None: only the faces are known.

        Raises:
            BitstreamError: the stream is damaged.
            ImageError: Pillow cannot read its codec here.
        """
        return conventional.decompress(self.stream) if self.stream else None


def photo_in(file: IvcFile) -> tuple[FacesLayer, PhotoLayer] | None:
    """The layers of a photo in a file; None if it has none, or only a part of them.

    Raises:
        BitstreamError: they make no sense.
    """
    more, photo = file.layer(FACES), file.layer(PHOTO)
    if photo is None:
        return None
    details = file.layer(MORE_DETAILS) or b""
    faces = FacesLayer(()) if more is None else FacesLayer.unpack(more, details)
    return faces, PhotoLayer.unpack(photo, 1 + len(faces.faces))
