"""A resumable training of a network on pairs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import BundleError, OptionError
from .checkpoint import load_checkpoint, restore, save_checkpoint, tensors_of
from .pairs import Indices, PairProgress

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
    path = execution.checkpoint
    made_for = json.dumps([name, count, asdict(options)])
    step = _resume(path, made_for, network, optimiser)
    network.train()
    while step < options.steps:
        execution.progress(name, step, options.steps)
        for group in optimiser.param_groups:
            group["lr"] = group["size"] * _rate(step, options)
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
            tensors = tensors_of({STORED: network}, {"optimiser": optimiser})
            save_checkpoint(path, tensors, {"made_for": made_for, "step": str(step)})
    network.eval().requires_grad_(False)
    execution.progress(name, options.steps, options.steps)


def _size(value: Tensor, options: FitOptions) -> float:
    """Factor on the learning rate of a tensor."""
    if not options.relative:
        return 1.0
    return max(float(value.detach().square().mean().sqrt()), LEAST_SIZE)


def _rate(step: int, options: FitOptions) -> float:
    """The learning rate of a step."""
    ramp = min(1.0, (step + 1) / 100)
    cosine = 0.5 + 0.5 * float(np.cos(np.pi * step / options.steps))
    return options.learning_rate * ramp * cosine


def _resume(path: Path, made_for: str, network: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """The number of steps done; loads the checkpoint, if there is one."""
    if (state := load_checkpoint(path)) is None:
        return 0
    tensors, metadata = state
    if metadata.get("made_for") != made_for:
        raise BundleError(f"{path} was begun with other options: delete it to start anew")
    restore(tensors, {STORED: network}, {"optimiser": optimiser})
    return int(metadata["step"])
