"""invcomp compress: images to .ivc files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import show
from .options import DEFAULT_MODEL, Compile, Device, Face, Force, Model, Output, checked_seed
from .outputs import output_of

if TYPE_CHECKING:
    from PIL import Image

    from ..codec import Codec
    from ..encoder import EncodeOptions
    from ..inversion.options import SearchOptions
    from .encoding import Handling

PHOTOS = "Photos"


def compress(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Images or folders.")],
    output: Output = None,
    model: Model = DEFAULT_MODEL,
    quality: Annotated[
        float | None,
        typer.Option(
            metavar="0-100",
            help="Higher is better and larger. In models with a quality table, 50 means LPIPS "
            "0.09 on average and 75 half of that.",
            show_default="the model's",
        ),
    ] = None,
    most_bytes: Annotated[
        int | None,
        typer.Option(
            "--bytes",
            metavar="N",
            help="Largest file size in bytes, instead of a quality.",
            show_default=False,
        ),
    ] = None,
    bpp: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="At most X bits per pixel of the decoded image, instead of a quality.",
            show_default=False,
        ),
    ] = None,
    max_lpips: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Smallest file with LPIPS at most X, instead of a quality.",
            show_default=False,
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE|faces-oval",
            help="Region of interest: white in a mask image, or the face oval of a portrait.",
            show_default="uniform weights",
        ),
    ] = None,
    frame: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How images are fitted: ffhq-face (a face found and aligned), center-crop (the "
            "largest centred square), pad or stretch (all of the image).",
            show_default="the model's",
            rich_help_panel=PHOTOS,
        ),
    ] = None,
    face: Face = None,
    all_faces: Annotated[
        bool,
        typer.Option(
            "--all-faces",
            help="Compress every face: NAME-1.ivc, NAME-2.ivc and so on.",
            rich_help_panel=PHOTOS,
        ),
    ] = False,
    keep_photo: Annotated[
        bool,
        typer.Option(
            "--keep-photo",
            help="Keep the whole photo: the rest of it, by another codec, goes into the file. "
            "--bytes limits each face.",
            rich_help_panel=PHOTOS,
        ),
    ] = False,
    background: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Bytes for the rest of a photo, or for an image by --fallback.",
            rich_help_panel=PHOTOS,
        ),
    ] = 2000,
    background_codec: Annotated[
        str,
        typer.Option(
            metavar="avif|webp|jxl",
            help="Codec for the rest of a photo.",
            rich_help_panel=PHOTOS,
        ),
    ] = "avif",
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Refuse an image whose decoded image is beyond the limits of the model's domain.",
            rich_help_panel=PHOTOS,
        ),
    ] = False,
    fallback: Annotated[
        str | None,
        typer.Option(
            metavar="avif|webp|jxl",
            help="Store an image without a face, or beyond these limits, by another codec.",
            show_default=False,
            rich_help_panel=PHOTOS,
        ),
    ] = None,
    matte: Annotated[
        str,
        typer.Option(metavar="COLOUR", help="Colour behind transparent pixels: a name or #rrggbb."),
    ] = "white",
    iterations: Annotated[
        int | None,
        typer.Option(
            "--iterations",
            "--steps",
            metavar="N",
            help="Iterations of the search.",
            show_default="120, more for high qualities; half as many with --fast",
        ),
    ] = None,
    fast: Annotated[
        bool,
        typer.Option("--fast", help="Two to three times faster; slightly higher LPIPS."),
    ] = False,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--time",
            metavar="S",
            help="Seconds per image, instead of a number of iterations.",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Images per batch. On a CPU, more than 1 is not faster.",
            show_default="what fits on the GPU, 1 on a CPU",
        ),
    ] = None,
    starts: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Number of starts.",
            show_default="1 if the model has an encoder network, else 2",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Random seed.", callback=checked_seed, show_default="0"),
    ] = None,
    no_encoder: Annotated[
        bool,
        typer.Option(
            "--no-encoder",
            help="Do not start at the prediction of the bundle's encoder network.",
        ),
    ] = False,
    no_detail: Annotated[
        bool,
        typer.Option(
            "--no-detail",
            help="Store no offsets of feature maps, which bring large files nearer the original.",
        ),
    ] = False,
    class_index: Annotated[
        int | None,
        typer.Option(
            "--class",
            metavar="N",
            help="Class of a class-conditional model.",
            show_default="the best fit",
        ),
    ] = None,
    device: Device = "auto",
    compiled: Compile = None,
    force: Force = False,
) -> None:
    """Compress images to .ivc files of a few hundred bytes.

    Face models find the face of each photo and align it. Other models take the largest centred
    square. A photo without a face is refused, unless --fallback stores it by another codec.

    A folder means all images in it.

    -o SET.ivca writes one archive, with all images in folders below too. If it exists, the images
    that it lacks are added.

    Without -o, each file is written next to its image.
    """
    from ..preprocessing.colour import colour_of
    from ..preprocessing.reading import readable_suffixes
    from .encoding import EncodingRun, Handling, parts_of

    behind = colour_of(matte)
    handling = Handling(all_faces, keep_photo, background_codec, background, strict, fallback)
    options = encode_options(
        {"quality": quality, "bytes": most_bytes, "bits_per_pixel": bpp, "lpips": max_lpips},
        mask=None if mask is None else read_mask(mask),
        batch=batch,
        search=search_options(
            iterations=iterations,
            fast=fast,
            seconds=seconds,
            starts=starts,
            seed=seed,
            use_encoder=not no_encoder,
            detail=not no_detail,
            class_index=class_index,
        ),
        frame=frame,
        face=face,
    )
    outcomes = show.Outcomes()
    # faces go into files of their own, which are checked when their number is known
    numbered = all_faces and not keep_photo
    with output_of(output, force) as written:
        jobs = written.plan(images, readable_suffixes() - {".ivc"}, numbered, outcomes)
        if jobs:
            with show.Meter() as meter:
                codec = open_codec(model, device, compiled, meter)
                check_handling(handling, options, codec.bundle.settings.frame)
                if advice := advice_on(codec.bundle.settings.name, most_bytes):
                    meter.note(advice)
                parts = parts_of(jobs, handling, behind, written, outcomes, meter)
                run = EncodingRun(codec, options, handling, written, outcomes, meter, behind)
                run.compress_all(parts)
    outcomes.finish()


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
        f"{model}, by face recognition (see the benchmarks)"
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
