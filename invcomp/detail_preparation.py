"""Measures the channels of a generator's inner maps that the detail codes.

Every draw is one backward pass: the gradient of the perceptual features in a random direction, to
all maps at once. Its outer product estimates their metric, as in latents/coordinates.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .entropy.detail_calibration import provisional_detail
from .errors import BundleError
from .files import atomic_write
from .generators.base import Generator, Recording, draw_classes, sample_of
from .latents.detail import Detail, MapChannels
from .latents.prior import Prior
from .perception.features import PerceptualFeatures

CHANNELS = (16, 8)  # coded channels of the two coarsest maps that are coded
COARSEST = 16  # places a side, at least: smaller maps say little that the latents do not
FINEST = 4  # the image has at least this many times the size of a coded map
DRAWS, SAMPLES = 72, 64  # of the metric, and of the covariance
SAVE_EVERY = 8  # draws between two checkpoints


def coded_maps(generator: Generator, channels: Sequence[int] = CHANNELS) -> dict[int, int]:
    """How many channels of which inner maps a detail codes, by their size, coarsest first.

    Args:
        generator: G.
        channels: of the coarsest maps that can be coded, in order, where the map has so many.
    """
    finest = generator.resolution // FINEST
    own = sorted(each for each in generator.inner_maps if COARSEST <= each.size <= finest)
    return {
        each.size: min(count, each.channels) for each, count in zip(own, channels, strict=False)
    }


class MapMeasurement:
    """Measures the metric, the places and the covariance of inner maps.

    Args:
        generator: G.
        features: of the bundle's distortion.
        prior: that latents are drawn from.
        tau: deviation of a layer's own part of the latents that are drawn.
        seed: of the draws.
        device: that it runs on.
        channels: see `coded_maps`.
    """

    def __init__(
        self,
        generator: Generator,
        features: PerceptualFeatures,
        prior: Prior,
        tau: float,
        seed: int,
        device: torch.device,
        channels: Sequence[int] = CHANNELS,
    ) -> None:
        self.generator, self.features, self.prior, self.tau = generator, features, prior, tau
        self.device, self.seed = device, seed
        self.resolution = min(features.resolution, generator.resolution)
        self.coded, own = coded_maps(generator, channels), dict(generator.inner_maps)
        self.channels = {size: own[size] for size in self.coded}
        self.random = torch.Generator().manual_seed(seed + 3)

    def run(
        self,
        checkpoint: Path,
        progress: Callable[[int, int], None] = lambda done, total: None,
        draws: int = DRAWS,
    ) -> Detail | None:
        """The detail with a provisional entropy model; None if no map suits it.

        A killed run continues at its last checkpoint.

        Args:
            checkpoint: file of the sums; it is not deleted.
            progress: called with draws done and their number.
            draws: backward passes.

        Raises:
            BundleError: the checkpoint is damaged, or of another generator.
        """
        if not self.channels:
            return None
        sums, done = self._resume(checkpoint)
        while done < draws:
            progress(done, draws)
            for size, gradient in self._gradients().items():
                flat = gradient[0].flatten(1)
                sums[f"metric{size}"] += flat @ flat.T / (size * size)
                sums[f"places{size}"] += gradient[0].square().sum(0)
            done += 1
            if done % SAVE_EVERY == 0 or done == draws:
                self._save(checkpoint, sums, done)
        progress(draws, draws)
        maps = self._measured(checkpoint, sums, done)
        deviations = torch.cat([each.deviations for each in maps])
        return Detail(maps, provisional_detail([each.shape for each in maps], deviations))

    def _measured(
        self, checkpoint: Path, sums: dict[str, Tensor], done: int
    ) -> tuple[MapChannels, ...]:
        """The channels of every map.

        They are kept, because their last bits, and so the detail's digest, depend on the number of
        threads: files that were coded before a program was killed would be of another detail.
        """
        names = MapChannels.__dataclass_fields__
        with safe_open(checkpoint, "pt") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if all(f"{name}{size}" in stored for name in names for size in self.channels):
            return tuple(
                MapChannels(*(stored[f"{name}{size}"] for name in names)) for size in self.channels
            )
        covariances = self._covariances()
        maps = tuple(
            MapChannels.measured(
                sums[f"metric{size}"] / done,
                covariances[size],
                sums[f"places{size}"],
                self.coded[size],
            )
            for size in self.channels
        )
        found = {
            f"{name}{size}": getattr(each, name).contiguous()
            for size, each in zip(self.channels, maps, strict=True)
            for name in names
        }
        self._save(checkpoint, {**sums, **found}, done)
        return maps

    def _latents(self) -> Tensor:
        """Latents of one draw, [1, D]."""
        z = torch.randn(1, self.generator.z_size, generator=self.random).to(self.device)
        classes = draw_classes(self.generator, 1, self.random)
        with torch.no_grad():
            latents = self.generator.spread(
                sample_of(self.generator, z, None if classes is None else classes.to(self.device))
            )
            if self.prior.layers > 1:
                x = torch.randn(1, self.generator.latent_size, generator=self.random)
                latents = latents + self.tau * self.prior.own_parts(x.to(self.device))
        return latents

    def _gradients(self) -> Mapping[int, Tensor]:
        """J^T u to the maps, [1, C, size, size] by size."""
        latents = self._latents()
        offsets = {
            size: torch.zeros(1, count, size, size, device=self.device, requires_grad=True)
            for size, count in self.channels.items()
        }
        image = self.generator.forward_reduced(latents, self.resolution, offsets)
        found = self.features(image).float()
        directions = torch.randn(found.shape, generator=self.random).to(self.device)
        gradients = torch.autograd.grad((found * directions).sum(), list(offsets.values()))
        return dict(zip(offsets, (each.cpu() for each in gradients), strict=True))

    @torch.no_grad()
    def _covariances(self) -> dict[int, Tensor]:
        """Covariance of the channels at a place between samples, mean over places, by size."""
        self.random.manual_seed(self.seed + 4)
        maps: dict[int, list[Tensor]] = {size: [] for size in self.channels}
        for _ in range(SAMPLES):
            seen = Recording()
            self.generator.forward_reduced(self._latents(), self.resolution, seen)
            for size, drawn in maps.items():
                drawn.append(seen[size][0].cpu())
        found = {}
        for size, drawn in maps.items():
            values = torch.stack(drawn)  # [SAMPLES, C, size, size]
            within = (values - values.mean(0)).transpose(0, 1).flatten(1)
            found[size] = within @ within.T / ((SAMPLES - 1) * size * size)
        return found

    def _made_for(self) -> str:
        features = self.features
        return json.dumps(
            [
                *(self.generator.latent_size, list(self.channels.items())),
                *(list(self.coded.items()), self.seed, self.tau),
                *(features.resolution, features.beta, str(features.closer)),
            ]
        )

    def _save(self, path: Path, sums: dict[str, Tensor], done: int) -> None:
        tensors = {**sums, "done": torch.tensor(done), "source": self.random.get_state()}
        with atomic_write(path, force=True) as temporary:
            save_file(tensors, temporary, {"made_for": self._made_for()})

    def _resume(self, path: Path) -> tuple[dict[str, Tensor], int]:
        zeros = {
            f"metric{size}": torch.zeros(count, count) for size, count in self.channels.items()
        }
        zeros |= {f"places{size}": torch.zeros(size, size) for size in self.channels}
        if not path.is_file():
            return zeros, 0
        try:
            with safe_open(path, "pt") as file:
                if (file.metadata() or {}).get("made_for") != self._made_for():
                    raise BundleError(f"{path} is of another generator: delete it to start anew")
                self.random.set_state(file.get_tensor("source"))
                return {name: file.get_tensor(name) for name in zeros}, int(file.get_tensor("done"))
        except (SafetensorError, OSError) as error:
            raise BundleError(f"{path} is damaged ({error}): delete it to start anew") from error
