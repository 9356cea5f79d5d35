"""Generator and discriminator, and a step of adversarial training.

As in StyleGAN2-ADA (Karras et al. 2020, arXiv:2006.06676). Gradients are averaged over processes by
hand: DistributedDataParallel does not fit alternating steps with double backward.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..device import has_fast_bfloat16
from ..errors import OptionError
from ..generators.base import Generator
from ..generators.stylegan2 import StyleGAN2
from .augmentation import augment
from .batches import Batches
from .data import Dataset
from .discriminator import Discriminator
from .feature_discriminator import FeatureDiscriminator
from .losses import discriminator_loss, generator_loss, gradient_penalty, path_lengths
from .options import TrainOptions

FEATURE_RATE = 0.1  # of the learning rate: only StyleGAN2's layers equalise theirs


class Discriminators(nn.Module):
    """One discriminator, or two whose logits stand side by side.

    Args:
        options: of the training.

    Attributes:
        weights: of the logits, [K].
    """

    weights: Tensor

    def __init__(self, options: TrainOptions) -> None:
        super().__init__()
        assert options.discriminator is not None, "TrainOptions.for_images has chosen one"
        self.pixels = self.features = None
        weights: list[Tensor] = []
        if options.discriminator != "features":
            self.pixels = Discriminator(options.channels, options.group)
            weights.append(torch.ones(1))
        if options.discriminator != "pixels":
            self.features = FeatureDiscriminator(options.resolution)
            weights.append(self.features.weights)
        self.register_buffer("weights", torch.cat(weights), persistent=False)

    def seen(self, images: Tensor) -> list[Tensor]:
        """What the logits of images [N, 3, R, R] depend on: pixels, features; nothing trained."""
        pixels = [] if self.pixels is None else [images]
        return pixels if self.features is None else [*pixels, *self.features.mixed(images)]

    def forward(self, seen: Sequence[Tensor], batches: int = 1) -> Tensor:
        """What `seen` made of N images to logits [N, K]; for `batches` see `Discriminator`."""
        found: list[Tensor] = []
        if self.pixels is not None:
            found.append(self.pixels(seen[0], batches)[:, None])
        if self.features is not None:
            found.append(self.features(seen if self.pixels is None else seen[1:]))
        return torch.cat(found, 1)


def _begin_with(generator: StyleGAN2, start: Generator) -> None:
    """Copies the weights of a generator of the same kind and sizes."""
    if not isinstance(start, StyleGAN2) or start.options() != generator.options():
        raise OptionError(
            f"the generator to start from, of {start.resolution} px, is another network than the "
            f"resolution {generator.resolution} and the preset describe"
        )
    generator.load_state_dict(start.state_dict())


class Adversaries:
    """Two networks that learn from each other, with optimisers and the averaged generator.

    Args:
        data: images to train on.
        options: how to train, by `TrainOptions.for_images`.
        accelerator: processes and device.
        start: a trained generator whose weights the new one begins with; None: random weights.

    Attributes:
        generator: learns to deceive the discriminator.
        discriminator: learns to tell its images from real ones.
        averaged: the generator with its weights averaged over the steps.
        images: real images seen.
        steps: done.

    Raises:
        OptionError: `start` is another network than the options describe.
    """

    def __init__(
        self,
        data: Dataset,
        options: TrainOptions,
        accelerator: Accelerator,
        start: Generator | None = None,
    ) -> None:
        self.options, self.accelerator = options, accelerator
        self.device = accelerator.device
        channels, w = options.channels, options.w_size
        generator = StyleGAN2(channels, w, w, options.mapping_depth)
        generator.frame = options.frame
        if start is not None:
            _begin_with(generator, start)
        discriminator = Discriminators(options)
        fast: dict[str, Any] = {"device": self.device, "memory_format": torch.channels_last}
        self.generator: StyleGAN2 = generator.to(**fast)
        self.discriminator: Discriminators = discriminator.to(**fast)
        self._trained = _trainable(self.discriminator)
        self.averaged = copy.deepcopy(self.generator).eval().requires_grad_(False)
        both = self.discriminator
        self.optimiser_g = self._adam(
            [(self.generator, 1.0)], options.path_length_every if options.path_length else 0
        )
        self.optimiser_d = self._adam(
            [(both.pixels, 1.0), (both.features, FEATURE_RATE)],
            options.penalty_every if both.pixels is not None else 0,
        )
        mixed = options.bfloat16
        self.mixed = has_fast_bfloat16(self.device) if mixed is None else mixed
        self.batches = Batches(data, options, len(self.generator.layers), accelerator)
        self.images, self.steps = 0, 0
        self.path_mean = torch.zeros([], device=self.device)

    def _adam(
        self, parts: Sequence[tuple[nn.Module | None, float]], every: int
    ) -> torch.optim.Adam:
        """Adam, slowed to compensate the steps of lazy regularisation (StyleGAN2, appendix B).

        Args:
            parts: networks, and what part of the learning rate each has.
            every: steps between two of the regularisation; 0: there is none.
        """
        part = every / (every + 1) if every else 1
        rate = self.options.learning_rate * part
        return torch.optim.Adam(
            [
                {"params": _trainable(network), "lr": rate * factor}
                for network, factor in parts
                if network is not None
            ],
            betas=(0.0, 0.99**part),
            eps=1e-8,
            fused=self.device.type in ("cpu", "cuda"),
        )

    def compile(self) -> None:
        """Compiles the expensive functions; not penalties, which differentiate twice."""
        for name in ("_generate", "_seen", "_discriminator_loss", "_generator_loss"):
            setattr(self, name, torch.compile(getattr(self, name), dynamic=False))

    # Functions that are compiled -----------------------------------------------------------------

    def _ws(self, z: Tensor) -> Tensor:
        """w of every layer [N, layers, w_size] from the output of `Batches.z`."""
        layers = len(self.generator.layers)
        w: Tensor = self.generator.sample(z[:, 0])[:, None].expand(-1, layers, -1)
        if z.shape[1] == 1:
            return w
        other: Tensor = self.generator.sample(z[:, 1])[:, None].expand(-1, layers, -1)
        cut = z[:, 2, :1, None]  # the first layer that uses the second w
        return torch.where(torch.arange(layers, device=z.device)[None, :, None] < cut, w, other)

    def _generate(self, z: Tensor) -> Tensor:
        return self.generator.images(self._ws(z), self.options.noise)

    def _seen(self, images: Tensor, p: Tensor, randoms: Tensor) -> list[Tensor]:
        """What the discriminator sees of images, augmented."""
        return self.discriminator.seen(augment(images, p, randoms))

    def _discriminator_loss(
        self, fake: Sequence[Tensor], real: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        both = [torch.cat(pair) for pair in zip(fake, real, strict=True)]
        fake_logits, real_logits = self.discriminator(both, batches=2).chunk(2)
        weights = self.discriminator.weights
        loss = discriminator_loss(self.options.loss, real_logits, fake_logits, weights)
        return loss, real_logits

    def _generator_loss(self, fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
        fake_logits = self.discriminator(fake)
        real_logits = self.discriminator(real) if self.options.loss == "rpgan" else None
        weights = self.discriminator.weights
        return generator_loss(self.options.loss, real_logits, fake_logits, weights)

    # Steps ---------------------------------------------------------------------------------------

    def step(self, augmentation_p: float) -> dict[str, Tensor]:
        """One step of both networks.

        Args:
            augmentation_p: probability of each augmentation.

        Returns:
            The losses by name, as tensors: nothing waits for the device.
        """
        options = self.options
        real = self.batches.real(self.images)
        p = torch.tensor(augmentation_p, device=self.device)
        seen: dict[str, Tensor] = {}
        # both steps share one batch: neither the generator nor what is seen changes between them
        randoms = self.batches.randoms()
        with self._autocast():
            generated = self._generate(self.batches.z())
            fake = self._seen(generated, p, randoms[0])
            with torch.no_grad():
                true = self._seen(real, p, randoms[1])
            loss, logits = self._discriminator_loss([each.detach() for each in fake], true)
        self._update(self.optimiser_d, self.discriminator, loss)
        seen |= {"discriminator": loss.detach(), "sign": self._sign(logits.detach())}
        if self.discriminator.pixels is not None and self.steps % options.penalty_every == 0:
            seen["penalty"] = self._penalise(self.discriminator.pixels, real, generated.detach(), p)
        self._train_discriminator(False)
        with self._autocast():
            loss = self._generator_loss(fake, true)
        self._update(self.optimiser_g, self.generator, loss)
        seen["generator"] = loss.detach()
        if options.path_length and self.steps % options.path_length_every == 0:
            seen["path_length"] = self._regularise_paths()
        self._train_discriminator(True)
        self.steps, self.images = self.steps + 1, self.images + options.batch
        self._average()
        return seen

    def _sign(self, logits: Tensor) -> Tensor:
        """Mean sign of logits [N, K]: of the pixels' discriminator, if there is one."""
        if self.discriminator.pixels is not None:
            return logits[:, 0].sign().mean()
        return (logits.sign() @ self.discriminator.weights).mean()

    def _train_discriminator(self, wanted: bool) -> None:
        for parameter in self._trained:
            parameter.requires_grad_(wanted)

    def _penalise(
        self, discriminator: Discriminator, real: Tensor, fake: Tensor, p: Tensor
    ) -> Tensor:
        randoms = self.batches.randoms()
        total = torch.zeros([], device=self.device)
        with self._autocast():
            for kind, images in enumerate((real, fake)):
                if kind == 1 and self.options.loss != "rpgan":
                    break
                images = augment(images.detach().requires_grad_(), p, randoms[kind])
                total = total + gradient_penalty(discriminator(images), images)
        weight = self.options.penalty_weight / 2 * self.options.penalty_every
        self._update(self.optimiser_d, self.discriminator, total * weight)
        return total.detach()

    def _regularise_paths(self) -> Tensor:
        z = self.batches.z()
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
        if self.accelerator.num_processes > 1:
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

    def _autocast(self) -> Any:
        if not self.mixed:
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of trainable values of generator and discriminator."""
        networks = (self.generator, self.discriminator)
        generator, discriminator = (sum(p.numel() for p in _trainable(n)) for n in networks)
        return generator, discriminator

    # State ---------------------------------------------------------------------------------------

    @property
    def networks(self) -> dict[str, nn.Module]:
        """By name, as in a checkpoint."""
        parts = {
            "discriminator": self.discriminator.pixels,
            "features": self.discriminator.features,
        }
        present = {name: part for name, part in parts.items() if part is not None}
        return {"generator": self.generator, **present, "averaged": self.averaged}

    @property
    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """By name, as in a checkpoint."""
        return {"optimiser_g": self.optimiser_g, "optimiser_d": self.optimiser_d}


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
