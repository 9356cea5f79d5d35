"""What is asked of compressing on the command line: options, checked before any work begins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import show

if TYPE_CHECKING:
    from PIL import Image

    from ..bundle import Bundle
    from ..codec import Codec
    from ..encoder import EncodeOptions
    from ..inversion.options import SearchOptions
    from .encoding import Handling, Stream


def advice_on(model: str, most_bytes: int | None) -> str | None:
    """What to say of a limit in bytes at which a conventional codec is as good as a model."""
    from ..model_zoo.catalogue import KNOWN_MODELS

    known = KNOWN_MODELS.get(model)
    if most_bytes is None or known is None or known.equalled_from is None:
        return None
    if most_bytes <= known.equalled_from:
        return None
    return (
        f"note: from some {known.equalled_from} bytes on, AVIF is as much like the original as "
        f"{model}, by {known.equalled_by} (see the benchmarks)"
    )


def check_handling(handling: Handling, options: EncodeOptions, frame: str) -> None:
    """Checks what is asked of photos.

    Args:
        handling: to check.
        options: of compressing.
        frame: of the bundle.

    Raises:
        OptionError: options exclude each other, or there is no such codec.
        ImageError: a codec is not available here.
    """
    from ..conventional import require
    from ..errors import OptionError
    from ..preprocessing.frame import FACE

    if handling.all_faces and options.face is not None:
        raise OptionError("--face and --all-faces exclude each other")
    if handling.strict and handling.fallback:
        raise OptionError("--strict and --fallback exclude each other")
    if handling.all_faces or handling.keep_photo:
        if (options.frame or frame) != FACE:
            raise OptionError("--all-faces and --keep-photo need --frame ffhq-face")
        if handling.keep_photo:
            require(handling.codec)
    if handling.fallback:
        require(handling.fallback)


def encode_options(aims: dict[str, Any], **others: Any) -> EncodeOptions:
    """The options of compressing.

    Args:
        aims: quality, and the attributes of a goal. At most one is not None.
        others: the other attributes.

    Raises:
        OptionError: more than one aim is given, or an option is out of range.
    """
    from ..encoder import EncodeOptions
    from ..errors import OptionError
    from ..inversion.options import Goal

    given = {name: value for name, value in aims.items() if value is not None}
    if len(given) > 1:
        raise OptionError("--quality, --bytes, --bpp and --max-lpips exclude each other")
    if not 0 <= given.get("quality", 0) <= 100:  # before a model is fetched for nothing
        raise OptionError(f"quality {given['quality']} is not in 0..100")
    aim = given if given.keys() <= {"quality"} else {"goal": Goal(**given)}
    return EncodeOptions(**aim, **others)


def read_mask(name: str) -> Image.Image | str:
    """The image of a mask; the name of a built-in mask is returned unchanged.

    Raises:
        ImageError: it cannot be read.
    """
    from ..preprocessing.reading import read_image
    from ..preprocessing.region import FACES_OVAL

    return name if name == FACES_OVAL else read_image(Path(name))


def search_options(**given: Any) -> SearchOptions:
    """The options of the search; None means the default.

    Raises:
        OptionError: an option is out of range.
    """
    from ..inversion.options import SearchOptions

    return SearchOptions(**{name: value for name, value in given.items() if value is not None})


def open_codec(model: str, device: str, compiled: bool | None, meter: show.Meter) -> Codec:
    """The codec of a model, which is downloaded if necessary.

    Raises:
        InvcompError: as `Codec.load`.
    """
    from ..codec import Codec
    from ..device import choose_device
    from .models import fetch_bundle

    choose_device(device)  # fails before anything is downloaded
    return Codec(fetch_bundle(model, meter), device, compiled)


def devices_of(device: str, workers: int | None) -> list[str]:
    """The device of each process.

    Args:
        device: one or several, with commas between them.
        workers: processes for each; None: 1.

    Raises:
        OptionError: there is no such device, or no process.
    """
    from ..device import choose_device
    from ..errors import OptionError

    if workers is not None and workers < 1:
        raise OptionError(f"{workers} workers: at least 1 is needed")
    devices = [str(choose_device(name.strip())) for name in device.split(",")]
    return devices * (workers or 1)


def open_stream(
    model: str,
    device: str,
    workers: int | None,
    cluster: str | None,
    compiled: bool | None,
    meter: show.Meter,
) -> tuple[Bundle, Stream]:
    """A model, which is downloaded if necessary, and what encodes by it.

    That is a codec in this process, processes of this machine, or a cluster.

    Raises:
        InvcompError: as `Codec.load`, `Workers` and `Cluster`.
    """
    from .models import fetch_bundle

    if cluster is not None:
        from ..cluster import Cluster

        show.needs("ray", "ray", "pyarrow", "pandas")
        pool = Cluster(fetch_bundle(model, meter), cluster, workers, device, compiled)
        return pool.bundle, pool.stream
    devices = devices_of(device, workers)
    if len(devices) == 1:
        codec = open_codec(model, devices[0], compiled, meter)
        return codec.bundle, codec.stream
    from ..workers import Workers

    bundle = fetch_bundle(model, meter)
    return bundle, Workers(bundle, devices, compiled).stream
