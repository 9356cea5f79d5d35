"""invcomp compress: images to .ivc files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import show
from .encode_options import (
    advice_on,
    check_handling,
    encode_options,
    open_stream,
    read_mask,
    search_options,
)
from .jobs import path_or_url
from .options import DEFAULT_MODEL, Compile, Face, Force, Model, Output, checked_seed
from .outputs import MemberOptions, output_of

PHOTOS, SETS = "Photos", "Sets of images"


def compress(
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE", help="Images or folders; paths or URLs.", parser=path_or_url
        ),
    ],
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
    times: Annotated[
        bool,
        typer.Option(
            "--times",
            help="Store when each image was changed last, in 1 to 4 bytes. decompress restores it.",
            rich_help_panel=SETS,
        ),
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name in the archive of an image from standard input (-).",
            show_default=False,
            rich_help_panel=SETS,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Processes for each device. On a CPU, two on two cores are 1.5 times faster than "
            "one; each takes the memory of a model.",
            show_default="1; on a cluster, one for each CPU or GPU",
            rich_help_panel=SETS,
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="auto|ADDRESS|local",
            help="Compress on a Ray cluster: the one of this machine, of an address, or one that "
            "ends with the command.",
            show_default=False,
            rich_help_panel=SETS,
        ),
    ] = None,
    failed_list: Annotated[
        Path | None,
        typer.Option(
            "--failed",
            metavar="FILE",
            help="List the inputs that failed, and why, in a file of tab-separated values.",
            show_default="ARCHIVE.failed.tsv for an archive",
            rich_help_panel=SETS,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="auto|cpu|cuda|mps",
            help="Device to compute on. Several, such as cuda:0,cuda:1, share the images.",
        ),
    ] = "auto",
    compiled: Compile = None,
    force: Force = False,
) -> None:
    """Compress images to .ivc files of a few hundred bytes.

    Face models find the face of each photo and align it. Other models take the largest centred
    square. A photo without a face is refused, unless --fallback stores it by another codec.

    A folder means all images in it.

    -o SET.ivca writes one archive, with all images in folders below too. If it exists, the images
    that it lacks are added. It may be a URL, such as s3://bucket/set.ivca.

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
    # faces go into files of their own, which are checked when their number is known
    numbered = all_faces and not keep_photo
    with output_of(output, force, MemberOptions(times, name)) as written:
        outcomes = show.Outcomes(failed_list or written.failed_list)
        jobs = written.plan(images, readable_suffixes() - {".ivc"}, numbered, outcomes)
        if jobs:
            with show.Meter() as meter:
                bundle, stream = open_stream(model, device, workers, cluster, compiled, meter)
                check_handling(handling, options, bundle.settings.frame)
                if advice := advice_on(bundle.settings.name, most_bytes):
                    meter.note(advice)
                parts = parts_of(jobs, handling, behind, written, outcomes, meter)
                where = (written, outcomes, meter)
                run = EncodingRun(bundle, stream, options, handling, *where, behind)
                run.compress_all(parts)
    outcomes.finish()
