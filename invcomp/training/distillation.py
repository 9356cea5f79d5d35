"""Distillation from a bundle's generator: encoder network and surrogate (proxy: see proxy.py).

All train on pairs (pairs.py), in one resumable loop.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..bundle import Bundle
from ..device import choose_device, has_fast_bfloat16
from ..distilled.aids import SearchAids
from ..distilled.encoder import LEADING, InversionEncoder, see
from ..distilled.surrogate import Surrogate
from ..errors import BundleError, OptionError
from ..files import atomic_write
from ..generators.base import reduce_images
from ..perception.features import RESOLUTION, PerceptualFeatures
from .pairs import PairProgress, Pairs, make_pairs
from .run import load_optimiser, optimiser_tensors, prefixed, without

Indices = NDArray[np.int64]
HELD_OUT = 0.04  # part of the pairs that judges and does not train
STORED = "student"  # name of the network in a checkpoint, from earlier versions
SAVE_EVERY = 500  # steps between two checkpoints
LEAST_SIZE = 0.02  # of a tensor, for relative learning rates: it may start at zero


@dataclass(frozen=True)
class FitOptions:
    """How long and how fast a network is trained.

    Attributes:
        steps: of the optimiser.
        batch: pairs per step.
        learning_rate: of Adam, after a ramp of 100 steps; then a cosine to zero.
        weight_decay: of AdamW.
        relative: whether the learning rate is relative to each tensor's size (Shazeer & Stern 2018,
            "Adafactor", section 8): for networks initialised from another network.
        seed: for the weights and the order.
    """

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.0
    relative: bool = False
    seed: int = 4

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}: at least 1 is needed")


ENCODER = FitOptions(steps=4000, batch=48, learning_rate=1e-3, weight_decay=0.02)
SURROGATE = FitOptions(steps=1000, batch=8, learning_rate=3e-3)


@dataclass(frozen=True)
class Execution:
    """Where and how a network is trained.

    Attributes:
        device: "cpu", "cuda", "mps" or "auto".
        checkpoint: file from which a stopped training is resumed, or a finished one loaded; the
            caller deletes it after saving the network.
        progress: called with stage, done and total.
        compiled: whether losses on images are compiled with torch.compile.
    """

    checkpoint: Path
    device: str = "auto"
    progress: PairProgress = lambda stage, done, total: None
    compiled: bool = False


def fit(
    name: str,
    network: nn.Module,
    loss: Callable[[Indices], Tensor],
    count: int,
    options: FitOptions,
    execution: Execution,
) -> None:
    """Trains a network in place.

    Args:
        name: of the stage.
        network: the network.
        loss: mean loss of the pairs at some indices.
        count: number of training pairs, which come first.
        options: how long and how fast.
        execution: where and how.

    Raises:
        BundleError: the checkpoint belongs to another training.
    """
    groups = [{"params": [value], "size": _size(value, options)} for value in network.parameters()]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=options.weight_decay)
    schedule = _Rate(options)
    path = execution.checkpoint
    made_for = json.dumps([name, count, asdict(options)])
    step = _resume(path, made_for, network, optimiser)
    network.train()
    while step < options.steps:
        execution.progress(name, step, options.steps)
        for group in optimiser.param_groups:
            group["lr"] = group["size"] * schedule(step)
        # by step, so that a resumed training sees the same pairs
        source = np.random.default_rng([options.seed, step])
        torch.manual_seed(options.seed * 1_000_003 + step)  # dropout
        value = loss(source.integers(count, size=options.batch))
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        step += 1
        if step % SAVE_EVERY == 0 or step == options.steps:
            _save(path, made_for, step, network, optimiser)
    network.eval().requires_grad_(False)
    execution.progress(name, options.steps, options.steps)


def _size(value: Tensor, options: FitOptions) -> float:
    """Factor on the learning rate of a tensor."""
    if not options.relative:
        return 1.0
    return max(float(value.detach().square().mean().sqrt()), LEAST_SIZE)


class _Rate:
    """The learning rate of every step."""

    def __init__(self, options: FitOptions) -> None:
        self.options = options

    def __call__(self, step: int) -> float:
        ramp = min(1.0, (step + 1) / 100)
        cosine = 0.5 + 0.5 * float(np.cos(np.pi * step / self.options.steps))
        return self.options.learning_rate * ramp * cosine


def _save(
    path: Path, made_for: str, step: int, network: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    tensors = prefixed(STORED, network.state_dict())
    tensors |= prefixed("optimiser", optimiser_tensors(optimiser))
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_write(path, force=True) as temporary:
        save_file(tensors, temporary, {"made_for": made_for, "step": str(step)})


def _resume(path: Path, made_for: str, network: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    if not path.is_file():
        return 0
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path} is damaged ({error}): delete it to start over") from error
    if metadata.get("made_for") != made_for:
        raise BundleError(f"{path} was begun with other options: delete it to start anew")
    network.load_state_dict(without(STORED, tensors))
    load_optimiser(optimiser, without("optimiser", tensors))
    return int(metadata["step"])


def _learned_from(pairs: Pairs) -> int:
    return max(len(pairs) - max(int(HELD_OUT * len(pairs)), 1), 1)


def train_aids(
    bundle: Bundle,
    folder: Path,
    count: int,
    device: str = "auto",
    compiled: bool = False,
    progress: PairProgress = lambda stage, done, total: None,
) -> tuple[Bundle, dict[str, float]]:
    """Trains the search aids of a bundle; returns the bundle and their quality.

    Args:
        bundle: without classes; existing aids are kept, only missing ones are trained.
        folder: for pairs and checkpoints; checkpoints are deleted at the end.
        count: number of pairs.
        device: to run on.
        compiled: whether to use torch.compile.
        progress: called with stage, done and total.

    Raises:
        OptionError: the model has classes.
        BundleError: the folder belongs to another bundle.
    """
    if bundle.coordinates.classes > 1:
        raise OptionError("an encoder network needs a model without classes")
    resolution = min(RESOLUTION, bundle.generator.resolution)
    pairs = make_pairs(bundle, folder, count, resolution, device, compiled, progress=progress)
    encoder, surrogate = bundle.aids.encoder, bundle.aids.surrogate
    executions = [Execution(folder / "encoder.training", device, progress)]
    executions.append(Execution(folder / "surrogate.training", device, progress, compiled))
    quality = {}
    if encoder is None:
        encoder, explained = train_encoder(bundle, pairs, executions[0], ENCODER)
        quality["energy of coordinates explained by the encoder network"] = explained
    if surrogate is None and Surrogate.fits(bundle.generator):
        surrogate, distortion = train_surrogate(bundle, pairs, executions[1], SURROGATE)
        quality["distortion of the surrogate"] = distortion
    for execution in executions:
        execution.checkpoint.unlink(missing_ok=True)
    return replace(bundle, aids=SearchAids(encoder, surrogate)), quality


# Encoder network ---------------------------------------------------------------------------------


def train_encoder(
    bundle: Bundle, pairs: Pairs, execution: Execution, options: FitOptions = ENCODER
) -> tuple[InversionEncoder, float]:
    """An encoder network, and the energy fraction of held-out coordinates that it explains.

    The loss is the squared error of coordinates: LPIPS + beta * MSE to first order.

    Raises:
        OptionError: the model has classes, which the encoder network cannot infer.
    """
    if bundle.coordinates.classes > 1:
        raise OptionError("an encoder network needs a model without classes")
    device = choose_device(execution.device)
    torch.manual_seed(options.seed)
    count = min(LEADING, bundle.coordinates.count)
    encoder = InversionEncoder(count).to(device)
    encoder.units.copy_(bundle.coordinates.deviations[:count])
    seen = _see_all(bundle, pairs, device, execution)
    coordinates = torch.from_numpy(pairs.coordinates[:, :count])
    learned = _learned_from(pairs)
    with torch.no_grad():  # so that the first steps have features of the right scale
        encoder.normalise.momentum = None
        encoder.normalise(seen[:learned][:1000].float().to(device))
        encoder.normalise.momentum = 0.01

    def loss(indices: Indices) -> Tensor:
        inputs = seen[indices].float().to(device)
        difference = encoder(inputs) - coordinates[indices].to(device)
        squared: Tensor = difference.square().sum(1)
        return squared.mean()

    fit("encoder", encoder, loss, learned, options, execution)
    with torch.no_grad():
        truth = torch.from_numpy(pairs.coordinates[learned:]).to(device)
        guess = encoder(seen[learned:].float().to(device))
        encoder.errors.copy_((guess - truth[:, :count]).square().mean(0).sqrt())
        missed = (guess - truth[:, :count]).square().sum() + truth[:, count:].square().sum()
    return encoder, float(1 - missed / truth.square().sum())


def _see_all(bundle: Bundle, pairs: Pairs, device: torch.device, execution: Execution) -> Tensor:
    """The encoder network's input for every pair, float16 [N, C, 7, 7]."""
    features, found = PerceptualFeatures(bundle.settings.beta).to(device), []
    for first in range(0, len(pairs), 32):
        execution.progress("features", first, len(pairs))
        indices = np.arange(first, min(first + 32, len(pairs)))
        found.append(see(features, pairs.batch(indices)[2].to(device)).half().cpu())
    return torch.cat(found)


# Surrogate -----------------------------------------------------------------------------


def train_surrogate(
    bundle: Bundle, pairs: Pairs, execution: Execution, options: FitOptions = SURROGATE
) -> tuple[Surrogate, float]:
    """A surrogate, and its distortion against the generator on held-out pairs.

    Raises:
        OptionError: the generator does not support one.
    """
    device = choose_device(execution.device)
    torch.manual_seed(options.seed)
    generator = bundle.generator.to(device)
    surrogate = Surrogate.of(generator).to(device)
    coordinates = bundle.coordinates.to(device)
    basis = coordinates.basis()

    def image(found: Tensor, classes: Tensor) -> Tensor:
        with torch.no_grad():
            latents = coordinates.means(classes) + found @ basis
        return surrogate.image(generator, latents)

    objective = ImageObjective(bundle, pairs, image, device, execution.compiled)
    fit("surrogate", surrogate, objective.loss, objective.learned, options, execution)
    return surrogate, objective.distortion()


class ImageObjective:
    """Loss of a network that makes images: distortion and absolute pixel error."""

    def __init__(
        self,
        bundle: Bundle,
        pairs: Pairs,
        image: Callable[[Tensor, Tensor], Tensor],
        device: torch.device,
        compiled: bool,
    ) -> None:
        settings = bundle.settings
        self.features = PerceptualFeatures(settings.beta, face=settings.face).to(device)
        self.pairs, self.image, self.device = pairs, image, device
        self.learned, self.mixed = _learned_from(pairs), has_fast_bfloat16(device)
        self._mean = torch.compile(self._mean_loss, dynamic=False) if compiled else self._mean_loss

    def loss(self, indices: Indices) -> Tensor:
        """See the class."""
        batch = (part.to(self.device) for part in self.pairs.batch(indices))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            return self._mean(*batch)

    def _mean_loss(self, coordinates: Tensor, classes: Tensor, real: Tensor) -> Tensor:
        made = self.image(coordinates, classes)
        real = reduce_images(real, made.shape[-1])
        with torch.no_grad():
            target = self.features(real).float()
        difference: Tensor = self.features(made).float() - target
        return difference.square().sum(1).mean() + (made.float() - real).abs().mean()

    def _both(self, indices: Indices) -> tuple[Tensor, Tensor]:
        coordinates, classes, real = (part.to(self.device) for part in self.pairs.batch(indices))
        made = self.image(coordinates, classes)
        return made, reduce_images(real, made.shape[-1])

    @torch.no_grad()
    def distortion(self) -> float:
        """Mean distortion of held-out pairs."""
        found = [
            (self.features(made) - self.features(real)).square().sum(1)
            for made, real in map(self._both, self._held_out())
        ]
        return float(torch.cat(found).mean())

    @torch.no_grad()
    def lpips(self) -> float:
        """Mean LPIPS-Alex of held-out pairs."""
        both = map(self._both, self._held_out())
        found = [self.features.lpips_distance(made.clamp(-1, 1), real) for made, real in both]
        return float(torch.cat(found).mean())

    def _held_out(self) -> list[Indices]:
        indices = np.arange(self.learned, len(self.pairs))
        return [indices[first : first + 8] for first in range(0, len(indices), 8)]
