"""The run of `invcomp compress`: what is compressed, and what becomes of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any, Protocol

from . import show
from .jobs import Job
from .outputs import Files

if TYPE_CHECKING:
    from ..bundle import Bundle
    from ..encoder import EncodeOptions
    from ..measurement import Encoded
    from ..preprocessing.alignment import Frame
    from ..preprocessing.colour import Colour
    from ..runner import Input, Outcome, StreamCallback, StreamProgress

FEW = 20  # images; of more, each has no lines of its own where stderr is no terminal
HINT = "--frame center-crop compresses its centred square"


@dataclass(frozen=True)
class Handling:
    """What becomes of photos, and of images that the model cannot show.

    Attributes:
        all_faces: every face is compressed, not only one.
        keep_photo: the file holds the rest of the photo too.
        codec: of the rest.
        background: bytes for the rest, or for an image that falls back.
        strict: an image beyond the limits of the model's domain is an error.
        fallback: codec of images that have no face or are beyond these limits; None: there is none.
    """

    all_faces: bool = False
    keep_photo: bool = False
    codec: str = "avif"
    background: int = 2000
    strict: bool = False
    fallback: str | None = None


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
    handling: Handling,
    matte: Colour,
    output: Files,
    outcomes: show.Outcomes,
    meter: show.Meter,
) -> list[Part]:
    """One part for each job or, with all faces, for each face that can be compressed."""
    if not handling.all_faces:
        return [Part(job) for job in jobs]
    from ..errors import ImageError

    parts: list[Part] = []
    for done, job in enumerate(jobs):
        meter.show("finding faces", done, len(jobs), f"{done} of {len(jobs)}  {job.source.name}")
        try:
            found = [*_faces_of(job, matte)]
        except ImageError as error:
            outcomes.failed(str(error), job.source)
            continue
        if not found:
            parts.append(Part(job))  # which says why, or falls back
        elif handling.keep_photo:
            parts += [Part(job, frame) for _, frame in found]
        else:
            for number, frame in found:
                target = job.target.with_stem(f"{job.target.stem}-{number}")
                if output.has(target):
                    continue
                if reason := output.obstacle(target):
                    outcomes.failed(f"{job.source}: {reason}", job.source)
                else:
                    parts.append(Part(replace(job, target=target), frame))
    meter.drop("finding faces")
    return parts


def _faces_of(job: Job, matte: Colour) -> Iterator[tuple[int, Frame]]:
    """Number and frame of the faces of a source that can be compressed, the largest first."""
    from ..perception.faces import find_faces
    from ..perception.faces import obstacle as face_obstacle
    from ..preprocessing.reading import read_image

    for number, face in enumerate(find_faces(read_image(job.source, matte)), 1):
        if found := face_obstacle(face):
            show.warning(f"{job.source}: face {number}: {found.message}")
        else:
            yield number, face.frame


def _load(part: Part, matte: Colour, resolution: int) -> Any:
    """The image of a part, fitted if its place is known."""
    from ..fitting import fit_face
    from ..preprocessing.reading import read_image

    image = read_image(part.job.source, matte)
    return image if part.place is None else fit_face(image, part.place, resolution)


class Stream(Protocol):
    """What encodes images as they come: `Encoder.stream`, or that of several processes."""

    def __call__(
        self,
        inputs: Iterable[Input],
        options: EncodeOptions,
        total: int | None = None,
        progress: StreamCallback | None = None,
        /,
    ) -> Generator[Outcome, None, None]:
        """See `Encoder.stream`."""
        ...


@dataclass
class EncodingRun:
    """One run of the command: its settings and totals."""

    bundle: Bundle
    stream: Stream
    options: EncodeOptions
    handling: Handling
    output: Files
    outcomes: show.Outcomes
    meter: show.Meter
    matte: Colour
    total: int = 0  # bytes
    written: int = 0
    done: int = 0
    started: float = 0.0
    shown: dict[Any, str] = field(default_factory=dict)  # the bar of each part that is searched for

    def compress_all(self, parts: Sequence[Part]) -> None:
        """Compresses all parts. A failure is reported, and the others go on."""
        load = partial(_load, matte=self.matte, resolution=self.bundle.resolution)
        inputs = ((part, partial(load, part)) for part in parts)
        left = Counter(part.job for part in parts)  # parts of each file
        faces: list[Outcome] = []
        outcomes = self.stream(inputs, self.options, len(parts), self._show)
        self.started = time.monotonic()
        with closing(outcomes):
            for outcome in outcomes:
                self.done += 1
                self._drop(outcome.key)
                self._overall(self.done, len(parts))
                if self._is_kept(outcome):
                    faces.append(outcome)
                left[outcome.key.job] -= 1
                if not left[outcome.key.job] and faces:
                    self._write(faces)
                    faces = []
                if not self.output.usable:
                    break
        if self.written > 1:
            mean = self.total / self.written
            show.result(f"{self.written} images, {mean:.1f} bytes on average")

    def _is_kept(self, outcome: Outcome) -> bool:
        """Whether a file is to be made of an outcome. If not, what is done instead is done."""
        from ..errors import FrameError, ImageError

        job, error = outcome.key.job, outcome.error
        for note in outcome.notes:
            show.warning(f"{job.source}: {note}")
        doubt = None if outcome.encoded is None else outcome.encoded.doubt
        if self.handling.fallback and (doubt or isinstance(error, FrameError)):
            self._fall_back(job, doubt or str(error))
        elif isinstance(error, FrameError):
            self._failed(job, f"{error}: {HINT}")
        elif isinstance(error, ImageError):
            self.outcomes.failed(str(error), job.source)  # which has the file's name
        elif error is not None:
            self._failed(job, str(error))
        elif doubt and self.handling.strict:
            self._failed(job, doubt)
        else:
            if doubt:
                show.warning(f"{job.source}: {doubt}")
            return True
        return False

    def _show(self, state: StreamProgress) -> None:
        """Shows the bar of the present batch, and that of all images."""
        if not self.meter.plain or state.total in range(FEW + 1):
            name, more = state.keys[0].job.source.name, len(state.keys) - 1
            name += f" and {more} more" if more else ""
            for key in state.keys:
                if self.shown.get(key, name) != name:  # it is encoded again, alone
                    self.meter.drop(self.shown[key])
                self.shown[key] = name
            show.search_progress(self.meter, name)(state.search)
        if state.total is not None and state.total > len(state.keys):
            self._overall(state.amount, state.total)

    def _overall(self, amount: float, total: int) -> None:
        """Shows the bar of all images."""
        if total == 1:
            return
        note = f"{int(amount)} of {total}"
        if self.done and (seconds := time.monotonic() - self.started):
            note += f"  {show.rate(self.done / seconds)}"
        if self.written:
            note += f"  {self.total / self.written:.0f} bytes on average"
        self.meter.show("all images", amount, total, note)

    def _drop(self, part: Part) -> None:
        """Removes the bar of a batch when it has its first outcome."""
        if name := self.shown.pop(part, None):
            self.meter.drop(name)

    def _write(self, faces: Sequence[Outcome]) -> None:
        """Writes the file of an image, or of a photo with its faces."""
        from ..errors import InvcompError

        job, encoded = faces[0].key.job, [face.result() for face in faces]
        try:
            kept = self.handling.keep_photo and faces[0].place is not None
            data = self._photo(job, faces) if kept else encoded[0].data
            self._keep(job, data)
        except InvcompError as error:
            self._failed(job, str(error))
            return
        rest = ""
        if kept:
            rest = f"{'the face' if len(faces) == 1 else f'{len(faces)} faces'} in the photo  "
        show.result(f"{job.source} -> {job.target}  {len(data)} bytes{_figures(encoded, rest)}")

    def _photo(self, job: Job, faces: Sequence[Outcome]) -> bytes:
        """The file of a whole photo."""
        from ..photo import with_photo
        from ..preprocessing.reading import read_image

        files = [face.result().data for face in faces]
        places = [face.place for face in faces if face.place is not None]
        photo, handling = read_image(job.source, self.matte), self.handling
        return with_photo(files[0], files[1:], photo, places, handling.codec, handling.background)

    def _fall_back(self, job: Job, reason: str) -> None:
        """Writes the image by the conventional codec alone."""
        from ..conventional import LABELS
        from ..errors import InvcompError
        from ..photo import conventional_file
        from ..preprocessing.reading import read_image

        codec = str(self.handling.fallback)
        try:
            image = read_image(job.source, self.matte)
            data = conventional_file(image, codec, self.handling.background)
            self._keep(job, data)
        except InvcompError as error:
            self._failed(job, str(error))
            return
        show.warning(f"{job.source}: {reason}: stored by {LABELS[codec]}")
        show.result(f"{job.source} -> {job.target}  {len(data)} bytes, {LABELS[codec]}")

    def _failed(self, job: Job, reason: str) -> None:
        self.outcomes.failed(f"{job.source}: {reason}", job.source)

    def _keep(self, job: Job, data: bytes) -> None:
        self.output.keep(job, data)
        self.written += 1
        self.total += len(data)


def _figures(encoded: Sequence[Encoded], rest: str) -> str:
    """The figures of a result line; of several faces their means."""
    first = encoded[0]
    fill = "" if first.fill is None or rest else f" ({first.fill:.0%} of {first.limit})"
    bpp = "" if rest else f"{first.bits_per_pixel:.5f} bpp  "
    identities = [one.identity for one in encoded if one.identity is not None]
    identity = f"identity {fmean(identities):.2f}  " if identities else ""
    lpips, psnr = (fmean(getattr(one, name) for one in encoded) for name in ("lpips", "psnr"))
    seconds = sum(one.seconds for one in encoded)
    return f"{fill}  {rest}{bpp}LPIPS {lpips:.3f}  {identity}PSNR {psnr:.1f} dB  {seconds:.1f} s"
