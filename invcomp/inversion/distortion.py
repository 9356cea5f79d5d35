"""The distortion between the image of latents and a target image, with its gradient.

LPIPS + beta * MSE are squared distances of features. The part for structure is MS-SSIM.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from ..device import keep_compiled_code
from ..distilled.surrogate import Surrogate
from ..generators.base import Generator
from ..perception.features import RESOLUTION, PerceptualFeatures
from ..perception.ms_ssim import ms_ssim

FLOOR = 0.01  # least factor of MS-SSIM
CORRECT_EVERY = 10  # iterations between two corrections of the surrogate by the generator

logger = logging.getLogger(__name__)


class Distortion:
    """Squared distance of features between the images of latents and a target.

    Args:
        generator: G.
        features: f.
        mixed: use bfloat16 autocast.
        compiled: use torch.compile. The first call of each shape then takes a minute. Compiled code
            is kept on disk for the next process.
        surrogate: replaces the last layers of the generator.
    """

    def __init__(
        self,
        generator: Generator,
        features: PerceptualFeatures,
        mixed: bool,
        compiled: bool,
        surrogate: Surrogate | None = None,
    ) -> None:
        self.generator, self.features, self.mixed = generator, features, mixed
        self.resolution, self.surrogate = min(RESOLUTION, generator.resolution), surrogate
        self._made = min(features.resolution, generator.resolution)
        self._features = self._eager
        self.compiled, self._rehearsed = compiled, set[int]()
        if compiled:
            keep_compiled_code()
            self._features = torch.compile(self._eager, dynamic=False)

    def rehearse(self, latents: Tensor) -> None:
        """Compiles an iteration for latents [N, D], so that no time limit includes it.

        If compiling fails (no Python headers, a broken compiler), the search runs without it.
        """
        if not self.compiled or len(latents) in self._rehearsed:
            return
        self._rehearsed.add(len(latents))
        try:
            self.features_of(latents.detach().requires_grad_()).square().sum().backward()
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:  # from dynamo, inductor or the compiler
            reason = str(error).strip().splitlines()[0]
            logger.warning("compiling fails here, so iterations take longer (%s)", reason)
            self._features, self.compiled = self._eager, False

    def target(self, images: Tensor) -> Tensor:
        """Features of images [N, 3, H, W] in [-1, 1], computed once for a search."""
        with torch.no_grad():
            return self.features(images)  # type: ignore[no-any-return]

    def features_of(self, latents: Tensor) -> Tensor:
        """Features [N, F] in float32 of the images of latents [N, D]."""
        with torch.autocast(latents.device.type, torch.bfloat16, enabled=self.mixed):
            return self._features(latents)

    def seen(self, latents: Tensor) -> Tensor:
        """`features_of` without a gradient.

        It runs with gradients enabled, so that the compiled graph of the iterations is used.
        """
        return self.features_of(latents.detach().requires_grad_()).detach()

    def __call__(self, latents: Tensor, target: Tensor) -> Tensor:
        """[N, D] and [N, F] to [N]."""
        return (self.features_of(latents) - target).square().sum(1)

    def _eager(self, latents: Tensor) -> Tensor:
        if self.surrogate is not None:
            image = self.surrogate.image(self.generator, latents)
        else:
            image = self.generator.forward_reduced(latents, self._made)
        found: Tensor = self.features(image).float()
        return found


class Target:
    """Target images, compared with images of the generator or of its surrogate.

    The error of the surrogate changes slowly from iteration to iteration. Every few iterations the
    generator runs too, and the difference of the two is subtracted from the surrogate's target
    (output space mapping: Bandler et al. 2004, "Space mapping: the state of the art"). So the
    descent with the surrogate converges near that with the generator.

    Args:
        features: of the images, [N, F].
        distortion: through the generator.
        quick: distortion through the surrogate, if there is one. Its features may be the first of
            all features alone.
        weights: of each feature, [1, F], for a region of interest; None: all are equal.
        structure: weight of 1 - MS-SSIM, see `SearchOptions`.
    """

    def __init__(
        self,
        features: Tensor,
        distortion: Distortion,
        quick: Distortion | None = None,
        weights: Tensor | None = None,
        structure: float = 0.0,
    ) -> None:
        self.features, self.distortion, self.quick = features, distortion, quick
        self.weights = weights
        has_structure = distortion.resolution == RESOLUTION and distortion.features.beta > 0
        self.structure = structure if has_structure else 0.0
        self._corrected, self._age = features, 0

    def distance(self, latents: Tensor, quickly: bool = False) -> Tensor:
        """Distortion between latents [N, D] and the images in order: [N]."""
        if self.quick is None or not quickly:
            return self._between(self.distortion, latents, self.features)
        if self._age % CORRECT_EVERY == 0:
            seen = self.quick.seen(latents)
            wrong = self._first(self.distortion.seen(latents), seen) - seen
            self._corrected = self._first(self.features, seen) - wrong
        self._age += 1
        return self._between(self.quick, latents, self._corrected)

    def _between(self, distortion: Distortion, latents: Tensor, features: Tensor) -> Tensor:
        found = distortion.features_of(latents)
        loss = self._weighted((found - features).square())
        if not self.structure:
            return loss
        x, y = (distortion.features.pixels(f, distortion.resolution) for f in (found, features))
        if self.weights is not None:  # where the weight is small, pixels of the target replace it
            weights = distortion.features.pixels(self.weights, distortion.resolution)
            x = y + (x - y) * weights / weights.max()
        return loss + self.structure * (1 - ms_ssim(x, y, FLOOR))

    def screen(self, latents: Tensor) -> Tensor:
        """Distortion between each of latents [M, D] and the only image, without gradient: [M].

        Latents run one at a time in the compiled graph, with the surrogate if there is one.
        """
        distortion = self.quick or self.distortion
        found = [distortion.seen(one[None]) for one in latents]
        squares = [(one - self._first(self.features, one)).square() for one in found]
        return torch.cat([self._weighted(one) for one in squares])

    def _weighted(self, squares: Tensor) -> Tensor:
        """The sum of squares of the first features, weighted by region: [N]."""
        if self.weights is None:
            return squares.sum(1)
        return (self._first(self.weights, squares) * squares).sum(1)

    @staticmethod
    def _first(features: Tensor, some: Tensor) -> Tensor:
        """As many of the features as `some` has: a surrogate shows the first of them only."""
        return features[:, : some.shape[1]]
