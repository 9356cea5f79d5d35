"""The search on the tiny bundle: what it minimises, and what each part of it is for."""

import math

import pytest
import torch

from invcomp.errors import OptionError
from invcomp.inversion.search import Distortion, Progress, Search, SearchOptions
from invcomp.latents.features import PerceptualFeatures
from invcomp.latents.rate import PriorShape, step_of

from ..tiny import tiny_bundle

STEP_INDEX = 60


@pytest.fixture(scope="module")
def search() -> Search:
    bundle = tiny_bundle()
    distortion = Distortion(
        bundle.generator, PerceptualFeatures(bundle.settings.beta), mixed=False, compiled=False
    )
    return Search(
        distortion, bundle.coordinates, bundle.prior_scales, PriorShape(), bundle.candidates
    )


@pytest.fixture(scope="module")
def photograph(search: Search) -> torch.Tensor:
    """What the sixth candidate looks like, so that screening has something to find."""
    with torch.no_grad():
        return search.distortion.generator(search.latents(search.candidates[5:6]))


def loss(search: Search, integers: torch.Tensor, photograph: torch.Tensor, weight: float) -> float:
    """What the search shall make small, of the rounded coordinates."""
    delta = step_of(STEP_INDEX)
    with torch.no_grad():
        latents = search.latents(integers * delta)
        distortion = search.distortion(latents, search.distortion.target(photograph))
    bits = search.shape.bits(integers.float(), search.scales / delta).sum()
    return float(distortion) + weight * math.log(2) / 6 * delta**2 * float(bits)


def test_distortion_is_lpips_plus_squared_error(search: Search, photograph: torch.Tensor) -> None:
    latents = search.latents(search.candidates[:1])
    with torch.no_grad():
        picture = search.distortion.generator(latents)
        target = search.distortion.target(photograph)
        found = float(search.distortion(latents, target))
    features = search.distortion.features
    lpips = float(features.lpips_distance(picture, photograph))
    error = float((picture - photograph).square().mean())
    assert found == pytest.approx(lpips + features.beta * error, rel=1e-3)


def test_more_steps_reach_a_smaller_loss(search: Search, photograph: torch.Tensor) -> None:
    losses = []
    for steps in (1, 15, 80):
        options = SearchOptions(steps=steps, starts=1)
        losses.append(loss(search, search.run(photograph, STEP_INDEX, options), photograph, 0.5))
    assert losses[0] > losses[1] > losses[2]


def test_the_rate_weight_trades_bits(search: Search, photograph: torch.Tensor) -> None:
    def bits(weight: float) -> float:
        options = SearchOptions(steps=40, rate_weight=weight)
        integers = search.run(photograph, STEP_INDEX, options)
        return float(search.shape.bits(integers.float(), search.scales / step_of(STEP_INDEX)).sum())

    assert bits(0.0) > bits(1.0) > bits(20.0)


def test_screening_finds_the_candidate_that_it_is(search: Search, photograph: torch.Tensor) -> None:
    options = SearchOptions(starts=2, candidates=8, trial_steps=1)
    start = search.start(search.distortion.target(photograph), STEP_INDEX, options)
    to_candidates = (search.candidates[:, : start.shape[1]] - start).norm(dim=1)
    assert int(to_candidates.argmin()) == 5
    mean = search.start(search.distortion.target(photograph), STEP_INDEX, SearchOptions(starts=1))
    assert not mean.any()


def test_more_starts_than_there_are(search: Search, photograph: torch.Tensor) -> None:
    target = search.distortion.target(photograph)
    with pytest.raises(OptionError, match="starts is 10: at most 9"):
        search.start(target, STEP_INDEX, SearchOptions(starts=10))
    with pytest.raises(OptionError, match="starts is 6: at most 5"):
        search.start(target, STEP_INDEX, SearchOptions(starts=6, candidates=4))
    assert len(search.start(target, STEP_INDEX, SearchOptions(starts=9, trial_steps=1))) == 1


def test_coordinates_that_cannot_matter_stay_zero(search: Search, photograph: torch.Tensor) -> None:
    coarse = 8
    active = search.active(step_of(coarse))
    assert 0 < active < search.coordinates.count
    integers = search.run(photograph, coarse, SearchOptions(steps=5))
    assert integers.shape == (1, search.coordinates.count)
    assert not integers[:, active:].any()


def test_a_photograph_is_found_alike_alone_and_in_a_batch(
    search: Search, photograph: torch.Tensor
) -> None:
    options = SearchOptions(steps=20)
    alone = search.run(photograph, STEP_INDEX, options)
    pair = search.run(torch.cat([photograph, photograph.flip(3)]), STEP_INDEX, options)
    assert pair.shape[0] == 2
    assert loss(search, pair[:1], photograph, 0.5) == pytest.approx(
        loss(search, alone, photograph, 0.5), rel=0.3
    )


def test_progress_estimates_the_payload(search: Search, photograph: torch.Tensor) -> None:
    seen: list[Progress] = []
    integers = search.run(photograph, STEP_INDEX, SearchOptions(steps=60), seen.append)
    bits = search.shape.bits(integers.float(), search.scales / step_of(STEP_INDEX)).sum()
    assert seen[-1].bytes == pytest.approx(float(bits) / 8, rel=0.05)


@pytest.mark.parametrize("options", [{"steps": 0}, {"starts": 0}])
def test_options_out_of_range(options: dict[str, int]) -> None:
    with pytest.raises(OptionError):
        SearchOptions(**options)
