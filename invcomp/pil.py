"""Registers .ivc with Pillow: import this module to read and write .ivc files.

    import invcomp.pil
    image = Image.open("portrait.ivc")    # decoded on first access to its pixels
    image.save("smaller.ivc", quality=20)
    image.save("within.ivc", goal=Goal(bytes=150))    # invcomp.Goal

Pillow has no entry points for formats of other packages, so importing this module registers it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageFile

from .bitstream import MAGIC, IvcFile
from .bitstream.ivc import LARGEST_FILE
from .errors import InvcompError
from .photo import conventional_image, own_size

if TYPE_CHECKING:
    from .codec import Codec
    from .decoder import Decoder

FORMAT = "IVC"
OPTIONS = ("quality", "q_step", "goal", "mask", "search")  # of Codec.encode


class IvcImageFile(ImageFile.ImageFile):
    """An .ivc file opened by Pillow; `info` contains "bundle" (hex) and "step_index".

    Errors of a file or its bundle are raised as OSError, as users of Pillow expect.
    """

    format = FORMAT
    format_description = "invcomp latent-inversion image"

    def _open(self) -> None:
        assert self.fp is not None
        self._data = self.fp.read(LARGEST_FILE + 1)
        if len(self._data) > LARGEST_FILE:
            raise OSError(f"over {LARGEST_FILE:,} bytes are no .ivc file")
        try:
            file = IvcFile.unpack(self._data)
            self._size = own_size(file) or (_resolution(file.fingerprint),) * 2
        except InvcompError as error:
            raise OSError(str(error)) from error
        self._mode = "RGB"
        self.info = {"bundle": file.fingerprint.hex(), "step_index": file.step_index}

    def load(self) -> Any:
        """Decodes the image on the first call."""
        if self._im is None:
            from .lookup import find_bundle

            try:
                file = IvcFile.unpack(self._data)
                if file.needs_bundle:
                    decoder = _decoder(find_bundle(file.fingerprint))
                    self.im = decoder.decompress(self._data).im
                else:
                    self.im = conventional_image(file).im
            except InvcompError as error:
                raise OSError(str(error)) from error
        return super().load()


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """Implements Pillow's `save`, with the option `model` and those in `OPTIONS`."""
    options = dict(image.encoderinfo)
    codec = _codec(str(options.get("model", "faces-1024")))
    chosen = {name: options[name] for name in OPTIONS if name in options}
    file.write(codec.compress(image, **chosen))


@lru_cache(maxsize=2)
def _codec(model: str) -> Codec:
    """Loads a codec; caches the last ones, because loading takes seconds."""
    from .codec import Codec

    return Codec.load(model)


@lru_cache(maxsize=2)
def _decoder(model: str) -> Decoder:
    """Loads a decoder, which needs nothing for the search; caches the last ones."""
    from .decoder import Decoder

    return Decoder.load(model)


@lru_cache(maxsize=16)
def _resolution(fingerprint: bytes) -> int:
    """Side in pixels of a bundle's images, without loading its weights."""
    from .bundle import read_bundle, read_metadata
    from .lookup import find_bundle
    from .model_zoo.catalogue import KNOWN_MODELS

    name = find_bundle(fingerprint)
    path = KNOWN_MODELS[name].prepared if name in KNOWN_MODELS else Path(name)
    resolution = read_metadata(path).get("resolution")
    if resolution is None:  # an older bundle without this metadata
        return read_bundle(path).generator.resolution
    return int(resolution)


Image.register_open(FORMAT, IvcImageFile, lambda prefix: prefix.startswith(MAGIC))
Image.register_save(FORMAT, _save)
Image.register_extension(FORMAT, ".ivc")
Image.register_mime(FORMAT, "image/x-ivc")
