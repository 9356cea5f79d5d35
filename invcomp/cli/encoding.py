"""The run of `invcomp compress`: what is compressed, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from . import show
from .jobs import Job, obstacle

if TYPE_CHECKING:
    from ..codec import Codec
    from ..encoder import EncodeOptions
    from ..measurement import Encoded
    from ..preprocessing.alignment import Frame
    from ..preprocessing.colour import Colour
    from ..runner import Outcome, StreamProgress

HINT = "--frame center-crop compresses its centred square"


@dataclass(frozen=True)
class Part:
    """An image to compress: all that is compressed of a source, or one face of it.

    Attributes:
        job: its source and target.
        place: of the face; None: it is fitted when it is read.
    """

    job: Job
    place: Frame | None = None


def parts_of(
    jobs: list[Job],
    codec: Codec,
    options: EncodeOptions,
    matte: Colour,
    all_faces: bool,
    force: bool,
    outcomes: show.Outcomes,
    meter: show.Meter,
) -> list[Part]:
    """One part for each job or, with `all_faces`, for each face that can be compressed.

    Raises:
        OptionError: all faces are asked for, and the frame is not that of a face.
    """
    if not all_faces:
        return [Part(job) for job in jobs]
    from ..errors import ImageError, OptionError
    from ..preprocessing.frame import FACE

    if options.face is not None or (options.frame or codec.bundle.settings.frame) != FACE:
        raise OptionError("--all-faces needs the frame ffhq-face, and no --face")
    parts: list[Part] = []
    for done, job in enumerate(jobs):
        meter.show("finding faces", done, len(jobs), f"{done} of {len(jobs)}  {job.source.name}")
        try:
            parts += _faces_of(job, matte, force, outcomes)
        except ImageError as error:
            outcomes.failed(str(error))
    meter.drop("finding faces")
    return parts


def _faces_of(job: Job, matte: Colour, force: bool, outcomes: show.Outcomes) -> Iterator[Part]:
    """The faces of one source that can be compressed, the largest first."""
    from ..perception.faces import find_faces
    from ..perception.faces import obstacle as face_obstacle
    from ..preprocessing.reading import read_image

    faces = find_faces(read_image(job.source, matte))
    if not faces:
        outcomes.failed(f"{job.source}: no face was found: {HINT}")
    for number, face in enumerate(faces, 1):
        target = job.target.with_stem(f"{job.target.stem}-{number}")
        if found := face_obstacle(face):
            show.warning(f"{job.source}: face {number}: {found.message}")
        elif reason := obstacle(target, force):
            outcomes.failed(f"{job.source}: {reason}")
        else:
            yield Part(replace(job, target=target), face.frame)


def _load(part: Part, matte: Colour, resolution: int) -> Any:
    """The image of a part, fitted if its place is known."""
    from ..fitting import fit_face
    from ..preprocessing.reading import read_image

    image = read_image(part.job.source, matte)
    return image if part.place is None else fit_face(image, part.place, resolution)


@dataclass
class EncodingRun:
    """One run of the command: its settings and totals."""

    codec: Codec
    options: EncodeOptions
    force: bool
    outcomes: show.Outcomes
    meter: show.Meter
    matte: Colour
    bytes: int = 0
    written: int = 0
    shown: str = ""  # the name of the bar of the present batch

    def compress_all(self, parts: Sequence[Part]) -> None:
        """Compresses all parts. A failure is reported, and the others go on."""
        resolution = self.codec.bundle.resolution
        inputs = ((part, partial(_load, part, self.matte, resolution)) for part in parts)
        for outcome in self.codec.stream(inputs, self.options, len(parts), self._show):
            self.meter.drop(self.shown)
            for note in outcome.notes:
                show.warning(f"{outcome.key.job.source}: {note}")
            if outcome.encoded is not None:
                self._write(outcome.key.job, outcome.encoded)
            else:
                self._failed(outcome)
        if self.written > 1:
            mean = self.bytes / self.written
            show.result(f"{self.written} images, {mean:.1f} bytes on average")

    def _failed(self, outcome: Outcome) -> None:
        from ..errors import FrameError, ImageError

        message, source = str(outcome.error), str(outcome.key.job.source)
        if isinstance(outcome.error, FrameError):
            self.outcomes.failed(f"{source}: {message}: {HINT}")
        elif isinstance(outcome.error, ImageError):
            self.outcomes.failed(message)  # with the file's name
        else:
            self.outcomes.failed(f"{source}: {message}")

    def _show(self, state: StreamProgress) -> None:
        self.shown = ", ".join(part.job.source.name for part in state.keys)
        show.search_progress(self.meter, self.shown)(state.search)
        if state.total is not None and state.total > len(state.keys):
            note = f"{int(state.amount)} of {state.total}"
            self.meter.show("all images", state.amount, state.total, note)

    def _write(self, job: Job, encoded: Encoded) -> None:
        from ..errors import OutputError
        from .images import write_bytes

        try:
            write_bytes(encoded.data, job.target, self.force)
        except OutputError as error:
            self.outcomes.failed(f"{job.source}: {error}")
            return
        self.written += 1
        self.bytes += len(encoded.data)
        fill = "" if encoded.fill is None else f" ({encoded.fill:.0%} of {encoded.limit})"
        identity = "" if encoded.identity is None else f"identity {encoded.identity:.2f}  "
        show.result(
            f"{job.source} -> {job.target}  {len(encoded.data)} bytes{fill}  "
            f"{encoded.bits_per_pixel:.5f} bpp  LPIPS {encoded.lpips:.3f}  {identity}"
            f"PSNR {encoded.psnr:.1f} dB  {encoded.seconds:.1f} s"
        )
