"""invcomp decompress: .ivc files and archives to images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from . import show
from .archive import member_jobs
from .jobs import Job, find_sources, is_folder, plan
from .options import Device, FilesModel, Force, Output
from .sources import ARCHIVE, FILE, is_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL import Image

    from ..decoder import Decoder
    from ..errors import InvcompError


_Input: TypeAlias = "tuple[Job, Callable[[], bytes]]"  # and how it is read


@dataclass(frozen=True)
class _Wanted:
    """What is decoded of each file; see `Decoder.decompress`."""

    first_bytes: int | None
    size: int | None
    faces_only: bool
    max_pixels: int | None = None


@dataclass(frozen=True)
class _Task:
    """A job, the content of its file, and a note for its result line."""

    job: Job
    data: bytes
    note: str


def decompress(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help=".ivc and .ivca files, folders.")
    ],
    output: Output = None,
    first_bytes: Annotated[
        int | None,
        typer.Option(
            "--bytes",
            metavar="N",
            help="Decode only the first N bytes; the file may be truncated.",
            show_default="all",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            metavar="N",
            help="Longer side of the image in pixels.",
            show_default="the original's",
        ),
    ] = None,
    face_only: Annotated[
        bool,
        typer.Option("--face-only", help="Of a photo, decode the first face alone."),
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="NAME",
            help="Of an archive, decode this member alone. May be repeated, and have a * in it.",
            show_default="all",
        ),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            "--max-pixels",
            metavar="N",
            min=1,
            help="Refuse larger images: a small file can claim any size.",
            show_default="Pillow's limit, 89478485",
        ),
    ] = None,
    model: FilesModel = None,
    proxy: Annotated[
        bool,
        typer.Option("--proxy", help="Small, rough preview without the model's weights."),
    ] = False,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Decompress .ivc files and archives to images.

    Images are PNG, or the format of the suffix of -o.

    A file of a photo with faces decodes to the whole photo.

    Without -o, each image is written next to its file. An archive becomes a folder next to it.

    Where an archive has the times of the originals, the images get them.
    """
    from ..bitstream import read_ivc
    from ..errors import BundleError, DownloadError, MissingBundleError, OptionError
    from .images import image_format

    if proxy and model:
        raise OptionError("--proxy and --model exclude each other")
    if size is not None and size < 1:
        raise OptionError(f"--size {size}: at least 1 is needed")
    wanted = _Wanted(first_bytes, size, face_only, max_pixels)
    outcomes = show.Outcomes()
    sources = find_sources(files, {FILE, ARCHIVE}, outcomes)
    if only and not any(map(is_archive, sources)):
        raise OptionError("--only chooses from an archive, and none is given")
    several = len(sources) > 1
    into_folder = len(files) > 1 or is_folder(files[0])
    single = [path for path in sources if not is_archive(path)]
    jobs = plan(single, output, into_folder, ".png", force, outcomes)
    inputs: list[_Input] = [(job, partial(read_ivc, job.source)) for job in jobs]
    for path in sources:
        if is_archive(path):
            inputs += member_jobs(path, output, several, only or [], force, outcomes)
    for job, _ in inputs:
        image_format(job.target)  # fails on an unknown suffix
    with show.Meter() as meter:
        for name, tasks in _read(inputs, first_bytes, model, proxy, outcomes).items():
            try:
                decoder = open_decoder(name, device, meter) if name else None
            except (BundleError, DownloadError, MissingBundleError) as error:
                if model:
                    raise
                for task in tasks:  # files of other models are still decoded
                    outcomes.failed(f"{task.job.source}: {error}")
                continue
            _decompress_all(decoder, tasks, wanted, force, outcomes, meter)
    outcomes.finish()


def open_decoder(model: str, device: str, meter: show.Meter) -> Decoder:
    """The decoder of a model, which is downloaded if necessary."""
    from ..decoder import Decoder
    from ..device import choose_device
    from .models import fetch_bundle

    choose_device(device)  # fails before anything is downloaded
    return Decoder(fetch_bundle(model, meter, aids=False), device)


def _read(
    inputs: list[_Input],
    first_bytes: int | None,
    model: str | None,
    proxy: bool,
    outcomes: show.Outcomes,
) -> dict[str, list[_Task]]:
    """Reads the files and groups them by the model that decodes them.

    Those that a conventional codec coded need none; their group has the name "".
    """
    from ..bitstream import IvcFile
    from ..errors import InvcompError
    from ..lookup import find_bundle

    groups: dict[str, list[_Task]] = {}
    for job, read in inputs:
        try:
            data = read()
            file = IvcFile.unpack(data, first_bytes)
            name = (model or find_bundle(file.fingerprint, proxy)) if file.needs_bundle else ""
            if first_bytes is not None:
                _warn_of_damage(job.source, data)
            note = (
                f"  from {min(first_bytes, len(data))} bytes"
                if first_bytes and file.missing
                else ""
            )
            groups.setdefault(name, []).append(_Task(job, data, note))
        except InvcompError as error:
            outcomes.failed(f"{job.source}: {error}")
        except OSError as error:
            outcomes.failed(f"{job.source}: cannot be read: {error.strerror}")
    return groups


def _warn_of_damage(path: Path, data: bytes) -> None:
    """Warns if the whole file does not match its checksum."""
    from ..bitstream import IvcFile
    from ..errors import BitstreamError

    try:
        IvcFile.unpack(data)
    except BitstreamError as error:
        show.warning(f"{path}: {error}; decoded unverified because of --bytes")


def _decompress_all(
    decoder: Decoder | None,
    tasks: list[_Task],
    wanted: _Wanted,
    force: bool,
    outcomes: show.Outcomes,
    meter: show.Meter,
) -> None:
    """Decompresses the files of one model in batches."""
    from ..errors import InvcompError
    from .images import set_time, write_image

    name = f"decompressing with {decoder.bundle.settings.name}" if decoder else "decompressing"
    size = decoder.batch_size if decoder else 1
    for first in range(0, len(tasks), size):
        batch = tasks[first : first + size]
        meter.show(name, first, len(tasks), f"{first} of {len(tasks)} files")
        images = _decode(decoder, batch, wanted)
        for task, image in zip(batch, images, strict=True):
            source, target = task.job.source, task.job.target
            try:
                if isinstance(image, InvcompError):
                    raise image
                write_image(image, target, force)
                if task.job.time is not None:
                    set_time(target, task.job.time)
                show.result(f"{source} -> {target}  {image.width} x {image.height}{task.note}")
            except InvcompError as error:
                outcomes.failed(f"{source}: {error}")
    meter.drop(name)


def _decode(
    decoder: Decoder | None, tasks: list[_Task], wanted: _Wanted
) -> Iterator[Image.Image | InvcompError]:
    """The image of each task, or its error. Each image is made when it is asked for."""
    from ..bitstream import IvcFile
    from ..errors import InvcompError
    from ..photo import conventional_image

    done = 0
    try:
        if decoder is None:
            file = IvcFile.unpack(tasks[0].data, wanted.first_bytes)
            yield conventional_image(file, wanted.size, wanted.max_pixels)
            return
        for image in decoder.decompress_each([task.data for task in tasks], **vars(wanted)):
            done += 1
            yield image
    except InvcompError as error:
        if len(tasks) == 1:
            yield error
        else:
            for task in tasks[done:]:
                yield from _decode(decoder, [task], wanted)
