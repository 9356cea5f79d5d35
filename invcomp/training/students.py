"""Small networks that learn from a bundle's generator: encoder, short cut, proxy.

All learn from pairs (pairs.py), by one loop that can be stopped and gone on with.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..bundle import Bundle, Original
from ..codec import choose_device, has_fast_bfloat16
from ..errors import BundleError, OptionError
from ..files import atomic_write
from ..generators.base import reduce_picture
from ..generators.proxy import CHANNELS, Proxy
from ..generators.weights import round_to_half
from ..inversion.aids import SearchAids
from ..inversion.encoder import LEADING, Encoder, see
from ..inversion.shortcut import Shortcut
from ..latents.coordinates import Coordinates
from ..latents.features import RESOLUTION, PerceptualFeatures
from .pairs import Pairs, Progress, make_pairs
from .run import load_optimiser, optimiser_tensors, prefixed, without

Indices = NDArray[np.int64]
HELD_OUT = 0.04  # part of the pairs that judges and does not train
SAVE_EVERY = 500  # steps between two checkpoints


@dataclass(frozen=True)
class FitOptions:
    """How long and how fast a student learns.

    Attributes:
        steps: of the optimiser.
        batch: pairs a step.
        learning_rate: Adam's, after a ramp of 100 steps; down to zero by a cosine.
        weight_decay: AdamW's.
        seed: of the weights and of the order.
    """

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.0
    seed: int = 4

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}: at least 1 is needed")


ENCODER = FitOptions(steps=4000, batch=48, learning_rate=1e-3, weight_decay=0.02)
SHORTCUT = FitOptions(steps=1000, batch=8, learning_rate=3e-3)
PROXY = FitOptions(steps=3600, batch=16, learning_rate=3e-3)


@dataclass(frozen=True)
class Place:
    """Where and how a student learns.

    Attributes:
        device: "cpu", "cuda", "mps" or "auto".
        checkpoint: file that a stopped training goes on from; it is deleted at the end.
        progress: called with stage, done and total.
        compiled: whether lessons of pictures go through torch.compile.
    """

    checkpoint: Path
    device: str = "auto"
    progress: Progress = lambda stage, done, total: None
    compiled: bool = False


def fit(
    name: str,
    student: nn.Module,
    loss: Callable[[Indices], Tensor],
    count: int,
    options: FitOptions,
    place: Place,
) -> None:
    """Trains a student in place.

    Args:
        name: of the stage.
        student: what learns.
        loss: of the pairs of some indices, a mean.
        count: pairs to learn from, the first ones.
        options: how long.
        place: where.

    Raises:
        BundleError: the checkpoint is of another training.
    """
    optimiser = torch.optim.AdamW(
        student.parameters(),
        options.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=options.weight_decay,
    )
    schedule = _Rate(options)
    path = place.checkpoint
    made_for = json.dumps([name, count, asdict(options)])
    step = _resume(path, made_for, student, optimiser)
    student.train()
    while step < options.steps:
        place.progress(name, step, options.steps)
        optimiser.param_groups[0]["lr"] = schedule(step)
        # by step: so a training that goes on sees what it would have seen
        source = np.random.default_rng([options.seed, step])
        torch.manual_seed(options.seed * 1_000_003 + step)  # dropout
        value = loss(source.integers(count, size=options.batch))
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        step += 1
        if step % SAVE_EVERY == 0:
            _save(path, made_for, step, student, optimiser)
    student.eval().requires_grad_(False)
    place.progress(name, options.steps, options.steps)
    path.unlink(missing_ok=True)


class _Rate:
    """The learning rate of every step."""

    def __init__(self, options: FitOptions) -> None:
        self.options = options

    def __call__(self, step: int) -> float:
        ramp = min(1.0, (step + 1) / 100)
        cosine = 0.5 + 0.5 * float(np.cos(np.pi * step / self.options.steps))
        return self.options.learning_rate * ramp * cosine


def _save(
    path: Path, made_for: str, step: int, student: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    tensors = prefixed("student", student.state_dict())
    tensors |= prefixed("optimiser", optimiser_tensors(optimiser))
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_write(path, force=True) as temporary:
        save_file(tensors, temporary, {"made_for": made_for, "step": str(step)})


def _resume(path: Path, made_for: str, student: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    if not path.is_file():
        return 0
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path} is damaged ({error}): delete it to start anew") from error
    if metadata.get("made_for") != made_for:
        raise BundleError(f"{path} was begun with other options: delete it to start anew")
    student.load_state_dict(without("student", tensors))
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
    progress: Progress = lambda stage, done, total: None,
) -> tuple[Bundle, dict[str, float]]:
    """The bundle with what makes its search fast, and how good that is.

    Args:
        bundle: without classes; what aids it has are kept, only missing ones are trained.
        folder: for the pairs and checkpoints; checkpoints go when all is done.
        count: pairs.
        device: where it runs.
        compiled: through torch.compile.
        progress: called with stage, done and total.

    Raises:
        OptionError: the model has classes.
        BundleError: the folder is of another bundle.
    """
    if len(bundle.coordinates.mean) > 1:
        raise OptionError("an encoder is for models without classes")
    resolution = min(RESOLUTION, bundle.generator.resolution)
    pairs = make_pairs(bundle, folder, count, resolution, device, compiled, progress=progress)
    encoder, shortcut = bundle.aids.encoder, bundle.aids.shortcut
    quality = {}
    if encoder is None:
        encoder, explained = train_encoder(
            bundle, pairs, Place(folder / "encoder.training", device, progress), ENCODER
        )
        quality["energy of coordinates that the encoder explains"] = explained
    if shortcut is None and Shortcut.fits(bundle.generator):
        place = Place(folder / "shortcut.training", device, progress, compiled)
        shortcut, distortion = train_shortcut(bundle, pairs, place, SHORTCUT)
        quality["distortion of the short cut"] = distortion
    return replace(bundle, aids=SearchAids(encoder, shortcut)), quality


# Encoder -----------------------------------------------------------------------------------------


def train_encoder(
    bundle: Bundle, pairs: Pairs, place: Place, options: FitOptions = ENCODER
) -> tuple[Encoder, float]:
    """An encoder, and the part of the energy of held-out pairs' coordinates that it explains.

    The loss is the squared error of coordinates: LPIPS + beta * MSE to first order.

    Raises:
        OptionError: the model has classes, which a photograph does not show.
    """
    if len(bundle.coordinates.mean) > 1:
        raise OptionError("an encoder is for models without classes")
    device = choose_device(place.device)
    torch.manual_seed(options.seed)
    count = min(LEADING, bundle.coordinates.count)
    encoder = Encoder(count).to(device)
    encoder.units.copy_(bundle.coordinates.deviations[:count])
    seen = _see_all(bundle, pairs, device, place)
    coordinates = torch.from_numpy(pairs.coordinates[:, :count])
    learned = _learned_from(pairs)
    with torch.no_grad():  # so that the first steps see features of the right size
        encoder.normalise.momentum = None
        encoder.normalise(seen[:learned][:1000].float().to(device))
        encoder.normalise.momentum = 0.01

    def loss(indices: Indices) -> Tensor:
        inputs = seen[indices].float().to(device)
        difference = encoder(inputs) - coordinates[indices].to(device)
        squared: Tensor = difference.square().sum(1)
        return squared.mean()

    fit("encoder", encoder, loss, learned, options, place)
    with torch.no_grad():
        truth = torch.from_numpy(pairs.coordinates[learned:]).to(device)
        guess = encoder(seen[learned:].float().to(device))
        encoder.errors.copy_((guess - truth[:, :count]).square().mean(0).sqrt())
        missed = (guess - truth[:, :count]).square().sum() + truth[:, count:].square().sum()
    return encoder, float(1 - missed / truth.square().sum())


def _see_all(bundle: Bundle, pairs: Pairs, device: torch.device, place: Place) -> Tensor:
    """What an encoder sees of every pair, float16 [N, C, 7, 7]."""
    features, found = PerceptualFeatures(bundle.settings.beta).to(device), []
    for first in range(0, len(pairs), 32):
        place.progress("features", first, len(pairs))
        indices = np.arange(first, min(first + 32, len(pairs)))
        found.append(see(features, pairs.batch(indices)[2].to(device)).half().cpu())
    return torch.cat(found)


# Short cut and proxy -----------------------------------------------------------------------------


def train_shortcut(
    bundle: Bundle, pairs: Pairs, place: Place, options: FitOptions = SHORTCUT
) -> tuple[Shortcut, float]:
    """A short cut, and its distortion against the generator on held-out pairs.

    Raises:
        OptionError: the generator has no use for one.
    """
    device = choose_device(place.device)
    torch.manual_seed(options.seed)
    generator = bundle.generator.to(device)
    shortcut = Shortcut.of(generator).to(device)
    coordinates = bundle.coordinates.to(device)
    basis = coordinates.basis()

    def picture(found: Tensor, classes: Tensor) -> Tensor:
        with torch.no_grad():
            latents = coordinates.means(classes) + found @ basis
        return shortcut.picture(generator, latents)

    lesson = _Pictures(bundle, pairs, picture, device, place.compiled)
    fit("short cut", shortcut, lesson.loss, lesson.learned, options, place)
    return shortcut, lesson.distortion()


def distill(
    bundle: Bundle,
    output: Path,
    resolution: int = 128,
    count: int = 8000,
    steps: int | None = None,
    work: Path | None = None,
    device: str = "auto",
    compiled: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> tuple[Bundle, float]:
    """Makes a bundle's proxy and writes it; stopped, it goes on where it was.

    Args:
        bundle: whose proxy.
        output: the proxy's file, .ivm; its stem is its name.
        resolution: of its pictures.
        count: pairs to learn from.
        steps: of the training; None: the default.
        work: folder of pairs and checkpoints, which is kept; None: one beside the output, until
            it is written.
        device: where it runs.
        compiled: through torch.compile.
        progress: called with stage, done and total.

    Returns:
        The proxy's bundle and its mean LPIPS against the generator, of held-out pairs.

    Raises:
        OptionError: no such size.
        BundleError: the folder is of another bundle.
        OutputError: something cannot be written.
    """
    channels, largest = proxy_channels(resolution), bundle.generator.resolution
    if resolution > largest:
        raise OptionError(f"a proxy of {resolution} px: at most the model's {largest} px")
    folder = work or output.with_name(output.name + ".pairs")
    seen = min(max(resolution, RESOLUTION), largest)  # those that an encoder learns from, too
    pairs = make_pairs(bundle, folder, count, seen, device, compiled, progress=progress)
    options = PROXY if steps is None else replace(PROXY, steps=steps)
    place = Place(folder / "proxy.training", device, progress, compiled)
    proxy, lpips = train_proxy(bundle, pairs, place, options, channels)
    proxy = replace(proxy, settings=replace(proxy.settings, name=output.stem))
    proxy.save(output)
    del pairs
    if work is None:
        shutil.rmtree(folder)
    return proxy, lpips


def proxy_channels(resolution: int) -> tuple[int, ...]:
    """Channels of a proxy: those of 128 px, cut off or gone on with.

    Raises:
        OptionError: not a power of two from 16 to 512.
    """
    if resolution not in (16, 32, 64, 128, 256, 512):
        raise OptionError(f"resolution {resolution} is not a power of two from 16 to 512")
    length = (resolution // 4).bit_length() - 1
    return (*CHANNELS, 32, 16)[:length]


def train_proxy(
    bundle: Bundle,
    pairs: Pairs,
    place: Place,
    options: FitOptions = PROXY,
    channels: Sequence[int] = CHANNELS,
) -> tuple[Bundle, float]:
    """A proxy's bundle, and the proxy's LPIPS against the generator on held-out pairs."""
    device = choose_device(place.device)
    torch.manual_seed(options.seed)
    classes = len(bundle.coordinates.mean)
    proxy = Proxy(bundle.coordinates.count, channels, classes if classes > 1 else 0).to(device)
    deviations = bundle.coordinates.deviations
    proxy.deviations.copy_(deviations)
    proxy.units[: len(deviations)].copy_(deviations**0.6 * 0.3**0.4)
    coordinates = proxy_coordinates(bundle.coordinates).to(device)

    def picture(found: Tensor, classes: Tensor) -> Tensor:
        return proxy(coordinates.latents(found, classes))  # type: ignore[no-any-return]

    lesson = _Pictures(bundle, pairs, picture, device, place.compiled)
    fit("proxy", proxy, lesson.loss, lesson.learned, options, place)
    round_to_half(proxy)
    settings = replace(
        bundle.settings,
        name=f"{bundle.settings.name}-proxy",
        original=Original(bundle.fingerprint.hex(), bundle.generator.resolution),
        made={"pairs": len(pairs), **asdict(options)},
    )
    made = replace(
        bundle,
        generator=proxy.to("cpu"),
        coordinates=coordinates.to("cpu"),
        settings=settings,
        aids=SearchAids(bundle.aids.encoder),
    )
    return made, lesson.lpips()


def proxy_coordinates(coordinates: Coordinates) -> Coordinates:
    """The coordinates themselves as a proxy's latents, then the class as a one-hot vector."""
    count, classes = coordinates.count, len(coordinates.mean)
    own = classes if classes > 1 else 0
    mean = torch.cat([torch.zeros(classes, count), torch.eye(classes, own)], 1)
    codes = torch.eye(count, count + own).to(torch.int8)
    return Coordinates(mean, codes, torch.ones(count), coordinates.deviations)


class _Pictures:
    """Lessons of a student that makes pictures: distortion and absolute error of pixels."""

    def __init__(
        self,
        bundle: Bundle,
        pairs: Pairs,
        picture: Callable[[Tensor, Tensor], Tensor],
        device: torch.device,
        compiled: bool,
    ) -> None:
        self.features = PerceptualFeatures(bundle.settings.beta).to(device)
        self.pairs, self.picture, self.device = pairs, picture, device
        self.learned, self.mixed = _learned_from(pairs), has_fast_bfloat16(device)
        self._mean = torch.compile(self._lesson, dynamic=False) if compiled else self._lesson

    def loss(self, indices: Indices) -> Tensor:
        """See the class."""
        batch = (part.to(self.device) for part in self.pairs.batch(indices))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            return self._mean(*batch)

    def _lesson(self, coordinates: Tensor, classes: Tensor, real: Tensor) -> Tensor:
        made = self.picture(coordinates, classes)
        real = reduce_picture(real, made.shape[-1])
        with torch.no_grad():
            target = self.features(real).float()
        difference: Tensor = self.features(made).float() - target
        return difference.square().sum(1).mean() + (made.float() - real).abs().mean()

    def _both(self, indices: Indices) -> tuple[Tensor, Tensor]:
        coordinates, classes, real = (part.to(self.device) for part in self.pairs.batch(indices))
        made = self.picture(coordinates, classes)
        return made, reduce_picture(real, made.shape[-1])

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
