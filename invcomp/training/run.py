"""The run directory: options, metrics, samples, snapshots, and the state to resume from.

config.json      all options and versions
metrics.jsonl    a line per tick; losses.png: a plot of it; events.*: the same for TensorBoard
index.html       a page with the plot and all grids of samples
samples/         grids of the averaged generator, named by images seen
snapshots/       averaged generators (safetensors)
best.safetensors the snapshot with the lowest KID; before the first, the latest generator
state.safetensors everything that a resumed run needs
"""

from __future__ import annotations

import copy
import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .. import __version__
from ..errors import BundleError, OptionError, OutputError
from ..files import atomic_write
from ..generators.base import Generator
from ..generators.weights import round_to_half, save_generator
from ..preprocessing.frame import CENTRE_CROP
from .checkpoint import load_checkpoint, save_checkpoint
from .options import TrainOptions
from .page import write_page
from .record import Record

LATER = {"frame": CENTRE_CROP, "discriminator": "pixels"}  # options that older runs do not name
MAY_CHANGE = {"kimg", "snapshot", "kid_samples", "patience"}  # when a run is resumed


class RunDirectory:
    """Writes the files of a run, each atomically.

    Args:
        path: of the directory.
        tensorboard: whether to write the metrics as TensorBoard events, too.

    Raises:
        OptionError: TensorBoard's file cannot be written, because tensorboardX is missing.
    """

    def __init__(self, path: Path, tensorboard: bool = False) -> None:
        self.path, self.record = path, Record(path, tensorboard)
        self.state_path, self.best_path = path / "state.safetensors", path / "best.safetensors"

    def begin(
        self, options: TrainOptions, source: str, resume: bool, start: str | None = None
    ) -> None:
        """Creates the directory, or checks that a resumed run has the same options and start.

        Raises:
            OptionError: there is a run and `resume` is False, or it had other options.
            OutputError: the directory cannot be created.
        """
        config = self.path / "config.json"
        if config.is_file() and not resume:
            raise OptionError(
                f"{self.path} already contains a run: resume it or choose another folder"
            )
        if config.is_file():
            if (began := self.start()) != start:
                raise OptionError(f"{self.path} began with {began or 'random weights'}")
            before = {**LATER, **json.loads(config.read_text())["options"]}
            differing = [
                f"{name} was {before.get(name)}"
                for name, value in asdict(options).items()
                if name not in MAY_CHANGE and before.get(name) != value
            ]
            if differing:
                raise OptionError(
                    f"{self.path} was started with other options: " + ", ".join(differing)
                )
        try:
            for folder in ("samples", "snapshots"):
                (self.path / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.path}: {error.strerror}") from error
        written = {
            "options": asdict(options),
            "source": source,
            "start": start,
            "versions": {
                "invcomp": __version__,
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
            "python": platform.python_version(),
        }
        with atomic_write(config, force=True) as temporary:
            temporary.write_text(json.dumps(written, indent=2) + "\n")

    def draw(self) -> None:
        """Draws losses.png and the page."""
        options = json.loads((self.path / "config.json").read_text())["options"]
        self.record.draw()
        write_page(self.path, self.record.lines(), options)

    def start(self) -> str | None:
        """The generator that the run began with; None: random weights, or there is no run yet."""
        config = self.path / "config.json"
        if not config.is_file():
            return None
        found: str | None = json.loads(config.read_text()).get("start")
        return found

    def frame(self) -> str | None:
        """How the images of the run are fitted; None: there is no run yet."""
        config = self.path / "config.json"
        if not config.is_file():
            return None
        frame: str = json.loads(config.read_text())["options"].get("frame", CENTRE_CROP)
        return frame

    def save_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Saves what `load_state` returns."""
        save_checkpoint(self.state_path, tensors, {"values": json.dumps(values)})

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and values of the last state, or None if there is none.

        Raises:
            BundleError: the file is damaged.
        """
        if (state := load_checkpoint(self.state_path)) is None:
            return None
        tensors, metadata = state
        try:
            return tensors, json.loads(metadata["values"])
        except (KeyError, ValueError) as error:
            raise BundleError(f"{self.state_path} is damaged: {error}") from error

    def save_samples(self, shown: Image.Image, images: int) -> None:
        """Writes a grid of samples."""
        shown.save(self.path / "samples" / f"{images:09d}.png")

    def snapshot(self, generator: Generator, images: int, best: bool) -> None:
        """Writes a generator, rounded to float16; also as the best one if `best`."""
        path = self.path / "snapshots" / f"{images:09d}.safetensors"
        rounded = round_to_half(copy.deepcopy(generator))
        save_generator(rounded, path)
        if best:
            save_generator(rounded, self.best_path)

    def first_best(self, generator: Generator) -> None:
        """Writes the best generator while no snapshot was measured, so that there is one."""
        save_generator(round_to_half(copy.deepcopy(generator)), self.best_path)
