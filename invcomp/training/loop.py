"""Adversarial training from the first image to the last: ticks, snapshots, resuming.

Several processes share a batch through Hugging Face Accelerate, which handles `torchrun`'s
variables, devices and collectives.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ..device import choose_device
from ..errors import OptionError
from ..generators.base import Generator
from .adversaries import Adversaries
from .augmentation import AdaptiveProbability
from .checkpoint import restore, tensors_of
from .data import Dataset
from .monitor import Monitor, saturated
from .options import TrainOptions
from .run import RunDirectory

EARLY = (500, 1000, 2000, 5000)  # images after which samples are drawn, besides every snapshot


@dataclass(frozen=True)
class Tick:
    """The state of a training: a line of metrics.jsonl, and possibly a warning."""

    images: int
    total: int
    values: dict[str, Any]
    warning: str | None = None


class Trainer:
    """One training run, from the first step or from the state in a run directory.

    Args:
        dataset: images in the resolution of the options.
        directory: for all output.
        options: how to train.
        source: the name of the data in config.json.
        resume: continue from the directory's state, if there is one.
        accelerator: processes and device.
        compiled: whether to use torch.compile.
        start: a trained generator to begin with, of the same network; None: random weights.
        start_name: its name in config.json.

    Attributes:
        adversaries: the networks.
        monitor: samples and KID; only used in the main process.

    Raises:
        OptionError: options and data do not match, or the directory holds another run.
    """

    def __init__(
        self,
        dataset: Dataset,
        directory: RunDirectory,
        options: TrainOptions,
        source: str = "",
        resume: bool = False,
        accelerator: Accelerator | None = None,
        compiled: bool = False,
        start: Generator | None = None,
        start_name: str | None = None,
    ) -> None:
        data, held_out = _split(dataset, options)
        self.options = options = options.for_images(len(data))
        self.directory = directory
        self.accelerator = accelerator or Accelerator()
        self.device, self.rank = self.accelerator.device, self.accelerator.process_index
        processes = self.accelerator.num_processes
        _check(dataset, options, processes)
        if options.patience is not None and held_out is None:
            raise OptionError("patience needs KID, and so at least two held-out images")
        torch.manual_seed(options.seed)  # the same weights in every process
        self.adversaries = Adversaries(data, options, self.accelerator, start)
        if self.accelerator.is_main_process:
            directory.begin(options, source, resume, start_name)
        self.ada = AdaptiveProbability(options.augmentation_p or 0.0, options.ada_target)
        self.monitor = Monitor(self.adversaries.averaged, data, held_out, options, directory)
        torch.manual_seed(options.seed * processes + self.rank)  # noise differs per process
        if resume:
            self._restore()
        if compiled:
            self.adversaries.compile()

    @property
    def images(self) -> int:
        """Real images seen."""
        return self.adversaries.images

    def run(
        self, progress: Callable[[Tick], None] = lambda tick: None, hours: float = math.inf
    ) -> None:
        """Trains until the last image of the options; writes to the run directory.

        Args:
            progress: called at every tick, in the main process.
            hours: stop after this time, with a snapshot and a state to resume from.
        """
        options, total = self.options, int(self.options.kimg * 1000)
        sums: dict[str, list[Tensor]] = {}
        began = started = time.perf_counter()
        before, late = self.images, False
        if self.accelerator.is_main_process and not self.images:
            self.monitor.draw_samples(0)
            self.directory.draw()
        while self.images < total and not late:
            for name, value in self.adversaries.step(self.ada.p).items():
                sums.setdefault(name, []).append(value)
            late = self._out_of_time(began + hours * 3600)
            snapshot = self._passed(options.snapshot) or self.images >= total or late
            if self.accelerator.is_main_process and not snapshot and any(map(self._reached, EARLY)):
                self.monitor.look(self.images)
                self.directory.draw()
            if self._passed(options.tick) or snapshot:
                values = self._values(sums)
                seconds = time.perf_counter() - started
                values["images_per_second"] = (self.images - before) / seconds
                is_main, warning = self.accelerator.is_main_process, None
                if is_main:
                    warning = self._report(values, snapshot)
                if snapshot:  # after its line of metrics, which a resumed run would skip
                    self._save()
                    late = late or self._agreed(is_main and self.stale)
                if is_main:
                    progress(Tick(self.images, total, values, warning))
                sums, started, before = {}, time.perf_counter(), self.images

    def _out_of_time(self, end: float) -> bool:
        return not math.isinf(end) and self._agreed(time.perf_counter() >= end)

    def _agreed(self, stop: bool) -> bool:
        """Whether any process wants to stop: all stop at the same step."""
        if self.accelerator.num_processes == 1:
            return stop
        return bool(self.accelerator.reduce(torch.tensor(float(stop), device=self.device), "sum"))

    @property
    def stale(self) -> bool:
        """Whether KID has not fallen for as many snapshots as the options allow."""
        patience = self.options.patience
        return patience is not None and self.directory.record.since_best() >= patience

    def _reached(self, images: int) -> bool:
        """Whether the last step passed this number of images."""
        return self.images - self.options.batch < images <= self.images

    def _passed(self, every: int) -> bool:
        return self.images // every != (self.images - self.options.batch) // every

    def _values(self, sums: dict[str, list[Tensor]]) -> dict[str, Any]:
        """Means of a tick over all processes; updates the ADA controller."""
        names = sorted(sums)
        means = torch.stack([torch.stack(sums[name]).float().mean() for name in names])
        means = self.accelerator.reduce(means.to(self.device), "mean")
        values: dict[str, Any] = dict(zip(names, means.tolist(), strict=True))
        if self.options.augmentation == "ada":
            self.ada.adapt(values["sign"], len(sums["sign"]) * self.options.batch)
        return {"images": self.adversaries.images, **values, "augmentation_p": self.ada.p}

    def _report(self, values: dict[str, Any], snapshot: bool) -> str | None:
        """Writes a tick's line of metrics, and what belongs to a snapshot; returns a warning."""
        warning = None
        if self.options.discriminator != "features":  # whose heads are held back by their norms
            warning = saturated(values["sign"], self.ada.p, self.images)
        if snapshot:
            found, collapsed = self.monitor.snapshot(self.images)
            values |= found
            warning = collapsed or warning
        self.directory.record.add(values)
        if snapshot:
            self.directory.draw()
        return warning

    def stop(self) -> None:
        """Saves the state of an interrupted run (not with several processes, which would wait)."""
        if self.accelerator.num_processes == 1:
            self._save()

    def _save(self) -> None:
        """Saves the state, with the random states of all processes."""
        states = self.accelerator.gather(_random_state(self.device)[None].to(self.device))
        if not self.accelerator.is_main_process:
            return
        trained, monitor = self.adversaries, self.monitor
        tensors = tensors_of(trained.networks, trained.optimisers)
        tensors |= {"random": trained.batches.random.get_state(), "noise": states}
        tensors["path_mean"] = trained.path_mean
        values = {
            "images": trained.images,
            "steps": trained.steps,
            "augmentation_p": self.ada.p,
            "best_kid": monitor.best_kid,
            "kid_features": monitor.kid_features,
        }
        self.directory.save_state(tensors, values)

    def _restore(self) -> None:
        trained, monitor = self.adversaries, self.monitor
        state = self.directory.load_state()
        if state is not None:
            tensors, values = state
            restore(tensors, trained.networks, trained.optimisers)
            trained.batches.random.set_state(tensors["random"])
            _set_random_state(self.device, tensors["noise"][self.rank])
            trained.path_mean = tensors["path_mean"].to(self.device)
            trained.images, trained.steps = values["images"], values["steps"]
            self.ada.p = values["augmentation_p"]
            monitor.best_kid, monitor.kid_features = values["best_kid"], values["kid_features"]
        if self.accelerator.is_main_process:
            self.directory.record.forget_after(self.images)


def accelerator_for(device: str) -> Accelerator:
    """The processes started by `torchrun`, on a device by name.

    Raises:
        OptionError: there is no such device.
    """
    return Accelerator(cpu=choose_device(device).type == "cpu")


def _check(dataset: Dataset, options: TrainOptions, processes: int) -> None:
    if dataset.resolution != options.resolution:
        raise OptionError(
            f"images have {dataset.resolution} px, the options {options.resolution} px"
        )
    if options.batch % processes:
        raise OptionError(f"batch {options.batch} cannot be split between {processes} processes")
    group = min(options.group, options.batch)
    if (options.batch // group) % processes:
        raise OptionError(
            f"batch {options.batch} in groups of {group} does not split into {processes} processes"
        )


def _split(dataset: Dataset, options: TrainOptions) -> tuple[Dataset, Dataset | None]:
    """Images to train on, and images for KID: None if they would be fewer than two."""
    held_out = min(options.held_out, len(dataset) // 10)
    return dataset.split(held_out, options.seed) if held_out > 1 else (dataset, None)


def _random_state(device: torch.device) -> Tensor:
    """The random state for noise."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
