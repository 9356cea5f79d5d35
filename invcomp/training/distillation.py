"""Distillation of a bundle's search aids: encoder network and surrogate (proxy: see proxy.py)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..bundle import Bundle
from ..device import choose_device
from ..distilled.aids import SearchAids
from ..distilled.encoder import LEADING, InversionEncoder, see
from ..distilled.surrogate import Surrogate
from ..errors import OptionError
from ..perception.features import RESOLUTION, PerceptualFeatures
from .fit import Execution, FitOptions, fit
from .image_objective import ImageObjective
from .pairs import Indices, PairProgress, Pairs, make_pairs

ENCODER = FitOptions(steps=4000, batch=48, learning_rate=1e-3, weight_decay=0.02)
SURROGATE = FitOptions(steps=1000, batch=8, learning_rate=3e-3)


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
    if len(bundle.coordinates.mean) > 1:
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
    if len(bundle.coordinates.mean) > 1:
        raise OptionError("an encoder network needs a model without classes")
    device = choose_device(execution.device)
    torch.manual_seed(options.seed)
    count = min(LEADING, bundle.coordinates.count)
    encoder = InversionEncoder(count).to(device)
    encoder.units.copy_(bundle.coordinates.deviations[:count])
    seen = _see_all(bundle, pairs, device, execution)
    coordinates = torch.from_numpy(pairs.coordinates[:, :count])
    learned = pairs.learned
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


# Surrogate ---------------------------------------------------------------------------------------


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
    fit("surrogate", surrogate, objective.loss, pairs.learned, options, execution)
    return surrogate, objective.distortion()
