"""Distillation of a proxy: a small generator with the coordinates of a bundle's large one.

A proxy of a MobileStyleGAN keeps that generator's first blocks (generators/mobile_proxy.py) and
needs little training. For any other generator it is a network with random initial weights
(generators/proxy.py).
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..bundle import Bundle, Original
from ..device import choose_device
from ..distilled.aids import SearchAids
from ..errors import OptionError
from ..generators.base import Generator, reduce_images
from ..generators.mobile_proxy import MobileProxy
from ..generators.mobile_stylegan import MobileStyleGAN
from ..generators.proxy import CHANNELS, Proxy
from ..generators.weights import round_to_half
from ..latents.coordinates import Coordinates
from ..perception.features import RESOLUTION
from .fit import Execution, FitOptions, fit
from .image_objective import ImageObjective
from .pairs import PairProgress, Pairs, make_pairs

FROM_ITS_LAYERS = FitOptions(steps=1500, batch=8, learning_rate=1e-3, relative=True)
FROM_NOTHING = FitOptions(steps=3600, batch=16, learning_rate=3e-3)
DRAWN = 128  # pairs for the initial fit of the image layer
RIDGE = 1e-4  # of that fit


def distill(
    bundle: Bundle,
    output: Path,
    resolution: int = 128,
    count: int = 8000,
    steps: int | None = None,
    work: Path | None = None,
    device: str = "auto",
    compiled: bool = False,
    progress: PairProgress = lambda stage, done, total: None,
) -> tuple[Bundle, float]:
    """Trains a bundle's proxy and writes it; resumes a stopped run.

    Args:
        bundle: to make a proxy of.
        output: the proxy's .ivm file; its stem is the proxy's name.
        resolution: of the proxy's images.
        count: number of training pairs.
        steps: of the training; None: the default.
        work: folder of pairs and checkpoints, which is kept; None: one next to the output, which
            is deleted at the end.
        device: to run on.
        compiled: whether to use torch.compile.
        progress: called with stage, done and total.

    Returns:
        The proxy's bundle and its mean LPIPS against the generator on held-out pairs.

    Raises:
        OptionError: invalid resolution.
        BundleError: the folder belongs to another bundle.
        OutputError: a file cannot be written.
    """
    check_resolution(resolution, bundle.generator.resolution)
    folder = work or output.with_name(output.name + ".pairs")
    largest = bundle.generator.resolution
    seen = min(
        max(resolution, RESOLUTION), largest
    )  # so that an encoder network can use the same pairs
    pairs = make_pairs(bundle, folder, count, seen, device, compiled, progress=progress)
    execution = Execution(folder / "proxy.training", device, progress, compiled)
    proxy, lpips = train_proxy(bundle, pairs, execution, resolution, steps)
    proxy = replace(proxy, settings=replace(proxy.settings, name=output.stem))
    proxy.save(output)
    execution.checkpoint.unlink(missing_ok=True)
    del pairs
    if work is None:
        shutil.rmtree(folder)
    return proxy, lpips


def check_resolution(resolution: int, largest: int) -> None:
    """Checks the resolution of a proxy.

    Raises:
        OptionError: not a power of two from 16 to 512, or more than the largest.
    """
    if resolution not in (16, 32, 64, 128, 256, 512):
        raise OptionError(f"resolution {resolution} is not a power of two from 16 to 512")
    if resolution > largest:
        raise OptionError(f"a proxy of {resolution} px: must have at most the model's {largest} px")


def train_proxy(
    bundle: Bundle, pairs: Pairs, execution: Execution, resolution: int, steps: int | None = None
) -> tuple[Bundle, float]:
    """A proxy's bundle, and the proxy's LPIPS against the generator on held-out pairs."""
    device = choose_device(execution.device)
    coordinates = proxy_coordinates(bundle.coordinates).to(device)
    proxy, options = begin(bundle, pairs, resolution)
    if steps is not None:
        options = replace(options, steps=steps)
    proxy.to(device)

    def image(found: Tensor, classes: Tensor) -> Tensor:
        return proxy(coordinates.latents(found, classes))  # type: ignore[no-any-return]

    objective = ImageObjective(bundle, pairs, image, device, execution.compiled)
    fit("proxy", proxy, objective.loss, pairs.learned, options, execution)
    round_to_half(proxy)
    settings = replace(
        bundle.settings,
        name=f"{bundle.settings.name}-proxy",
        original=Original(bundle.fingerprint.hex(), bundle.resolution),
        made={"pairs": len(pairs), **asdict(options)},
    )
    made = replace(
        bundle,
        generator=proxy.to("cpu"),
        coordinates=coordinates.to("cpu"),
        settings=settings,
        aids=SearchAids(bundle.aids.encoder),
        detail=None,  # it has no such inner maps
    )
    return made, objective.lpips()


def begin(bundle: Bundle, pairs: Pairs, resolution: int) -> tuple[Generator, FitOptions]:
    """An untrained proxy, and options for its training."""
    generator, coordinates = bundle.generator, bundle.coordinates
    deviations = coordinates.deviations
    if isinstance(generator, MobileStyleGAN) and resolution < generator.resolution:
        mobile = MobileProxy.of(
            generator.cpu(), coordinates.mean[0], coordinates.basis(), deviations, resolution
        )
        draw_by_least_squares(mobile, pairs)
        return mobile, FROM_ITS_LAYERS
    torch.manual_seed(FROM_NOTHING.seed)
    classes = coordinates.classes
    channels = (*CHANNELS, 32, 16)[: (resolution // 4).bit_length() - 1]
    proxy = Proxy(coordinates.count, channels, classes if classes > 1 else 0)
    proxy.deviations.copy_(deviations)
    proxy.units[: len(deviations)].copy_(deviations**0.6 * 0.3**0.4)
    return proxy, FROM_NOTHING


@torch.no_grad()
def draw_by_least_squares(proxy: MobileProxy, pairs: Pairs) -> None:
    """Fits `to_image` to some pairs, as the best linear map of single pixels."""
    size = proxy.channels[-1] + 1
    squares = torch.zeros(size, size, dtype=torch.float64)
    products = torch.zeros(size, 3, dtype=torch.float64)
    for first in range(0, min(DRAWN, len(pairs)), 8):
        coordinates, _, real = pairs.batch(np.arange(first, min(first + 8, len(pairs))))
        wanted = _positions(reduce_images(real, proxy.resolution))
        features = _positions(proxy.features(coordinates))
        features = torch.cat([features, torch.ones(len(features), 1)], 1)
        squares += (features.T @ features).double()
        products += (features.T @ wanted).double()
    ridge = RIDGE * squares.diagonal().mean() * torch.eye(size)
    found = torch.linalg.solve(squares + ridge, products).float()
    proxy.to_image.weight[:, :, 1, 1] = found[:-1].T
    proxy.to_image.bias.copy_(found[-1])  # type: ignore[union-attr]


def _positions(maps: Tensor) -> Tensor:
    """[N, C, H, W] to [N H W, C]."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def proxy_coordinates(coordinates: Coordinates) -> Coordinates:
    """The coordinates of a proxy: its latents are the coordinates, then the one-hot class."""
    count, classes = coordinates.count, coordinates.classes
    own = classes if classes > 1 else 0
    mean = torch.cat([torch.zeros(classes, count), torch.eye(classes, own)], 1)
    codes = torch.eye(count, count + own).to(torch.int8)
    return Coordinates(mean, codes, torch.ones(count), coordinates.deviations)
