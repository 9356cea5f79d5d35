"""Calibrates a bundle on images of its domain: the prior and the table of qualities."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
from PIL import Image
from torch import Tensor

from .bitstream import IvcFile, decode
from .bundle import Bundle
from .codec import Codec
from .domain import Reached, fit_limits
from .encoder import EncodeOptions
from .entropy.density import q_step_of
from .entropy.detail import Integers
from .entropy.detail_calibration import fit_detail
from .errors import BitstreamError, BundleError, FrameError, MissingBundleError
from .files import atomic_write
from .inversion.options import SearchOptions
from .measurement import Encoded
from .preprocessing.reading import read_image
from .quality import DEFAULT_STEP_INDEX, fit_steps, quality_of_step_index

StageProgress = Callable[[str, int, int], None]
STEPS = (62, 82, 108)  # step indices at which images are coded
# of limits over what these images reach: the bundle was fitted to them, and a quick search's LPIPS
# is up to a quarter higher than that of the search here
HEAD_ROOM = 1.3


@dataclass(frozen=True)
class CodedImage:
    """An image coded at one step index.

    Attributes:
        step_index: of q_step.
        integers: that the search found, int [K].
        lpips: LPIPS-Alex of the decoded image.
        identity: its distance of identity; None: the domain is not faces.
        name: of the image.
        detail: the integers of its detail, int [M]; None: the bundle has none.
    """

    step_index: int
    integers: Tensor
    lpips: float
    identity: float | None = None
    name: str = ""
    detail: Integers | None = None


def coded_beside(output: Path) -> Path:
    """The folder of the images that were coded for a bundle that is not yet written."""
    return output.with_name(output.name + ".coded")


def code_images(
    bundle: Bundle,
    images: Sequence[Path],
    folder: Path,
    step_indices: Sequence[int] = STEPS,
    progress: StageProgress = lambda stage, done, total: None,
    device: str = "auto",
    compiled: bool | None = False,
    search: SearchOptions | None = None,
) -> list[CodedImage]:
    """Codes images at every step index. Files are kept, so that an interrupted run can continue.

    Args:
        bundle: that codes the images.
        images: of the domain, in the generator's frame.
        folder: of the files. They are not deleted.
        step_indices: to code at.
        progress: called with stage, done and total.
        device: that it runs on.
        compiled: see `Codec`.
        search: options of the search; None: the defaults.

    Raises:
        ImageError: an image cannot be read.
        BundleError: an existing file is damaged or of another bundle.
        OutputError: a file cannot be written.
    """
    codec, search = Codec(bundle, device, compiled), search or SearchOptions()
    names = [_name_of(path) for path in images]
    total = len(images) * len(step_indices)
    coded: dict[Path, CodedImage] = {}  # by kept file, which equal images share

    def kept(name: str, step_index: int) -> Path:
        return folder / f"{name}.{step_index}.ivc"

    def add(path: Path, encoded: Encoded, step_index: int) -> None:
        file = IvcFile.unpack(encoded.data)
        integers = torch.from_numpy(decode(file, codec.bundle.entropy).integers)
        name, detail = path.name.split(f".{step_index}.")[0], codec.decoder.detail_of(file)
        coded[path] = CodedImage(
            step_index, integers, encoded.lpips, encoded.identity, name, detail
        )
        progress("calibration", len(coded), total)

    progress("calibration", 0, total)
    missing = sum(not kept(name, index).is_file() for name in names for index in step_indices)
    for step_index in step_indices:
        sources = {kept(name, step_index): path for name, path in zip(names, images, strict=True)}
        there = {path: image for path, image in sources.items() if path.is_file()}
        for path, image in there.items():
            add(path, _measure(codec, read_image(image), path), step_index)
        if there == sources:
            continue
        new = ((path, partial(read_image, sources[path])) for path in sources if path not in there)
        options = EncodeOptions(q_step=q_step_of(step_index), search=search)
        for outcome in codec.stream(new, options, missing):
            if isinstance(outcome.error, FrameError):
                raise FrameError(f"{sources[outcome.key]}: {outcome.error}")
            encoded = outcome.result()
            with atomic_write(outcome.key) as temporary:
                temporary.write_bytes(encoded.data)
            add(outcome.key, encoded, step_index)
    progress("calibration", total, total)
    return [coded[kept(name, index)] for name in names for index in step_indices]


def drop_coded(folder: Path) -> None:
    """Deletes the files of `code_images`, and their folder if it is empty then."""
    for path in folder.glob("*.ivc"):
        path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def with_priors(bundle: Bundle, coded: Sequence[CodedImage]) -> Bundle:
    """The bundle with the entropy model that codes these images in the fewest bits."""
    pairs = [(image.step_index, image.integers) for image in coded]
    deviations = bundle.coordinates.deviations.cpu()
    return replace(bundle, entropy=bundle.entropy.fitted(pairs, deviations))


def with_detail_priors(bundle: Bundle, coded: Sequence[CodedImage]) -> Bundle:
    """The bundle with the entropy model of the detail that codes these images in the fewest bits.

    A bundle without a detail stays as it is. Decoding of files without a detail does not change, so
    the fingerprint does not either.
    """
    pairs = [(image.step_index, image.detail) for image in coded if image.detail is not None]
    if bundle.detail is None or not any(integers.any() for _, integers in pairs):
        return bundle
    model = fit_detail(pairs, bundle.detail.model)
    return replace(bundle, detail=replace(bundle.detail, model=model))


def with_qualities(bundle: Bundle, coded: Sequence[CodedImage]) -> Bundle:
    """The bundle with a table that gives a quality the same LPIPS as in other bundles.

    Decoding does not change, so the fingerprint does not either.
    """
    by_step: dict[int, list[float]] = {}
    for image in coded:
        by_step.setdefault(image.step_index, []).append(image.lpips)
    means = {index: fmean(values) for index, values in sorted(by_step.items())}
    steps = fit_steps(means)
    made = {
        "images": len(next(iter(by_step.values()))),
        "lpips": {str(index): mean for index, mean in means.items()},  # by step index, as in JSON
    }
    settings = replace(
        bundle.settings,
        quality_steps=steps,
        default_quality=5 * round(quality_of_step_index(DEFAULT_STEP_INDEX, steps) / 5),
        made={**bundle.settings.made, "quality": made},
    )
    return replace(bundle, settings=settings)


def with_limits(bundle: Bundle, coded: Sequence[CodedImage]) -> Bundle:
    """The bundle with the limits of its domain (`domain.fit_limits`), with head room.

    With too few images, they stay as they are. Decoding does not change, so the fingerprint does
    not either.
    """
    reached = [Reached(one.name, one.step_index, one.lpips, one.identity) for one in coded]
    limits = fit_limits(reached, HEAD_ROOM) or bundle.settings.limits
    return replace(bundle, settings=replace(bundle.settings, limits=limits))


def _measure(codec: Codec, image: Image.Image, kept: Path) -> Encoded:
    try:
        return codec.measure(image, kept.read_bytes())
    except (BitstreamError, MissingBundleError) as error:
        raise BundleError(
            f"{kept} is damaged or of another bundle: delete it to start anew"
        ) from error


def _name_of(path: Path) -> str:
    """A name that says which image it is, by its file's name and its pixels."""
    return f"{path.stem}-{hashlib.sha256(read_image(path).tobytes()).hexdigest()[:16]}"
