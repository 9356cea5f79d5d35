"""Adversarial training: discriminator step, generator step, averaging, monitoring.

As in StyleGAN2-ADA (Karras et al. 2020, arXiv:2006.06676). Several processes share a batch through
Hugging Face Accelerate, which handles `torchrun`'s variables, devices and collectives. Gradients
are averaged by hand: DistributedDataParallel does not fit alternating steps with double backward.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..device import choose_device, has_fast_bfloat16
from ..errors import OptionError
from ..generators.sampling import grid, samples, to_uint8
from ..generators.stylegan2 import StyleGAN2
from ..perception.kid import Kid
from . import run as files
from .augmentation import RANDOMS, AdaptiveProbability, augment
from .data import Dataset
from .discriminator import Discriminator
from .losses import discriminator_loss, generator_loss, gradient_penalty, path_lengths
from .options import TrainOptions

CHUNK = 64  # images generated per batch outside training
GRID = 64  # images of a sample grid


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

    Raises:
        OptionError: options and data do not match, or the directory holds another run.
    """

    def __init__(
        self,
        dataset: Dataset,
        directory: files.RunDirectory,
        options: TrainOptions,
        source: str = "",
        resume: bool = False,
        accelerator: Accelerator | None = None,
        compiled: bool = False,
    ) -> None:
        self.options, self.directory = options, directory
        self.accelerator = accelerator or Accelerator()
        self.device = self.accelerator.device
        self.processes, self.rank = self.accelerator.num_processes, self.accelerator.process_index
        _check(dataset, options, self.processes)
        if self.accelerator.is_main_process:
            directory.begin(options, source, resume)
        self.held_out: Dataset | None
        held_out = min(options.held_out, len(dataset) // 10)
        self.data, self.held_out = dataset, None
        if held_out > 1:
            self.data, self.held_out = dataset.split(held_out, options.seed)
        torch.manual_seed(options.seed)  # the same weights in every process
        self._build()
        self.random = torch.Generator().manual_seed(options.seed)  # shared by all processes
        self.ada = AdaptiveProbability(options.augmentation_p, options.ada_target)
        self.images, self.steps, self.best_kid = 0, 0, float("inf")
        self.kid_features = ""  # for best_kid: figures of different features must not be compared
        self.path_mean = torch.zeros([], device=self.device)
        torch.manual_seed(options.seed * self.processes + self.rank)  # noise differs per process
        if resume:
            self._restore()
        self._compile(compiled)
        self._kid: Kid | None = None

    def _build(self) -> None:
        options = self.options
        channels, w = options.channels, options.w_size
        generator = StyleGAN2(channels, w, w, options.mapping_depth)
        discriminator = Discriminator(channels, options.group)
        fast: dict[str, Any] = {"device": self.device, "memory_format": torch.channels_last}
        self.generator: StyleGAN2 = generator.to(**fast)
        self.discriminator: Discriminator = discriminator.to(**fast)
        self.averaged = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.optimiser_g = self._adam(
            self.generator, options.path_length_every if options.path_length else 0
        )
        self.optimiser_d = self._adam(self.discriminator, options.penalty_every)
        mixed = options.bfloat16
        self.mixed = has_fast_bfloat16(self.device) if mixed is None else mixed

    def _adam(self, module: nn.Module, every: int) -> torch.optim.Adam:
        """Adam, slowed to compensate the steps of lazy regularisation (StyleGAN2, appendix B)."""
        part = every / (every + 1) if every else 1
        return torch.optim.Adam(
            module.parameters(),
            lr=self.options.learning_rate * part,
            betas=(0.0, 0.99**part),
            eps=1e-8,
            fused=self.device.type in ("cpu", "cuda"),
        )

    def _compile(self, compiled: bool) -> None:
        """Compiles the three expensive functions; not penalties, which differentiate twice."""
        names = ("_generate", "_discriminator_loss", "_generator_loss")
        for name in names if compiled else ():
            setattr(self, name, torch.compile(getattr(self, name), dynamic=False))

    # The three functions -------------------------------------------------------------------------

    def _ws(self, z: Tensor) -> Tensor:
        """w of every layer [N, layers, w_size] from the output of `_z`."""
        layers = len(self.generator.layers)
        w: Tensor = self.generator.sample(z[:, 0])[:, None].expand(-1, layers, -1)
        if z.shape[1] == 1:
            return w
        other: Tensor = self.generator.sample(z[:, 1])[:, None].expand(-1, layers, -1)
        cut = z[:, 2, :1, None]  # the first layer that uses the second w
        return torch.where(torch.arange(layers, device=z.device)[None, :, None] < cut, w, other)

    def _generate(self, z: Tensor) -> Tensor:
        return self.generator.images(self._ws(z), self.options.noise)

    def _discriminator_loss(
        self, fake: Tensor, real: Tensor, p: Tensor, randoms: Tensor
    ) -> tuple[Tensor, Tensor]:
        both = torch.cat([augment(fake, p, randoms[0]), augment(real, p, randoms[1])])
        fake_logits, real_logits = self.discriminator(both, batches=2).chunk(2)
        return discriminator_loss(self.options.loss, real_logits, fake_logits), real_logits

    def _generator_loss(self, fake: Tensor, real: Tensor, p: Tensor, randoms: Tensor) -> Tensor:
        fake_logits = self.discriminator(augment(fake, p, randoms[0]))
        real_logits = None
        if self.options.loss == "rpgan":
            real_logits = self.discriminator(augment(real, p, randoms[1]))
        return generator_loss(self.options.loss, real_logits, fake_logits)

    # Steps ---------------------------------------------------------------------------------------

    def step(self) -> dict[str, Tensor]:
        """One step of both networks; returns the losses as tensors (no waiting for the device)."""
        options = self.options
        real = self._real()
        p = torch.tensor(self.ada.p, device=self.device)
        seen: dict[str, Tensor] = {}
        # both steps share one batch: the generator does not change between them
        with self._autocast():
            generated = self._generate(self._z())
            fake = generated.detach()
            loss, logits = self._discriminator_loss(fake, real, p, self._randoms())
        self._update(self.optimiser_d, self.discriminator, loss)
        seen |= {"discriminator": loss.detach(), "sign": logits.detach().sign().mean()}
        if self.steps % options.penalty_every == 0:
            seen["penalty"] = self._penalise(real, fake, p)
        self.discriminator.requires_grad_(False)
        with self._autocast():
            loss = self._generator_loss(generated, real, p, self._randoms())
        self._update(self.optimiser_g, self.generator, loss)
        seen["generator"] = loss.detach()
        if options.path_length and self.steps % options.path_length_every == 0:
            seen["path_length"] = self._regularise_paths()
        self.discriminator.requires_grad_(True)
        self.steps, self.images = self.steps + 1, self.images + options.batch
        self._average()
        return seen

    def _penalise(self, real: Tensor, fake: Tensor, p: Tensor) -> Tensor:
        randoms = self._randoms()
        total = torch.zeros([], device=self.device)
        with self._autocast():
            for kind, images in enumerate((real, fake)):
                if kind == 1 and self.options.loss != "rpgan":
                    break
                images = augment(images.detach().requires_grad_(), p, randoms[kind])
                total = total + gradient_penalty(self.discriminator(images), images)
        weight = self.options.penalty_weight / 2 * self.options.penalty_every
        self._update(self.optimiser_d, self.discriminator, total * weight)
        return total.detach()

    def _regularise_paths(self) -> Tensor:
        z = self._z()
        z = z[: max(len(z) // 2, 1)]  # half a batch is enough (StyleGAN2, appendix B)
        with self._autocast():
            ws = self._ws(z).contiguous()
            images = self.generator.images(ws, self.options.noise)
            lengths = path_lengths(images, ws, torch.randn_like(images))
        mean: Tensor = self.accelerator.reduce(lengths.detach().mean(), "mean")
        self.path_mean = self.path_mean.lerp(mean, 0.01)
        penalty = (lengths - self.path_mean).square().mean()
        weight = self.options.path_length * self.options.path_length_every
        self._update(self.optimiser_g, self.generator, penalty * weight)
        return mean

    def _update(self, optimiser: torch.optim.Optimizer, module: nn.Module, loss: Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        if self.processes > 1:
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            flat = self.accelerator.reduce(flat, "mean")
            parts = flat.split([gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))
        for gradient in gradients:  # one bad batch must not ruin a long run
            torch.nan_to_num(gradient, nan=0.0, posinf=1e5, neginf=-1e5, out=gradient)
        optimiser.step()

    @torch.no_grad()
    def _average(self) -> None:
        half_life = self.options.ema_half_life(self.images)
        weight = 1 - 0.5 ** (self.options.batch / max(half_life, 1e-8))
        torch._foreach_lerp_(
            list(self.averaged.parameters()), list(self.generator.parameters()), weight
        )

    # Random numbers: every process draws the whole batch and takes its part ----------------------

    def _mine(self, drawn: Tensor, axis: int = 0) -> Tensor:
        """This process's part of a batch: every k-th, so that deviation groups stay complete."""
        indices = torch.arange(self.rank, drawn.shape[axis], self.processes)
        return drawn.index_select(axis, indices).to(self.device)

    def _z(self) -> Tensor:
        """[n, 1, z_size]; with style mixing [n, 3, z_size]: two z, and the layer to switch at."""
        options, layers = self.options, len(self.generator.layers)
        size = (options.batch, 2 if options.style_mixing else 1, self.generator.z_size)
        z = torch.randn(size, generator=self.random)
        if options.style_mixing:
            cut = torch.randint(1, layers, (options.batch, 1, 1), generator=self.random)
            mixed = torch.rand(options.batch, 1, 1, generator=self.random) < options.style_mixing
            cut = torch.where(mixed, cut, layers).float().expand(-1, 1, size[2])
            z = torch.cat([z, cut], 1)
        return self._mine(z)

    def _randoms(self) -> Tensor:
        """Uniform numbers for two augmentations, [2, n, RANDOMS]."""
        return self._mine(torch.rand(2, self.options.batch, RANDOMS, generator=self.random), 1)

    def _real(self) -> Tensor:
        """[n, 3, R, R] in [-1, 1]."""
        indices = self.data.shuffled(self.options.seed, self.images, self.options.batch)
        mirrored = torch.rand(self.options.batch, generator=self.random) < 0.5
        images = self.data.batch(indices[self.rank :: self.processes]).to(self.device)
        real = images.float() / 127.5 - 1
        if self.options.mirror:
            real = torch.where(self._mine(mirrored)[:, None, None, None], real.flip(3), real)
        return real.contiguous(memory_format=torch.channels_last)

    def _autocast(self) -> Any:
        if not self.mixed:
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    # The run -------------------------------------------------------------------------------------

    def run(self, progress: Callable[[Tick], None] = lambda tick: None) -> None:
        """Trains until the last image of the options; writes to the run directory.

        Args:
            progress: called at every tick, in the main process.
        """
        options, total = self.options, int(self.options.kimg * 1000)
        sums: dict[str, list[Tensor]] = {}
        started, before = time.perf_counter(), self.images
        while self.images < total:
            for name, value in self.step().items():
                sums.setdefault(name, []).append(value)
            done = self.images >= total
            snapshot = self._passed(options.snapshot) or done
            if self._passed(options.tick) or snapshot:
                values = self._values(sums)
                values["images_per_second"] = (self.images - before) / (
                    time.perf_counter() - started
                )
                warning = self._saturated(values)
                if snapshot:
                    warning = self._snapshot(values) or warning
                if self.accelerator.is_main_process:
                    self._report(values, snapshot)
                if snapshot:  # after its line of metrics, which a resumed run would skip
                    self._save()
                if self.accelerator.is_main_process:
                    progress(Tick(self.images, total, values, warning))
                sums, started, before = {}, time.perf_counter(), self.images

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
        return {"images": self.images, **values, "augmentation_p": self.ada.p}

    def _saturated(self, values: dict[str, Any]) -> str | None:
        if values["sign"] > 0.95 and self.images > 20_000:
            advice = (
                "raise gamma or use more images"
                if self.ada.p > 0.8
                else "raise gamma or let the adaptive augmentation continue"
            )
            return (
                f"the discriminator is confident on {values['sign']:.0%} of real images: {advice}"
            )
        return None

    def _snapshot(self, values: dict[str, Any]) -> str | None:
        """Writes samples, KID and snapshot; returns a warning if all samples look alike."""
        warning = None
        if self.accelerator.is_main_process:
            self._mean_w()
            shown = torch.cat(list(samples(self.averaged, GRID)))
            grid([shown]).save(self.directory.path / "samples" / f"{self.images:09d}.png")
            warning = self._collapsed(shown)
            best = False
            if self.held_out is not None:
                values["kid"], values["kid_features"] = self.kid(), self.kid_features
                best = values["kid"] < self.best_kid
                self.best_kid = min(self.best_kid, values["kid"])
            self.directory.snapshot(self.averaged, self.images, best or self.held_out is None)
        return warning

    @torch.no_grad()
    def _mean_w(self) -> None:
        """Computes the mean w of the averaged generator, for truncation."""
        z = torch.randn(
            10_000, self.averaged.z_size, generator=torch.Generator().manual_seed(0)
        ).to(self.device)
        self.averaged.mapping.w_avg.copy_(self.averaged.sample(z).mean(0))

    def kid(self) -> float:
        """KID of the averaged generator against the held-out images."""
        assert self.held_out is not None
        if self._kid is None:
            self._kid = Kid(_batches(self.held_out), self.device)
            if (
                self.kid_features != self._kid.features
            ):  # started where other weights were available
                self.kid_features, self.best_kid = self._kid.features, float("inf")
        fake = samples(self.averaged, self.options.kid_samples, seed=1)
        return self._kid(map(to_uint8, fake))

    def _collapsed(self, shown: Tensor) -> str | None:
        """Warns if samples vary less than a quarter as much as real images."""
        count = min(GRID, len(self.data))
        real = self.data.batch(np.arange(count)).float() / 127.5 - 1
        ours, theirs = (float(x.float().var(0).mean()) for x in (shown, real))
        if ours < theirs / 4:
            return (
                f"the samples look alike (variance {ours:.3f}, real images {theirs:.3f}): "
                "raise gamma two- to fourfold, or try the loss rpgan"
            )
        return None

    def _report(self, values: dict[str, Any], snapshot: bool) -> None:
        self.directory.log(values)
        if snapshot:
            self.directory.draw()

    def stop(self) -> None:
        """Saves the state of an interrupted run (not with several processes, which would wait)."""
        if self.processes == 1:
            self._save()

    # Resuming ------------------------------------------------------------------------------------

    def _save(self) -> None:
        """Saves the state, with the random states of all processes."""
        states = self.accelerator.gather(_random_state(self.device)[None].to(self.device))
        if not self.accelerator.is_main_process:
            return
        tensors = {"random": self.random.get_state(), "noise": states, "path_mean": self.path_mean}
        for name, module in self._modules().items():
            tensors |= files.prefixed(name, module.state_dict())
        for name, optimiser in self._optimisers().items():
            tensors |= files.prefixed(name, files.optimiser_tensors(optimiser))
        values = {
            "images": self.images,
            "steps": self.steps,
            "augmentation_p": self.ada.p,
            "best_kid": self.best_kid,
            "kid_features": self.kid_features,
        }
        self.directory.save_state(tensors, values)

    def _restore(self) -> None:
        state = self.directory.load_state()
        if state is None:
            return
        tensors, values = state
        for name, module in self._modules().items():
            module.load_state_dict(files.without(name, tensors))
        for name, optimiser in self._optimisers().items():
            files.load_optimiser(optimiser, files.without(name, tensors))
        self.random.set_state(tensors["random"])
        _set_random_state(self.device, tensors["noise"][self.rank])
        self.path_mean = tensors["path_mean"].to(self.device)
        self.images, self.steps = values["images"], values["steps"]
        self.ada.p, self.best_kid = values["augmentation_p"], values["best_kid"]
        self.kid_features = values["kid_features"]
        if self.accelerator.is_main_process:
            self.directory.forget_after(self.images)

    def _modules(self) -> dict[str, nn.Module]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "averaged": self.averaged,
        }

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"optimiser_g": self.optimiser_g, "optimiser_d": self.optimiser_d}


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


def _batches(dataset: Dataset) -> Iterator[Tensor]:
    """All images in order, [n, 3, R, R] uint8."""
    for first in range(0, len(dataset), CHUNK):
        yield dataset.batch(np.arange(first, min(first + CHUNK, len(dataset))))


def _random_state(device: torch.device) -> Tensor:
    """The random state for noise."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
