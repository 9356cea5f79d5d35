"""The search on the tiny bundle: what it minimises, and what each part of it is for."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from invcomp.distilled.encoder import InversionEncoder
from invcomp.entropy.density import q_step_of
from invcomp.errors import OptionError
from invcomp.inversion.descent import Descent
from invcomp.inversion.distortion import Distortion
from invcomp.inversion.options import SCREENING_COST, SearchOptions
from invcomp.inversion.progress import Progress, ProgressCallback
from invcomp.inversion.search import ClassedCoordinates, Search
from invcomp.perception.features import PerceptualFeatures

from ..tiny import tiny_bundle, tiny_conditional_bundle

STEP_INDEX = 60


@pytest.fixture(scope="module")
def search() -> Search:
    bundle = tiny_bundle()
    distortion = Distortion(
        bundle.generator, PerceptualFeatures(bundle.settings.beta), mixed=False, compiled=False
    )
    return Search(
        distortion,
        bundle.coordinates,
        bundle.entropy.density(),
        bundle.candidates,
    )


@pytest.fixture(scope="module")
def image(search: Search) -> torch.Tensor:
    """What the sixth candidate looks like, so that screening has something to find."""
    with torch.no_grad():
        return search.distortion.generator(search.space.latents(search.candidates[5:6]))


def run(
    search: Search,
    images: torch.Tensor,
    options: SearchOptions,
    progress: ProgressCallback | None = None,
    step_index: int = STEP_INDEX,
) -> ClassedCoordinates:
    """The integers, int32 [N, K], and the classes at the end of a descent with one q_step."""
    work = search.tracker(options, len(images), step_index, progress)
    *_, (last, _) = search.descend(images, step_index, options, work)
    return ClassedCoordinates(last.integers(), last.classes)


def loss(search: Search, integers: torch.Tensor, image: torch.Tensor, weight: float) -> float:
    """What the search shall make small, of the rounded coordinates."""
    delta = q_step_of(STEP_INDEX)
    with torch.no_grad():
        latents = search.space.latents(integers * delta)
        distortion = search.distortion(latents, search.distortion.target(image))
    bits = search.density.bits(integers.float(), [STEP_INDEX]).sum()
    return float(distortion) + weight * math.log(2) / 6 * delta**2 * float(bits)


def test_distortion_is_lpips_plus_squared_error(search: Search, image: torch.Tensor) -> None:
    latents = search.space.latents(search.candidates[:1])
    with torch.no_grad():
        decoded = search.distortion.generator(latents)
        target = search.distortion.target(image)
        found = float(search.distortion(latents, target))
    features = search.distortion.features
    lpips = float(features.lpips_distance(decoded, image))
    error = float((decoded - image).square().mean())
    assert found == pytest.approx(lpips + features.beta * error, rel=1e-3)


def test_more_steps_reach_a_smaller_loss(search: Search, image: torch.Tensor) -> None:
    losses = []
    for iterations in (1, 15, 80):
        options = SearchOptions(iterations=iterations, starts=1)
        losses.append(loss(search, run(search, image, options).coordinates, image, 0.5))
    assert losses[0] > losses[1] > losses[2]


def test_the_rate_weight_trades_bits(search: Search, image: torch.Tensor) -> None:
    def bits(weight: float) -> float:
        options = SearchOptions(iterations=40, rate_weight=weight)
        integers = run(search, image, options).coordinates
        return float(search.density.bits(integers.float(), [STEP_INDEX]).sum())

    assert bits(0.0) > bits(1.0) > bits(20.0)


def test_screening_finds_the_candidate_that_it_is(search: Search, image: torch.Tensor) -> None:
    options = SearchOptions(starts=2, candidates=8, trial_iterations=1)
    start = search.start(image, STEP_INDEX, options).coordinates
    to_candidates = (search.candidates[:, : start.shape[1]] - start).norm(dim=1)
    assert int(to_candidates.argmin()) == 5
    mean = search.start(image, STEP_INDEX, SearchOptions(starts=1))
    assert not mean.coordinates.any()
    assert mean.classes.tolist() == [0]


def test_more_starts_than_there_are(search: Search, image: torch.Tensor) -> None:
    with pytest.raises(OptionError, match="starts is 10: at most 9"):
        search.start(image, STEP_INDEX, SearchOptions(starts=10))
    with pytest.raises(OptionError, match="starts is 6: at most 5"):
        search.start(image, STEP_INDEX, SearchOptions(starts=6, candidates=4))
    assert len(search.start(image, STEP_INDEX, SearchOptions(starts=9, trial_iterations=1))) == 1


def test_coordinates_that_cannot_matter_stay_zero(search: Search, image: torch.Tensor) -> None:
    coarse = 8
    active = search.density.active(coarse)
    assert 0 < active < search.space.count
    integers = run(search, image, SearchOptions(iterations=5), step_index=coarse).coordinates
    assert integers.shape == (1, search.space.count)
    assert not integers[:, active:].any()


def test_a_image_is_found_alike_alone_and_in_a_batch(search: Search, image: torch.Tensor) -> None:
    options = SearchOptions(iterations=20)
    alone = run(search, image, options).coordinates
    both = torch.cat([image, image.flip(3)])
    pair = run(search, both, options).coordinates
    assert pair.shape[0] == 2
    assert loss(search, pair[:1], image, 0.5) == pytest.approx(
        loss(search, alone, image, 0.5), rel=0.3
    )


def test_progress_estimates_the_payload(search: Search, image: torch.Tensor) -> None:
    seen: list[Progress] = []
    found = run(search, image, SearchOptions(iterations=60), seen.append)
    integers = found.coordinates
    bits = search.density.bits(integers.float(), [STEP_INDEX]).sum()
    assert seen[-1].bytes == pytest.approx(float(bits) / 8, rel=0.05)


@pytest.mark.parametrize("options", [{"iterations": 0}, {"starts": 0}])
def test_options_out_of_range(options: dict[str, int]) -> None:
    with pytest.raises(OptionError):
        SearchOptions(**options)


@pytest.fixture(scope="module")
def conditional() -> Search:
    bundle = tiny_conditional_bundle()
    features = PerceptualFeatures(bundle.settings.beta)
    return Search(
        Distortion(bundle.generator, features, mixed=False, compiled=False),
        bundle.coordinates,
        bundle.entropy.density(),
        bundle.candidates,
        bundle.candidate_classes,
    )


def image_of(search: Search, class_index: int, candidate: int | None = None) -> torch.Tensor:
    """A class's mean, or one of its candidates."""
    classes = torch.tensor([class_index])
    place = torch.zeros(1, 24) if candidate is None else search.candidates[[candidate]]
    with torch.no_grad():
        return search.distortion.generator(search.space.latents(place, classes))


@pytest.mark.parametrize("class_index", [0, 1, 2])
def test_following_the_classes_finds_the_one(conditional: Search, class_index: int) -> None:
    image = image_of(conditional, class_index)
    seen: list[Progress] = []
    options = SearchOptions(iterations=2, starts=1, trial_iterations=4)
    found = run(conditional, image, options, seen.append)
    assert found.classes.tolist() == [class_index]
    stages = ["screening"] * 3 + ["starts"] * (3 * 4) + ["search"] * 2
    assert [progress.stage for progress in seen] == stages
    assert options.starts_cost(classes=3) == pytest.approx(3 * 4 + 3 * SCREENING_COST)


def test_the_likeliest_classes_are_followed(
    conditional: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invcomp.inversion.options.FOLLOWED_CLASSES", 2)
    seen: list[Progress] = []
    options = SearchOptions(iterations=1, starts=1, trial_iterations=3)
    found = run(conditional, image_of(conditional, 2), options, seen.append)
    assert found.classes.tolist() == [2]
    assert [progress.stage for progress in seen].count("starts") == 2 * 3


def test_every_image_has_a_class_of_its_own(conditional: Search) -> None:
    images = torch.cat([image_of(conditional, 1), image_of(conditional, 2)])
    options = SearchOptions(iterations=3, starts=2, trial_iterations=1)
    assert run(conditional, images, options).classes.tolist() == [1, 2]


def test_a_given_class_is_the_only_one(conditional: Search) -> None:
    image = image_of(conditional, 1)
    seen: list[Progress] = []
    for starts in (1, 3):
        options = SearchOptions(iterations=2, starts=starts, trial_iterations=1, class_index=2)
        found = run(conditional, image, options, seen.append)
        assert found.classes.tolist() == [2]
    assert sum(progress.stage == "screening" for progress in seen) == 6  # candidates alone


def test_of_many_classes_those_of_the_candidates_are_screened(
    conditional: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invcomp.inversion.search.MEANS", 2)
    seen: list[Progress] = []
    options = SearchOptions(iterations=1, starts=1, candidates=2, trial_iterations=1)
    run(conditional, image_of(conditional, 1), options, seen.append)
    stages = ["screening"] * 2 + ["starts"] * 2 + ["search"]
    assert [progress.stage for progress in seen] == stages


def test_classes_that_are_not_there(conditional: Search, search: Search) -> None:
    with pytest.raises(OptionError, match="classes are 0 to 2"):
        conditional.start(torch.zeros(1, 1), STEP_INDEX, SearchOptions(class_index=3))
    with pytest.raises(OptionError, match="no classes"):
        search.start(torch.zeros(1, 1), STEP_INDEX, SearchOptions(class_index=0))


def test_the_spread_is_what_an_encoder_leaves(search: Search) -> None:
    deviations = search.space.deviations
    assert torch.equal(search.spread(SearchOptions()), deviations)
    encoder = InversionEncoder(6)
    encoder.errors.copy_(torch.tensor([0.1, 9.0, 0.1, 0.1, 0.1, 0.1]) * deviations[:6])
    with_encoder = Search(
        search.distortion,
        search.space,
        search.density,
        search.candidates,
        encoder=encoder,
    )
    spread = with_encoder.spread(SearchOptions()) / deviations
    assert spread[:7].tolist() == pytest.approx([0.1, 1.0, 0.1, 0.1, 0.1, 0.1, 1.0])
    assert torch.equal(with_encoder.spread(SearchOptions(use_encoder=False)), deviations)


def test_only_a_hurried_search_takes_the_short_cut(search: Search) -> None:
    quick = Distortion(search.distortion.generator, search.distortion.features, False, False)
    aided = Search(
        search.distortion,
        search.space,
        search.density,
        search.candidates,
        quick=quick,
    )
    assert aided.quick_for(SearchOptions()) is None
    assert aided.quick_for(SearchOptions(fast=True)) is quick
    assert aided.quick_for(SearchOptions(seconds=2.0)) is quick
    assert search.quick_for(SearchOptions(fast=True)) is None


def test_compiling_takes_none_of_the_time(
    search: Search, image: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, rehearsed, iterate = SimpleNamespace(now=0.0), [], Descent.iterate
    for module in ("progress", "descent"):
        monkeypatch.setattr(
            f"invcomp.inversion.{module}.time", SimpleNamespace(monotonic=lambda: clock.now)
        )

    def rehearse(latents: torch.Tensor) -> None:
        rehearsed.append(len(latents))
        clock.now += 100  # as compiling would take

    def timed(self: Descent, *arguments: Any) -> None:
        clock.now += 1
        iterate(self, *arguments)

    monkeypatch.setattr(search.distortion, "rehearse", rehearse)
    monkeypatch.setattr(Descent, "iterate", timed)
    iterations = list(search.descend(image, STEP_INDEX, SearchOptions(seconds=8), batch_size=2))
    assert rehearsed == [2]
    assert len(iterations) == 8
