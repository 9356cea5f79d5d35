"""The run directory: options, metrics, samples, snapshots, and the state to resume from.

config.json      all options and versions
metrics.jsonl    a line per tick; events.*: the same for TensorBoard; losses.png: a plot of it
samples/         grids of the averaged generator, named by images seen
snapshots/       averaged generators (safetensors)
best.safetensors the snapshot with the lowest KID
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
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .. import __version__
from ..errors import BundleError, OptionError, OutputError
from ..files import atomic_write
from ..generators.base import Generator
from ..generators.weights import round_to_half, save_generator
from .options import TrainOptions

MAY_CHANGE = {"kimg", "snapshot", "kid_samples"}  # when a run is resumed


class RunDirectory:
    """Writes the files of a run, each atomically."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state_path, self.best_path = path / "state.safetensors", path / "best.safetensors"
        self.metrics_path = path / "metrics.jsonl"
        self._events: Any = None

    def begin(self, options: TrainOptions, source: str, resume: bool) -> None:
        """Creates the directory, or checks that a resumed run has the same options.

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
            before = json.loads(config.read_text())["options"]
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
            "versions": {
                "invcomp": __version__,
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
            "python": platform.python_version(),
        }
        with atomic_write(config, force=True) as temporary:
            temporary.write_text(json.dumps(written, indent=2) + "\n")

    def save_state(self, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Saves what `load_state` returns."""
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with atomic_write(self.state_path, force=True) as temporary:
            save_file(plain, temporary, {"values": json.dumps(values)})

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and values of the last state, or None if there is none.

        Raises:
            BundleError: the file is damaged.
        """
        if not self.state_path.is_file():
            return None
        try:
            with safe_open(self.state_path, "pt") as file:
                values: dict[str, Any] = json.loads((file.metadata() or {})["values"])
                return {name: file.get_tensor(name) for name in file.keys()}, values  # noqa: SIM118
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise BundleError(f"{self.state_path} is damaged: {error}") from error

    def metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics.jsonl."""
        if not self.metrics_path.is_file():
            return []
        return [json.loads(line) for line in self.metrics_path.read_text().splitlines()]

    def forget_after(self, images: int) -> None:
        """Drops metrics after the saved state, because the resumed run writes them again."""
        kept = [line for line in self.metrics() if line["images"] <= images]
        with atomic_write(self.metrics_path, force=True) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))

    def log(self, line: dict[str, Any]) -> None:
        """Writes one line of metrics, and the same as TensorBoard events."""
        with self.metrics_path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self._events is None:
            from tensorboardX import SummaryWriter

            self._events = SummaryWriter(str(self.path))
        for name, value in line.items():
            if not isinstance(value, str):
                self._events.add_scalar(name, value, line["images"])
        self._events.flush()

    def snapshot(self, generator: Generator, images: int, best: bool) -> Path:
        """Writes a generator, rounded to float16; also as the best one if `best`."""
        path = self.path / "snapshots" / f"{images:09d}.safetensors"
        rounded = round_to_half(copy.deepcopy(generator))
        save_generator(rounded, path)
        if best:
            save_generator(rounded, self.best_path)
        return path

    def draw(self) -> None:
        """Draws losses.png, if matplotlib is installed."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return
        lines = self.metrics()
        figure = Figure(figsize=(8, 6), layout="constrained")
        axes = figure.subplots(2, 1, sharex=True)
        for name in ("generator", "discriminator", "penalty", "augmentation_p"):
            points = [(line["images"] / 1000, line[name]) for line in lines if name in line]
            axes[0].plot(*zip(*points, strict=True), label=name) if points else None
        measured = [line for line in lines if "kid" in line]
        for features in sorted({line["kid_features"] for line in measured}):
            own = [line for line in measured if line["kid_features"] == features]
            points = [(line["images"] / 1000, line["kid"]) for line in own]
            axes[1].plot(*zip(*points, strict=True), "o-", label=f"KID ({features} features)")
        if measured and min(line["kid"] for line in measured) > 0:
            axes[1].set_yscale("log")
        axes[1].set_xlabel("thousand images seen")
        for axis in axes:
            axis.legend()
        with atomic_write(self.path / "losses.png", force=True) as temporary:
            figure.savefig(temporary, format="png", dpi=80)


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Adds a prefix to the names."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def without(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names have the prefix, with the prefix removed."""
    start = len(prefix) + 1
    return {name[start:]: value for name, value in tensors.items() if name.startswith(prefix + ".")}


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser as tensors with plain names."""
    state = optimiser.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in state.items()
        for name, value in values.items()
    }


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of `optimiser_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    # files have no memory format, and fused Adam matches values by memory layout
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape and value.ndim:
                values[name] = torch.empty_like(parameter).copy_(value)


def parameters_of(module: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in module.parameters())
