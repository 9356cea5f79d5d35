"""Rate control on the tiny bundle: sizes and distances are met, in one search."""

import time
from functools import partial

import pytest
import torch

from invcomp.bitstream import IvcFile, decode
from invcomp.entropy.density import q_step_of
from invcomp.errors import GoalError
from invcomp.generators.base import normal
from invcomp.inversion.descent import Descent
from invcomp.inversion.distortion import Distortion
from invcomp.inversion.options import SearchOptions
from invcomp.inversion.quantiser import FILL, Optimum, Quantiser
from invcomp.inversion.rate_control import RateControl
from invcomp.inversion.search import Progress, ProgressCallback, Search
from invcomp.perception.features import PerceptualFeatures
from invcomp.quality import FINEST

from ..tiny import tiny_bundle

ITERATIONS = 24
START = 82


@pytest.fixture(scope="module")
def search() -> Search:
    bundle = tiny_bundle()
    features = PerceptualFeatures(bundle.settings.beta)
    distortion = Distortion(bundle.generator, features, mixed=False, compiled=False)
    return Search(distortion, bundle.coordinates, bundle.entropy.density(), bundle.candidates)


@pytest.fixture(scope="module")
def quantiser() -> Quantiser:
    return Quantiser(tiny_bundle().entropy, b"abcd")


@pytest.fixture(scope="module")
def images(search: Search) -> torch.Tensor:
    """Four that the generator can make."""
    c = normal(4, 64, seed=3) * search.space.deviations
    with torch.no_grad():
        return search.distortion.generator(search.space.latents(c))


@pytest.fixture
def iterations_taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The mode of every iteration."""
    taken: list[str] = []
    iterate = Descent.iterate

    def counted(
        self: Descent, learning_rate: float, mode: str = "free", quickly: bool = False
    ) -> None:
        taken.append(mode)
        iterate(self, learning_rate, mode, quickly)

    monkeypatch.setattr(Descent, "iterate", counted)
    return taken


def control(search: Search, progress: ProgressCallback | None = None) -> RateControl:
    return RateControl(search, START, SearchOptions(iterations=ITERATIONS, starts=1), progress)


def lpips_of(
    search: Search, quantiser: Quantiser, images: torch.Tensor, row: int, data: bytes
) -> float:
    file = IvcFile.unpack(data)
    integers = torch.from_numpy(decode(file, quantiser.entropy).integers)[None]
    with torch.no_grad():
        latents = search.space.latents(integers * q_step_of(file.step_index))
        image = search.distortion.generator(latents)
    return float(search.distortion.features.lpips_distance(image, images[row : row + 1]))


def test_sizes_are_met_and_never_passed(
    search: Search, quantiser: Quantiser, images: torch.Tensor, iterations_taken: list[str]
) -> None:
    """Every image of a batch has a limit, and so a q_step, of its own."""
    for limits in ([14, 18, 23, 29], [36, 46, 59, 75]):
        iterations_taken.clear()
        files = control(search).within_bytes(images, [quantiser] * 4, limits)
        for data, limit in zip(files, limits, strict=True):
            assert FILL * limit <= len(data) <= limit
        indices = [IvcFile.unpack(data).step_index for data in files]
        assert indices[0] < indices[3]
        assert len(iterations_taken) <= 1.5 * ITERATIONS


def test_the_step_comes_from_far(
    search: Search, quantiser: Quantiser, images: torch.Tensor
) -> None:
    """The search adapts to the q_step of the file: better than coding what another q_step found."""
    limit, coarse, options = 60, 16, SearchOptions(iterations=ITERATIONS, starts=1)
    far = RateControl(search, coarse, options)
    (moved,) = far.within_bytes(images[:1], [quantiser], [limit])
    assert FILL * limit <= len(moved) <= limit
    assert IvcFile.unpack(moved).step_index > coarse + 40
    found = search.run(images[:1], coarse, options).coordinates
    optimum = Optimum((found[0] * q_step_of(coarse)).double().numpy(), 0)
    rounded = quantiser.filling(optimum, quantiser.index_for(optimum, limit), limit)
    measure = partial(lpips_of, search, quantiser, images, 0)
    assert measure(moved) < measure(rounded)


def test_more_bytes_than_the_image_can_use(
    search: Search, quantiser: Quantiser, images: torch.Tensor
) -> None:
    (data,) = control(search).within_bytes(images[:1], [quantiser], [5000])
    assert IvcFile.unpack(data).step_index == FINEST


def test_fewer_bytes_than_any_file_has(
    search: Search, quantiser: Quantiser, images: torch.Tensor, iterations_taken: list[str]
) -> None:
    with pytest.raises(GoalError, match=r"9 bytes are too few: .* takes 10"):
        control(search).within_bytes(images[:2], [quantiser] * 2, [30, 9])
    assert not iterations_taken


def test_progress_comes_to_its_end(
    search: Search, quantiser: Quantiser, images: torch.Tensor
) -> None:
    seen: list[Progress] = []
    measure = partial(lpips_of, search, quantiser, images)
    control(search, seen.append).within_lpips(images[:1], [quantiser], 0.01, measure)
    assert [state.stage for state in seen[:ITERATIONS]] == ["search"] * ITERATIONS
    assert {state.stage for state in seen[ITERATIONS:]} <= {"settling"}
    fractions = [state.fraction for state in seen]
    assert fractions == sorted(fractions)
    assert 0.7 < fractions[ITERATIONS - 1] <= fractions[-1] <= 1


def test_a_distance_is_reached_with_few_bytes(
    search: Search, quantiser: Quantiser, images: torch.Tensor, iterations_taken: list[str]
) -> None:
    measure = partial(lpips_of, search, quantiser, images)
    sizes = []
    for limit in (0.03, 0.01):
        iterations_taken.clear()
        files = control(search).within_lpips(images[:2], [quantiser] * 2, limit, measure)
        for row, data in enumerate(files):
            assert measure(row, data) <= limit
        assert len(iterations_taken) <= 1.5 * ITERATIONS
        sizes.append(sum(map(len, files)))
    assert sizes[0] < sizes[1]
    by_bytes = control(search).within_bytes(images[:2], [quantiser] * 2, [60, 60])
    assert sizes[1] < sum(map(len, by_bytes))  # these are far better than was asked for


def test_a_distance_out_of_reach(
    search: Search, quantiser: Quantiser, images: torch.Tensor, iterations_taken: list[str]
) -> None:
    measure = partial(lpips_of, search, quantiser, images)
    with pytest.raises(GoalError, match=r"LPIPS 1e-05 is out of reach: the best reached is 0\.0"):
        control(search).within_lpips(images[:1], [quantiser], 1e-5, measure)
    assert len(iterations_taken) <= 1.5 * ITERATIONS


def test_places_are_filled_with_copies(
    search: Search, quantiser: Quantiser, images: torch.Tensor
) -> None:
    files = control(search).within_bytes(images[:1], [quantiser], [30], batch_size=3)
    assert [FILL * 30 <= len(data) <= 30 for data in files] == [True]


def test_in_a_given_time_every_image_of_a_batch_has_its_share(
    search: Search, quantiser: Quantiser, images: torch.Tensor
) -> None:
    timed = RateControl(search, START, SearchOptions(seconds=1.0, starts=1))
    started = time.monotonic()
    files = timed.within_bytes(images, [quantiser] * 4, [40] * 4)
    assert timed.deadline - started > 3.5  # four seconds for four, not one
    assert all(FILL * 40 <= len(data) <= 40 for data in files)
