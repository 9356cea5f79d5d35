"""All options of a training and their defaults, which are defined only here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ..errors import OptionError
from ..generators.stylegan2 import Noise
from ..preprocessing.frame import CENTRE_CROP, check_frame
from .losses import Loss

Preset = Literal["compact", "stylegan2"]
Augmentation = Literal["ada", "fixed", "none"]
Sees = Literal["pixels", "features", "both"]

# images below which the discriminator sees features: 2,243 photographs gained by it, 18,559
# drawings were learnt without (docs/experiments.md)
SMALL_SET = 10_000

CHOICES: dict[str, tuple[str, ...]] = {
    "preset": ("compact", "stylegan2"),
    "loss": ("nonsaturating", "rpgan"),
    "augmentation": ("ada", "fixed", "none"),
    "noise": ("random", "const", "none"),
    "discriminator": ("pixels", "features", "both"),
}
OPEN = ("discriminator", "augmentation")  # may be None until the images are known


@dataclass(frozen=True)
class TrainOptions:
    """How a generator is trained.

    If a default differs from StyleGAN2-ADA's (arXiv:2006.06676), the attribute says why.

    Attributes:
        resolution: of the images, a power of two, 8 to 1024.
        preset: "compact" (3.3 M parameters at 64 px) or "stylegan2" (the paper's widths).
        kimg: training length in thousand images.
        batch: images per step, over all processes.
        learning_rate: of Adam, for both networks.
        loss: "nonsaturating" with R1, or "rpgan" (relativistic) with R1 and R2.
        discriminator: what it sees: "pixels" (StyleGAN2's), "features" of a frozen network
            (Projected GAN's, without a penalty) or "both" (as in arXiv:2112.09130). None: see
            `for_images`.
        gamma: weight of the gradient penalty; None: 0.0002 resolution^2 / batch, or 1 for "rpgan".
        penalty_every: steps between two penalties (lazy regularisation).
        path_length: weight of path-length regularisation; 0 (off): it costs a sixth of the time,
            and perceptual coordinates make up for uneven latents.
        path_length_every: steps between two regularisations.
        style_mixing: fraction of images made from two w; 0 for the same reason.
        ema_kimg: half-life of the averaged generator; None: batch * 10 / 32.
        ema_ramp: the half-life is at most this fraction of the images seen; None: no ramp.
        augmentation: "ada" (adaptive), "fixed" (always `augmentation_p`) or "none". None: see
            `for_images`.
        augmentation_p: probability of each augmentation; for "ada", the initial one. None: 1 for
            "fixed", 0 for "ada".
        ada_target: target mean sign of real logits for "ada".
        frame: how images are fitted, one of `FRAMES`. By "ffhq-face" faces are found and aligned.
        mirror: whether to train on mirrored images too.
        group: images per group of minibatch deviation; 1: off.
        noise: of the generator in training: "random", "const" or "none".
        held_out: images excluded from training, for KID; at most a tenth of all.
        kid_samples: generated images for KID.
        tick: images between two lines of metrics.
        snapshot: images between two snapshots with samples and KID.
        patience: snapshots without a lower KID after which the training stops; None: it goes on.
        bfloat16: autocast of the convolutions; None: if the device is fast with it.
        seed: random seed.
    """

    resolution: int = 64
    preset: Preset = "compact"
    kimg: float = 1000
    batch: int = 32
    learning_rate: float = 0.0025
    loss: Loss = "nonsaturating"
    discriminator: Sees | None = None
    gamma: float | None = None
    penalty_every: int = 16
    path_length: float = 0
    path_length_every: int = 4
    style_mixing: float = 0
    ema_kimg: float | None = None
    ema_ramp: float | None = 0.05
    augmentation: Augmentation | None = None
    augmentation_p: float | None = None
    ada_target: float = 0.6
    frame: str = CENTRE_CROP
    mirror: bool = False
    group: int = 4
    noise: Noise = "random"
    held_out: int = 1000
    kid_samples: int = 1000
    tick: int = 1000
    snapshot: int = 20_000
    patience: int | None = None
    bfloat16: bool | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        size = self.resolution
        if size < 8 or size > 1024 or size & (size - 1):
            raise OptionError(f"resolution {size} is not a power of two from 8 to 1024")
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            if value not in allowed and not (value is None and name in OPEN):
                raise OptionError(f"{name} is {value}: one of {', '.join(allowed)}")
        counts = ("batch", "group", "penalty_every", "path_length_every", "tick", "snapshot")
        for name in (*counts, *(["patience"] if self.patience is not None else [])):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}: at least 1 is needed")
        if self.group > 1 and self.batch == 1:
            raise OptionError("minibatch deviation needs a batch of at least 2, or group 1")
        if self.group > 1 and self.batch % min(self.group, self.batch):
            raise OptionError(f"batch {self.batch} is not a multiple of the group {self.group}")
        for name in ("kimg", "learning_rate"):
            if getattr(self, name) <= 0:
                raise OptionError(f"{name} is {getattr(self, name)}: it must be above 0")
        if self.augmentation_p is not None and not 0 <= self.augmentation_p <= 1:
            raise OptionError(f"augmentation_p {self.augmentation_p} is not in 0..1")
        check_frame(self.frame)

    def for_images(self, count: int) -> TrainOptions:
        """These options, with what was left open chosen for a number of images.

        Fewer than 10,000 images: the discriminator sees features, and every image is augmented, as
        in Projected GAN. Else, or with another discriminator, the augmentation is adaptive.
        """
        sees = self.discriminator or ("features" if count < SMALL_SET else "pixels")
        augmentation = self.augmentation or ("fixed" if sees == "features" else "ada")
        probability = self.augmentation_p
        if probability is None:
            probability = 1.0 if augmentation == "fixed" else 0.0
        return replace(
            self, discriminator=sees, augmentation=augmentation, augmentation_p=probability
        )

    @property
    def penalty_weight(self) -> float:
        """gamma, as given or by the rule."""
        if self.gamma is not None:
            return self.gamma
        return 1.0 if self.loss == "rpgan" else 0.0002 * self.resolution**2 / self.batch

    @property
    def channels(self) -> list[int]:
        """Channels for every resolution from 4 px up, for both networks.

        "compact" has few channels at large resolutions and many at small ones, where parameters
        cost four times less.
        """
        halvings = range((self.resolution // 4).bit_length() - 1, -1, -1)
        if self.preset == "compact":
            return [min(24 * 2**halving, 384) if halving else 16 for halving in halvings]
        return [min(32768 * 2**halving // self.resolution, 512) for halving in halvings]

    @property
    def w_size(self) -> int:
        """Length of z and w."""
        return 256 if self.preset == "compact" else 512

    @property
    def mapping_depth(self) -> int:
        """Layers of the mapping network: 2 as in StyleGAN2-ADA for small sets, 8 in the paper."""
        return 2 if self.preset == "compact" else 8

    def ema_half_life(self, seen: int) -> float:
        """Half-life of the averaged generator in images, after `seen` images."""
        half_life = 1000 * (self.batch * 10 / 32 if self.ema_kimg is None else self.ema_kimg)
        return half_life if self.ema_ramp is None else min(half_life, seen * self.ema_ramp)
