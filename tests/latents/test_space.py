"""A second latent space beside the perceptual coordinates, and the descent in it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from invcomp.inversion.descent import Descent
from invcomp.inversion.distortion import Distortion, Target
from invcomp.inversion.options import SearchOptions
from invcomp.latents.space import LatentSpace
from invcomp.perception.features import PerceptualFeatures

from ..entropy.uniform import UniformDensity
from ..tiny import tiny_bundle


class Offsets(LatentSpace):
    """The coordinates are offsets of every so many entries of a latent, bent at one."""

    def __init__(self, mean: Tensor, count: int) -> None:
        self.mean, self.deviations = mean, torch.full((count,), 0.5)

    def latents(self, coordinates: Tensor, classes: Tensor | None = None) -> Tensor:
        padded = F.pad(coordinates.tanh(), (0, self.count - coordinates.shape[1]))
        return self.mean + padded.repeat(1, -(-len(self.mean) // self.count))[:, : len(self.mean)]


def test_what_a_space_need_not_say() -> None:
    space = Offsets(torch.arange(6.0), 4)
    assert (space.count, space.classes, space.expanded()) == (4, 1, space)
    assert space.means().tolist() == [[0, 1, 2, 3, 4, 5]]
    assert space.means(torch.zeros(3, dtype=torch.long)).shape == (3, 6)


def test_a_descent_in_another_space() -> None:
    bundle = tiny_bundle()
    features = PerceptualFeatures(bundle.settings.beta)
    distortion = Distortion(bundle.generator, features, mixed=False, compiled=False)
    space = Offsets(bundle.coordinates.mean[0], 30)
    with torch.no_grad():
        image = bundle.generator(space.latents(torch.linspace(-1, 1, 30)[None]))
    descent = Descent(
        space,
        UniformDensity(30),
        Target(distortion.target(image), distortion),
        torch.zeros(1, 5),
        torch.zeros(1, dtype=torch.long),
        40,
        SearchOptions(rate_weight=0.0),  # the rate is constant
        space.deviations,
    )
    losses = []
    for mode in ["free"] * 20 + ["noise"] * 5 + ["round"] * 10:
        descent.iterate(0.1, mode)
        losses.append(descent.loss)
    assert losses[19] < 0.5 * losses[0]
    assert losses[-1] < losses[0]
    integers = descent.integers()
    assert integers.shape == (1, 30)
    assert integers.any()
