"""Files of photos, and of images that a conventional codec codes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from .. import conventional
from ..bitstream import CONVENTIONAL, DETAIL, FACES, MORE_DETAILS, PHOTO, IvcFile, Layer
from ..bitstream.ivc import NO_BUNDLE
from ..errors import ImageError, OptionError
from ..preprocessing.alignment import Frame
from ..preprocessing.reading import LARGEST_SIDE, check_size
from .composition import without_faces
from .layers import CodedFace, FacesLayer, PhotoLayer, Place, photo_in


def with_photo(
    first: bytes,
    more: Sequence[bytes],
    photo: Image.Image,
    frames: Sequence[Frame],
    codec: str,
    limit: int,
) -> bytes:
    """One file of a whole photo, made of the files of its faces.

    Args:
        first: the file of the face that readers show which know no photos.
        more: files of the other faces, by the same bundle.
        photo: upright and RGB.
        frames: of all faces, the first one included; each as `quantised` gives it.
        codec: for the rest of the photo, one of `conventional.CODECS`.
        limit: of the codec's stream in bytes; 0: no stream, the file holds only the faces.

    Raises:
        GoalError: the codec cannot write so few bytes.
        ImageError: the photo is over 65535 pixels a side, a frame lies too far beyond it, or the
            codec is not available here.
        OptionError: there is no such codec.
        ValueError: the files are not of one bundle, or hold more than a face.
    """
    files = [IvcFile.unpack(data) for data in (first, *more)]
    if len(frames) != len(files) or len({file.fingerprint for file in files}) > 1:
        raise ValueError("a photo has faces of one bundle, each with its frame")
    if any(
        {layer.tag for layer in file.layers} - {DETAIL} or file.original_size or file.version == 1
        for file in files
    ):
        raise ValueError("a photo is made of files of version 2 that hold nothing but a face")
    if max(photo.size) > LARGEST_SIDE:
        raise ImageError(f"{photo.width} x {photo.height} pixels: a photo has up to 65535 a side")
    places = tuple(Place.of(frame, photo.size) for frame in frames)
    frames = [place.frame(photo.size) for place in places]
    stream = b""
    if limit:
        rest = without_faces(photo, frames, conventional.SIZES[-1])
        stream = conventional.compress(rest, codec, limit)
    others = FacesLayer(
        tuple(
            CodedFace(file.step_index, file.payloads[0], file.layer(DETAIL) or b"")
            for file in files[1:]
        )
    )
    layers = [Layer(FACES, others.pack())] if others.faces else []
    layers.append(Layer(PHOTO, PhotoLayer(photo.size, places, stream).pack()))
    layers += files[0].layers  # its detail
    if details := others.pack_details():
        layers.append(Layer(MORE_DETAILS, details))
    return replace(files[0], layers=tuple(layers)).pack()


def conventional_file(image: Image.Image, codec: str, limit: int) -> bytes:
    """A file of an image by a conventional codec alone, which needs no bundle.

    Args:
        image: upright and RGB.
        codec: one of `conventional.CODECS`.
        limit: of the file in bytes.

    Raises:
        GoalError: the codec cannot write so small a file.
        ImageError: the image is over 65535 pixels a side, or the codec is not available here.
        OptionError: there is no such codec.
    """
    around = len(_conventional(image.size, b""))
    stream = conventional.compress(image, codec, limit, around)
    size = None if conventional.read_header(stream).size == image.size else image.size
    return _conventional(size, stream)


def _conventional(size: tuple[int, int] | None, stream: bytes) -> bytes:
    return IvcFile(NO_BUNDLE, 0, (b"",), size, (Layer(CONVENTIONAL, stream),)).pack()


def conventional_image(
    file: IvcFile, longer: int | None = None, most: int | None = None
) -> Image.Image:
    """The image of a file that a conventional codec coded.

    Args:
        file: with a layer CONVENTIONAL.
        longer: longer side of the image in pixels; None: that of the original.
        most: pixels; None: Pillow's limit.

    Raises:
        BitstreamError: its stream is damaged.
        ImageError: the size is over the limit, or Pillow cannot read its codec here.
        OptionError: the longer side is not at least 1.
        ValueError: the file has no such layer.
    """
    stream = file.layer(CONVENTIONAL)
    if stream is None:
        raise ValueError("a conventional file has a layer that says so")
    coded = conventional.read_header(stream).size
    size = shown_size(file.original_size or coded, longer, most)
    shown_size(coded, None, most)  # it is decoded in this size
    image = conventional.decompress(stream)
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def own_size(file: IvcFile) -> tuple[int, int] | None:
    """The size of a file's image: the photo's or the original's; None: the generator's own.

    Raises:
        BitstreamError: a layer makes no sense.
    """
    if photo := photo_in(file):
        return photo[1].size
    stream = file.layer(CONVENTIONAL)
    if file.original_size or stream is None:
        return file.original_size
    return conventional.read_header(stream).size


def shown_size(
    size: tuple[int, int], longer: int | None, most: int | None = None
) -> tuple[int, int]:
    """The size of an image of `size` that is scaled to a longer side, unless that is None.

    Raises:
        ImageError: it is over Pillow's limit, or has more than `most` pixels.
        OptionError: the longer side is not at least 1.
    """
    if longer is not None:
        if longer < 1:
            raise OptionError(f"a longer side of {longer} pixels: at least 1 is needed")
        scale = longer / max(size)
        size = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    check_size(size)
    if most is not None and size[0] * size[1] > most:
        raise ImageError(f"{size[0]} x {size[1]} pixels are more than {most:,}")
    return size
