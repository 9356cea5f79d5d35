"""Encodes images with our codec and conventional ones, and measures every file."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from PIL import Image

from ..codec import Codec
from ..conventional.codecs import Reduced, decode
from ..encoder import EncodeOptions
from ..errors import OptionError
from ..files import atomic_write
from ..fitting import Fitted, fit_image
from ..perception.kid import Kid, features_here
from ..perception.ms_ssim import LEAST_SIDE
from ..preprocessing.frame import from_tensor
from ..quality import FINEST
from ..runner import StreamProgress
from .curves import OURS, QUALITIES, Point, mean_points, sizes_of
from .metrics import Metrics, Reference, bytes_of, tensor_of
from .plan import Plan, metrics_for
from .results import Key, Measured, MeasuredSet, Results, Setting, image_key

MOST_PSNR = 100.0  # dB: used for equal images, whose PSNR is infinite
SUFFIXES = {OURS: "ivc", "jpeg": "jpg", "jp2": "j2k"}  # if not the codec's name
LEAST_OF_SET = 2  # images that KID needs

# stage, amount done, total, note
Moved = Callable[[str, float, int, str], None]


@dataclass(frozen=True)
class Subject:
    """One image to encode.

    Attributes:
        name: unique; also the name of a folder in the report.
        load: reads the image; called several times, so that not all are in memory.
    """

    name: str
    load: Callable[[], Image.Image]


class Comparison:
    """A comparison in a folder: its files and results.jsonl with one line per file.

    All codecs encode the same images: squares at the resolution of the model, fitted by its frame.

    Args:
        codec: ours.
        subjects: the images, with unique names.
        plan: what to try.
        folder: for files and results; those that exist already are reused.
        moved: called with the progress.

    Raises:
        OptionError: a metric does not apply to images of this size.
        MissingBundleError: a metric needs VGG16, which is not on this machine.
        OutputError: the folder holds a comparison with other settings.
    """

    def __init__(
        self,
        codec: Codec,
        subjects: Sequence[Subject],
        plan: Plan,
        folder: Path,
        moved: Moved = lambda stage, done, total, note: None,
    ) -> None:
        self.codec, self.subjects, self.folder, self.moved = codec, subjects, folder, moved
        self.plan = plan.with_qualities(codec.bundle.settings.default_quality)
        self.qualities = self.plan.qualities or ()
        self.resolution = codec.bundle.resolution
        face = codec.bundle.settings.face
        fitting = metrics_for(self.resolution, face is not None, plan.judge is not None)
        if unfit := set(plan.metrics) - set(fitting):
            raise OptionError(
                f"{', '.join(sorted(unfit))} cannot measure images of {self.resolution} px by "
                f"this model: ms_ssim needs {LEAST_SIDE} px, identity a model of faces, judge "
                "a judge and a model of faces"
            )
        self.metrics = Metrics(codec.device, plan.metrics, face, plan.judge)
        self.results = Results(folder, self._common)
        self.kid_features = features_here() if len(subjects) >= LEAST_OF_SET else None

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that affects the figures, besides the image and the codec's setting."""
        return {**self._own, **self._common}

    @property
    def _common(self) -> dict[str, Any]:
        """What affects the figures of every file."""
        import PIL

        from .. import __version__

        return {
            "resolution": self.resolution,
            "metrics": list(self.plan.metrics),
            "versions": {"invcomp": __version__, "pillow": PIL.__version__},
        }

    @property
    def _own(self) -> dict[str, Any]:
        """What affects our files."""
        bundle, search = self.codec.bundle, self.plan.search
        aids = hashlib.sha256()
        for name, tensor in sorted(bundle.aids.tensors().items()):
            aids.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
        return {
            "model": bundle.settings.name,
            "bundle": bundle.digest.hex()[:16],
            "quality_steps": bundle.settings.quality_steps,
            "face": bundle.settings.face and asdict(bundle.settings.face),
            "closer": bundle.settings.closer,
            "aids": aids.hexdigest()[:16],
            "search": asdict(search),
            # the values of options that are left open
            "steps": [search.iterations_at(index) for index in range(FINEST + 1)],
            "learning_rate": search.rate,
        }

    @cached_property
    def made(self) -> str:
        """A digest of what affects our files."""
        return hashlib.sha256(json.dumps(self._own).encode()).hexdigest()[:16]

    def run(self) -> None:
        """Encodes and measures all files that do not exist yet.

        Raises:
            ImageError: an image can no longer be read.
            OutputError: a file cannot be written.
        """
        self._code_ours()
        self._code_others()
        if self.kid_features is not None:
            self._measure_sets()

    @property
    def rivals(self) -> list[Setting]:
        """Codec, size and quality of all settings of the other codecs."""
        sizes = sizes_of(self.resolution, self.plan.shares)
        return [(c, s, float(q)) for c in self.plan.codecs for s in sizes for q in QUALITIES[c]]

    @property
    def all_settings(self) -> list[Setting]:
        """The same including ours, which come first."""
        ours = [(OURS, self.resolution, quality) for quality in self.qualities]
        return [*ours, *self.rivals]

    def frame(self, subject: Subject) -> Image.Image:
        """The image that all codecs encode: RGB, square, at the model's resolution."""
        return from_tensor(self._fitted(subject).tensor)

    def _fitted(self, subject: Subject) -> Fitted:
        """The image in the model's frame, without its own size."""
        fitted = fit_image(subject.load(), self.resolution, self.codec.bundle.settings.frame)
        return Fitted(fitted.tensor)

    @cached_property
    def digests(self) -> dict[str, str]:
        """A digest of the pixels of every image, by name."""
        return {
            subject.name: hashlib.sha256(self.frame(subject).tobytes()).hexdigest()[:16]
            for subject in self.subjects
        }

    def path(self, name: str, codec: str, size: int, quality: float) -> Path:
        """The path of an image's file."""
        suffix = SUFFIXES.get(codec, codec)
        return self.folder / "files" / name / f"{codec}-{size}-{quality:g}.{suffix}"

    def measured(self, subject: Subject, setting: Setting) -> Measured | None:
        """The measurement of one file, if both exist."""
        key = image_key(subject.name, self.digests[subject.name])
        found = self.results.file((key, *setting))
        if found is None or found.made != self._made_of(setting):
            return None
        return found if self.path(subject.name, *setting).is_file() else None

    def _made_of(self, setting: Setting) -> str:
        return self.made if setting[0] == OURS else ""

    def files(self) -> list[Measured]:
        """Every measurement of this comparison."""
        found = [self.measured(s, setting) for setting in self.all_settings for s in self.subjects]
        return [measured for measured in found if measured is not None]

    def points(self) -> list[Point]:
        """The means at every setting, with KID if there are enough images."""
        found = [self.results.set(self._set_key(setting)) for setting in self.all_settings]
        kids = {(k.codec, k.size, k.quality): k.kid for k in found if k is not None}
        return mean_points(self.files(), kids)

    def decoded(self, name: str, codec: str, size: int, quality: float) -> Image.Image:
        """The decoded image of a file, RGB at the model's resolution."""
        data = self.path(name, codec, size, quality).read_bytes()
        whole = (self.resolution, self.resolution)
        if codec != OURS:
            return decode(data, whole)
        return self._whole(self.codec.decompress(data))

    def _whole(self, image: Image.Image) -> Image.Image:
        """Our image at the resolution of the comparison (a proxy's own is smaller)."""
        whole = (self.resolution, self.resolution)
        return image if image.size == whole else image.resize(whole, Image.Resampling.LANCZOS)

    def _code_ours(self) -> None:
        missing = [
            (subject, quality)
            for quality in self.qualities
            for subject in self.subjects
            if self.measured(subject, (OURS, self.resolution, quality)) is None
        ]
        if not missing:
            return
        done = 0
        for quality in self.qualities:
            subjects = [subject for subject, wanted in missing if wanted == quality]
            if subjects:
                self._code_at(quality, subjects, done, len(missing))
            done += len(subjects)
        self.moved("invcomp", done, len(missing), "")

    def _code_at(
        self, quality: float, subjects: Sequence[Subject], before: int, total: int
    ) -> None:
        """Encodes images at one quality, after `before` of `total` files."""

        def searching(state: StreamProgress) -> None:
            names, search = ", ".join(subject.name for subject in state.keys), state.search
            note = f"{names}, quality {quality:g}: "
            note += f"{search.stage} {search.iteration}/{search.iterations}"
            self.moved("invcomp", before + state.amount, total, note)

        self.moved("invcomp", before, total, f"quality {quality:g}")
        inputs = ((subject, partial(self._fitted, subject)) for subject in subjects)
        options = EncodeOptions(quality, search=self.plan.search)
        setting = (OURS, self.resolution, quality)
        for outcome in self.codec.stream(inputs, options, total, searching):
            subject, file = outcome.key, outcome.result()
            reference = self.metrics.of(tensor_of(self.frame(subject)))
            decoded = self._whole(file.decoded)
            self._keep(subject, setting, file.data, file.seconds, reference, decoded)

    def _code_others(self) -> None:
        for done, subject in enumerate(self.subjects):
            self.moved("images", done, len(self.subjects), subject.name)
            missing = [s for s in self.rivals if self.measured(subject, s) is None]
            if missing:
                self._code_one_by(subject, missing)
        self.moved("images", len(self.subjects), len(self.subjects), "")

    def _code_one_by(self, subject: Subject, settings: list[Setting]) -> None:
        """Encodes one image with conventional codecs at these settings."""
        frame = self.frame(subject)
        reference = self.metrics.of(tensor_of(frame))
        for done, (codec, size, quality) in enumerate(settings):
            note = f"{codec} at {size} px, quality {quality:g}"
            self.moved("codecs", done, len(settings), note)
            started = time.perf_counter()
            data = Reduced(codec, frame, size).encode(int(quality))
            seconds = time.perf_counter() - started
            decoded = decode(data, frame.size)
            self._keep(subject, (codec, size, quality), data, seconds, reference, decoded)
        self.moved("codecs", len(settings), len(settings), "")

    def _keep(
        self,
        subject: Subject,
        setting: Setting,
        data: bytes,
        seconds: float,
        reference: Reference,
        decoded: Image.Image,
    ) -> None:
        """Measures a file and stores both."""
        values = reference.measure(tensor_of(decoded))
        if "psnr" in values:
            values["psnr"] = min(values["psnr"], MOST_PSNR)
        with atomic_write(self.path(subject.name, *setting), force=True) as temporary:
            temporary.write_bytes(data)
        digest = self.digests[subject.name]
        made = self._made_of(setting)
        self.results.add(Measured(subject.name, digest, *setting, len(data), seconds, values, made))

    def _set_key(self, setting: Setting) -> Key:
        return (f"{self._set_digest(setting)} {self.kid_features}", *setting)

    def _set_digest(self, setting: Setting) -> str:
        parts = [*sorted(self.digests.values()), self._made_of(setting)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]

    def _measure_sets(self) -> None:
        """KID at every setting, from the decoded files."""
        every = self.all_settings
        missing = [s for s in every if self.results.set(self._set_key(s)) is None]
        if not missing:
            return
        kid = Kid(map(bytes_of, map(self.frame, self.subjects)), self.codec.device)
        for done, (codec, size, quality) in enumerate(missing):
            note = f"{codec} at {size} px, quality {quality:g}"
            self.moved("KID", done, len(missing), note)
            value = kid(map(bytes_of, self._decoded_set(codec, size, quality)))
            digest = self._set_digest((codec, size, quality))
            found = MeasuredSet(digest, codec, size, quality, kid.features, value)
            self.results.add(found)
        self.moved("KID", len(missing), len(missing), "")

    def _decoded_set(self, codec: str, size: int, quality: float) -> Iterator[Image.Image]:
        for subject in self.subjects:
            yield self.decoded(subject.name, codec, size, quality)
