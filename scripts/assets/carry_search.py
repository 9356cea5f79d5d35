"""Transfers search aids and proxy to new coordinates of the same generator, without training.

    python scripts/assets/carry_search.py OLD.ivm OLD_PROXY.ivm NEW.safetensors.draws

OLD.ivm is the old bundle with its search aids (`load_bundle("faces-1024").save(...)` in the version
that ships it); OLD_PROXY.ivm is the old faces-128. pretrained/ contains the new faces-1024, whose
draws `prepare_faces.py` keeps if it gets no portraits. Both kinds of coordinates are linear in the
latents. The last layers of the encoder network are multiplied by a matrix. The surrogate works on
latents and does not change. The proxy's styles are a linear map of coordinates, which is refitted.
All are measured on pairs that the generator makes, and written to pretrained/. prepare_search.py
trains them from scratch instead.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from refit_priors import MODEL, write_models
from safetensors.torch import load_file
from torch import Tensor

from invcomp.bundle import Bundle, read_bundle
from invcomp.distilled.aids import SearchAids
from invcomp.distilled.encoder import InversionEncoder, see
from invcomp.entropy.density import make_mixture
from invcomp.entropy.mixture import LaplaceMixture
from invcomp.generators.base import reduce_images
from invcomp.generators.mobile_proxy import MobileProxy, styles_of
from invcomp.generators.mobile_stylegan import MobileStyleGAN
from invcomp.generators.weights import round_to_half
from invcomp.latents.coordinates import Coordinates
from invcomp.model_zoo.catalogue import KNOWN_MODELS
from invcomp.perception.features import RESOLUTION, PerceptualFeatures
from invcomp.training.pairs import Pairs, make_pairs
from invcomp.training.proxy import proxy_coordinates

RIDGE = 1e-3  # of the proxy's fit, relative to the mean energy of a style


def between(old: Coordinates, new: Coordinates, gradients: Tensor) -> Tensor:
    """The matrix [K, K'] from old coordinates to new ones of the same latents.

    New coordinates of latents l are B M (l - mean) with their basis B and the metric M. The rows
    of B are singular vectors of the metric's root, so this is the inverse, and the rounding of B
    costs nothing.
    """
    before, after = (gradients @ coordinates.basis().T for coordinates in (old, new))
    return before.T @ after / len(gradients)


def carried_encoder(
    encoder: InversionEncoder, matrix: Tensor, deviations: Tensor
) -> InversionEncoder:
    """The encoder network for coordinates that are a linear map of its predictions.

    Args:
        encoder: for the old coordinates.
        matrix: from all old coordinates to the new ones, [K, K'].
        deviations: of the new coordinates, [K'].
    """
    count = encoder.count
    found = InversionEncoder(**encoder.options())
    found.load_state_dict(encoder.state_dict())
    found.units.copy_(deviations[:count])
    change = matrix[:count, :count] * encoder.units[:, None] / found.units  # [old, new]
    with torch.no_grad():
        for name in ("linear", "linear2"):
            layer, own = getattr(encoder, name), getattr(found, name)
            own.weight.copy_(change.T @ layer.weight)
            own.bias.copy_(layer.bias @ change)
    return found.eval().requires_grad_(False)


def carried_priors(old: Bundle, new: Bundle) -> LaplaceMixture:
    """A mixture with the old ratio of scales to the deviations of coordinates.

    Better than the provisional mixture of a new bundle, until refit_priors.py has fitted them.
    """
    ratio = new.coordinates.deviations / old.coordinates.deviations
    mixture = old.entropy
    assert isinstance(mixture, LaplaceMixture)
    scales = mixture.tables.scales + np.rint(16 * np.log2(ratio.numpy())).astype(np.int16)
    return make_mixture(scales, mixture.shape, new.coordinates.classes, mixture.tables.slopes)


@torch.no_grad()
def measure_encoder(encoder: InversionEncoder, pairs: Pairs, beta: float) -> float:
    """Sets the error per coordinate; returns the fraction of the pairs' energy explained."""
    truth, _, images = pairs.batch(np.arange(len(pairs)))
    features = PerceptualFeatures(beta)
    parts = [encoder(see(features, part)) for part in images.split(32)]
    missed = torch.cat(parts) - truth[:, : encoder.count]
    encoder.errors.copy_(missed.square().mean(0).sqrt())
    energy = missed.square().sum() + truth[:, encoder.count :].square().sum()
    return float(1 - energy / truth.square().sum())


def carried_proxy(proxy: MobileProxy, old: Bundle, new: Bundle) -> MobileProxy:
    """A proxy that makes the same images from the new coordinates of the same latents.

    Its short vector is a linear map of the old coordinates. Both kinds determine the styles: the
    map from styles to the vector is fitted on the old coordinates and applied to the new ones.
    """
    generator = new.generator
    assert isinstance(generator, MobileStyleGAN)
    stacked, count = [], len(proxy.styled())
    for coordinates in (old.coordinates, new.coordinates):
        shifts, maps = styles_of(generator, coordinates.mean[0], coordinates.basis(), count)
        sizes = [shift.square().mean().sqrt() for shift in shifts]
        joint = torch.cat([part / size for part, size in zip(maps, sizes, strict=True)], 1)
        stacked.append(coordinates.deviations[:, None] * joint)  # [K, all sizes]
    before, after = stacked
    gram = before @ before.T  # [K, K]
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
    # squeeze = F before^T has the least F = squeeze (before^T before + ridge)^-1 before^T
    solved = torch.linalg.solve(gram + ridge, before @ after.T)  # [K, K']
    found = MobileProxy(**proxy.options())
    found.load_state_dict(proxy.state_dict())
    with torch.no_grad():
        found.squeeze.weight.copy_(proxy.squeeze.weight @ solved)
        found.deviations.copy_(new.coordinates.deviations)
    return found


@torch.no_grad()
def measure_proxy(proxy: MobileProxy, pairs: Pairs, beta: float) -> float:
    """Mean LPIPS-Alex against the images of the pairs."""
    coordinates, _, images = pairs.batch(np.arange(len(pairs)))
    features, found = PerceptualFeatures(beta), []
    for part, real in zip(coordinates.split(16), images.split(16), strict=True):
        real = reduce_images(real, proxy.resolution)
        found.append(features.lpips_distance(proxy(part).clamp(-1, 1), real))
    return float(torch.cat(found).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, help="old bundle, with its search aids")
    parser.add_argument("proxy", type=Path, help="bundle of its proxy")
    parser.add_argument("draws", type=Path, help="draws that the new coordinates were made from")
    parser.add_argument("--work", type=Path, default=Path("runs/carried"), help="folder for pairs")
    parser.add_argument("--pairs", type=int, default=160, help="number of pairs to measure on")
    arguments = parser.parse_args()
    old, proxy = read_bundle(arguments.old), read_bundle(arguments.proxy)
    model = KNOWN_MODELS[MODEL]
    new = read_bundle(
        model.prepared, model.fetch_generator()
    )  # its aids still belong to the old one
    pairs = {
        name: make_pairs(
            bundle,
            arguments.work / name,
            arguments.pairs,
            RESOLUTION,
            seed=5,
            progress=lambda stage, done, total: print(stage, done, total, flush=True),
        )
        for name, bundle in (("old", old), ("new", new))
    }
    encoder, beta = old.aids.encoder, new.settings.beta
    assert encoder is not None
    assert isinstance(proxy.generator, MobileProxy)
    matrix = between(old.coordinates, new.coordinates, load_file(arguments.draws)["gradients"])
    carried = carried_encoder(encoder, matrix, new.coordinates.deviations)
    drawing = carried_proxy(proxy.generator, old, new)
    round_to_half(drawing)
    for name, one, small in (("old", encoder, proxy.generator), ("new", carried, drawing)):
        print(
            f"{name}: encoder explains {measure_encoder(one, pairs[name], beta):.3f} of the energy"
        )
        print(
            f"{name}: LPIPS of the proxy {measure_proxy(small, pairs[name], beta):.4f}", flush=True
        )
    settings = replace(old.settings, face=new.settings.face, made=new.settings.made)
    new = replace(new, entropy=carried_priors(old, new), settings=settings)
    aids = SearchAids(carried, old.aids.surrogate)
    coordinates = proxy_coordinates(new.coordinates)
    made = replace(proxy, generator=drawing, coordinates=coordinates, candidates=new.candidates)
    write_models(replace(new, aids=aids), made)


if __name__ == "__main__":
    main()
