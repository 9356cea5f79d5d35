"""Training pairs for distillation: coordinates and the generator's images of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bundle import Bundle
from ..device import choose_device, has_fast_bfloat16
from ..errors import BundleError, OptionError, OutputError
from ..generators.sampling import to_uint8
from ..latents.coordinates import coordinates_of
from ..latents.prior import prior_of
from ..preparation import PrepareOptions

Indices = NDArray[np.int64]
PairProgress = Callable[[str, int, int], None]
HELD_OUT = 0.04  # part of the pairs that judges and does not train
LEAST_SPREAD = 0.3  # of a coordinate's deviation, if layers may differ
PRIOR_SAMPLES = 50_000
SAVE_EVERY = 200  # images between two updates of about.json
CHUNK_PIXELS = 1 << 21  # generated per batch


@dataclass(frozen=True)
class Pairs:
    """Images and their coordinates, in memory-mapped files.

    Attributes:
        coordinates: float32 [N, K].
        classes: int64 [N], zero if there are none.
        images: uint8 [N, 3, R, R].
    """

    coordinates: NDArray[np.float32]
    classes: NDArray[np.int64]
    images: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.coordinates)

    @property
    def learned(self) -> int:
        """Number of pairs that a network learns from, which come first; the others judge it."""
        return max(len(self) - max(int(HELD_OUT * len(self)), 1), 1)

    def batch(self, indices: Indices) -> tuple[Tensor, Tensor, Tensor]:
        """Coordinates [n, K], classes [n], images [n, 3, R, R] in [-1, 1]."""
        images = torch.from_numpy(self.images[indices]).float() / 127.5 - 1
        coordinates = torch.from_numpy(self.coordinates[indices])
        return coordinates, torch.from_numpy(self.classes[indices]), images


def make_pairs(
    bundle: Bundle,
    folder: Path,
    count: int,
    resolution: int,
    device: str = "auto",
    compiled: bool = False,
    seed: int = 3,
    progress: PairProgress = lambda stage, done, total: None,
) -> Pairs:
    """Draws latents from the prior and makes their images; resumes a stopped run.

    Args:
        bundle: with generator and coordinates.
        folder: for the files.
        count: N.
        resolution: of the images; at most the generator's.
        device: to run on.
        compiled: whether to use torch.compile.
        seed: random seed.
        progress: called with stage, done and total.

    Raises:
        OptionError: no pairs, or too large images.
        BundleError: the folder contains other pairs.
        OutputError: it cannot be written.
    """
    largest = bundle.generator.resolution
    if count < 1 or resolution > largest:
        raise OptionError(
            f"{count} pairs of {resolution} px: at least 1 pair and at most {largest} px"
        )
    made_for = {"fingerprint": bundle.fingerprint.hex(), "images": [count, resolution, seed]}
    files = _Files(folder, made_for, (count, 3, resolution, resolution))
    if files.done < count:
        where = choose_device(device)
        if files.done == 0:
            files.begin(*_draw(bundle, count, seed, where))
        _make(bundle, files, where, compiled, progress)
    return files.pairs()


class _Files:
    """The folder: about.json contains what the arrays are for and how many images are done."""

    def __init__(self, folder: Path, made_for: dict[str, Any], shape: tuple[int, ...]) -> None:
        self.folder, self.made_for, self.shape, self.done = folder, made_for, shape, 0
        self.about = folder / "about.json"
        if self.about.is_file():
            about = json.loads(self.about.read_text())
            self.done = about.pop("done")
            if about != made_for:
                raise BundleError(f"{folder} has pairs with other settings: delete it")

    def begin(self, coordinates: Tensor, classes: Tensor) -> None:
        """Creates the arrays."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            np.save(self.folder / "coordinates.npy", coordinates.cpu().numpy())
            np.save(self.folder / "classes.npy", classes.cpu().numpy())
            path = self.folder / "images.npy"
            np.lib.format.open_memmap(path, "w+", np.uint8, self.shape).flush()
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be written: {error.strerror}") from error

    def pairs(self, mode: str = "r") -> Pairs:
        """The arrays."""
        return Pairs(
            np.load(self.folder / "coordinates.npy"),
            np.load(self.folder / "classes.npy"),
            np.load(self.folder / "images.npy", mmap_mode=mode),  # type: ignore[arg-type]
        )

    def reached(self, done: int) -> None:
        """Stores how many images are done."""
        self.done = done
        self.about.write_text(json.dumps({**self.made_for, "done": done}))


@torch.no_grad()
def _draw(bundle: Bundle, count: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Coordinates [N, K] and classes [N] of prior samples.

    If layers may differ, each coordinate gets additional noise, so that its deviation grows from
    that of equal layers to that of the prior.
    """
    tau = bundle.settings.made.get("options", {}).get("tau", PrepareOptions.tau)
    generator, coordinates = bundle.generator.to(device), bundle.coordinates.to(device)
    prior, samples = prior_of(generator, max(count, PRIOR_SAMPLES), tau, seed, device)
    source = torch.Generator().manual_seed(seed)
    classes = torch.zeros(count, dtype=torch.long)
    if samples.ndim == 3:
        classes = torch.randint(len(samples), (count,), generator=source)
        samples = samples[classes, torch.randint(samples.shape[1], (count,), generator=source)]
    shared = samples[:count] - prior.mean[classes.to(device)]
    found = coordinates_of(shared, coordinates, prior)
    if prior.layers > 1:
        missing = coordinates.deviations.square() - found.square().mean(0)
        spread = missing.clamp_min(0).sqrt().maximum(LEAST_SPREAD * coordinates.deviations)
        found = found + spread * torch.randn(found.shape, generator=source).to(device)
    return found, classes


@torch.no_grad()
def _make(
    bundle: Bundle, files: _Files, device: torch.device, compiled: bool, progress: PairProgress
) -> None:
    generator, coordinates = bundle.generator.to(device), bundle.coordinates.to(device)
    pairs, resolution = files.pairs("r+"), files.shape[-1]
    basis = coordinates.basis()

    def images_of(latents: Tensor) -> Tensor:
        return generator.forward_reduced(latents, resolution)

    if compiled:
        images_of = torch.compile(images_of, dynamic=False)
    chunk = max(1, min(CHUNK_PIXELS // generator.resolution**2, len(pairs)))
    for first in range(files.done, len(pairs), chunk):
        progress("pairs", first, len(pairs))
        part = torch.from_numpy(pairs.coordinates[first : first + chunk]).to(device)
        classes = torch.from_numpy(pairs.classes[first : first + chunk]).to(device)
        latents = coordinates.means(classes) + part @ basis
        missing = chunk - len(part)  # pads the last chunk to the compiled size
        latents = torch.cat([latents, latents[-1:].expand(missing, -1)])
        with torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bfloat16(device)):
            images = images_of(latents)[: len(part)]
        pairs.images[first : first + len(part)] = to_uint8(images).cpu().numpy()
        if first // SAVE_EVERY != (first + chunk) // SAVE_EVERY or first + chunk >= len(pairs):
            pairs.images.flush()  # type: ignore[attr-defined]
            files.reached(min(first + chunk, len(pairs)))
    progress("pairs", len(pairs), len(pairs))
