"""Rate control on the tiny bundle: sizes and distances are met, in one search."""

import time
from collections.abc import Sequence

import pytest
import torch

from invcomp.bitstream import IvcFile, decode
from invcomp.entropy.density import q_step_of
from invcomp.entropy.model import EntropyModel
from invcomp.errors import GoalError
from invcomp.generators.base import normal
from invcomp.inversion.control import Control, FixedStep
from invcomp.inversion.descent import Descent
from invcomp.inversion.distortion import Distortion
from invcomp.inversion.options import SearchOptions
from invcomp.inversion.progress import Progress, ProgressCallback
from invcomp.inversion.quantiser import FILL, Optimum, Quantiser
from invcomp.inversion.rate_control import ByteControl, LpipsControl
from invcomp.inversion.search import Search
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
    bundle = tiny_bundle()
    return Quantiser(bundle.entropy, bundle.fingerprint[:4])


class UnclampedMeter:
    """LPIPS of the generator's own images, which leave [-1, 1] as `images` do."""

    def __init__(self, search: Search, entropy: EntropyModel) -> None:
        self.search, self.entropy = search, entropy

    def lpips(self, original: torch.Tensor, data: bytes) -> float:
        file = IvcFile.unpack(data)
        integers = torch.from_numpy(decode(file, self.entropy).integers)[None]
        with torch.no_grad():
            latents = self.search.space.latents(integers * q_step_of(file.step_index))
            image = self.search.distortion.generator(latents)
        return float(self.search.distortion.features.lpips_distance(image, original))


@pytest.fixture(scope="module")
def meter(search: Search, quantiser: Quantiser) -> UnclampedMeter:
    return UnclampedMeter(search, quantiser.entropy)


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


OPTIONS = SearchOptions(iterations=ITERATIONS, starts=1)


def run(
    search: Search,
    images: torch.Tensor,
    controls: Sequence[Control],
    progress: ProgressCallback | None = None,
    batch_size: int = 1,
) -> list[bytes | GoalError]:
    return search.run(images, controls, START, OPTIONS, progress, batch_size)


def files(found: Sequence[bytes | GoalError]) -> list[bytes]:
    """What was found, if it is a file of each image."""
    assert all(isinstance(one, bytes) for one in found)
    return [one for one in found if isinstance(one, bytes)]


def test_sizes_are_met_and_never_passed(
    search: Search, quantiser: Quantiser, images: torch.Tensor, iterations_taken: list[str]
) -> None:
    """Every image of a batch has a limit, and so a q_step, of its own."""
    for limits in ([14, 18, 23, 29], [36, 46, 59, 75]):
        iterations_taken.clear()
        found = files(run(search, images, [ByteControl(quantiser, limit) for limit in limits]))
        for data, limit in zip(found, limits, strict=True):
            assert FILL * limit <= len(data) <= limit
        indices = [IvcFile.unpack(data).step_index for data in found]
        assert indices[0] < indices[3]
        assert len(iterations_taken) <= 1.5 * ITERATIONS


def test_every_image_is_controlled_on_its_own(
    search: Search, quantiser: Quantiser, images: torch.Tensor, meter: UnclampedMeter
) -> None:
    """A q_step, a size and a distance as goals of one batch, and one that cannot be met."""
    out_of_reach = LpipsControl(quantiser, 1e-5, images[3:], meter)
    goals = [FixedStep(quantiser), ByteControl(quantiser, 30), ByteControl(quantiser, 9)]
    fixed, small, refused, failed = run(search, images, [*goals, out_of_reach])
    assert isinstance(fixed, bytes)
    assert IvcFile.unpack(fixed).step_index == START
    assert isinstance(small, bytes)
    assert FILL * 30 <= len(small) <= 30
    assert isinstance(refused, GoalError)
    assert "too few" in str(refused)
    assert isinstance(failed, GoalError)
    assert "out of reach" in str(failed)


def test_a_fixed_step_codes_what_the_descent_rounds(
    search: Search, quantiser: Quantiser, images: torch.Tensor
) -> None:
    found = files(run(search, images[:1], [FixedStep(quantiser)]))
    *_, (last, _) = search.descend(images[:1], START, OPTIONS)
    assert found == [quantiser.encode(last.integers()[0].numpy(), START)]


def test_the_step_comes_from_far(
    search: Search, quantiser: Quantiser, images: torch.Tensor, meter: UnclampedMeter
) -> None:
    """The search adapts to the q_step of the file: better than coding what another q_step found."""
    limit, coarse, one = 60, 16, images[:1]
    (moved,) = files(search.run(one, [ByteControl(quantiser, limit)], coarse, OPTIONS))
    assert FILL * limit <= len(moved) <= limit
    assert IvcFile.unpack(moved).step_index > coarse + 40
    *_, (last, _) = search.descend(one, coarse, OPTIONS)
    optimum = Optimum((last.integers()[0] * q_step_of(coarse)).double().numpy(), 0)
    rounded = quantiser.filling(optimum, quantiser.index_for(optimum, limit), limit)
    assert meter.lpips(one, moved) < meter.lpips(one, rounded)


def test_more_bytes_than_the_image_can_use(
    search: Search, quantiser: Quantiser, images: torch.Tensor
) -> None:
    (data,) = files(run(search, images[:1], [ByteControl(quantiser, 5000)]))
    assert IvcFile.unpack(data).step_index == FINEST


def test_fewer_bytes_than_any_file_has(
    search: Search, quantiser: Quantiser, images: torch.Tensor, iterations_taken: list[str]
) -> None:
    """No search for it, and it does not touch the others of its batch."""
    found = run(search, images[:1], [ByteControl(quantiser, 9)])
    assert not iterations_taken
    both = run(search, images[:2], [ByteControl(quantiser, 30), ByteControl(quantiser, 9)])
    for refused in (found[0], both[1]):
        assert isinstance(refused, GoalError)
        assert str(refused) == "9 bytes are too few: the smallest file of this image takes 10"
    assert both[:1] == run(search, images[:1], [ByteControl(quantiser, 30)])


def test_progress_comes_to_its_end(
    search: Search, quantiser: Quantiser, images: torch.Tensor, meter: UnclampedMeter
) -> None:
    seen: list[Progress] = []
    one = images[:1]
    run(search, one, [LpipsControl(quantiser, 0.01, one, meter)], seen.append)
    assert [state.stage for state in seen[:ITERATIONS]] == ["search"] * ITERATIONS
    assert {state.stage for state in seen[ITERATIONS:]} <= {"settling"}
    fractions = [state.fraction for state in seen]
    assert fractions == sorted(fractions)
    assert 0.7 < fractions[ITERATIONS - 1] <= fractions[-1] <= 1


def test_a_distance_is_reached_with_few_bytes(
    search: Search,
    quantiser: Quantiser,
    images: torch.Tensor,
    meter: UnclampedMeter,
    iterations_taken: list[str],
) -> None:
    sizes = []
    for limit in (0.03, 0.01):
        iterations_taken.clear()
        rows = images[:2].split(1)
        controls = [LpipsControl(quantiser, limit, row, meter) for row in rows]
        found = files(run(search, images[:2], controls))
        for row, data in zip(rows, found, strict=True):
            assert meter.lpips(row, data) <= limit
        assert len(iterations_taken) <= 1.5 * ITERATIONS
        sizes.append(sum(map(len, found)))
    assert sizes[0] < sizes[1]
    by_bytes = files(run(search, images[:2], [ByteControl(quantiser, 60)] * 2))
    assert sizes[1] < sum(map(len, by_bytes))  # these are far better than was asked for


def test_a_distance_out_of_reach(
    search: Search,
    quantiser: Quantiser,
    images: torch.Tensor,
    meter: UnclampedMeter,
    iterations_taken: list[str],
) -> None:
    one = images[:1]
    (found,) = run(search, one, [LpipsControl(quantiser, 1e-5, one, meter)])
    assert isinstance(found, GoalError)
    assert "LPIPS 1e-05 is out of reach: the best reached is 0.0" in str(found)
    assert len(iterations_taken) <= 1.5 * ITERATIONS


def test_places_are_filled_with_copies(
    search: Search, quantiser: Quantiser, images: torch.Tensor
) -> None:
    found = files(run(search, images[:1], [ByteControl(quantiser, 30)], batch_size=3))
    assert [FILL * 30 <= len(data) <= 30 for data in found] == [True]


def test_in_a_given_time_every_image_of_a_batch_has_its_share(
    search: Search, quantiser: Quantiser, images: torch.Tensor
) -> None:
    options, controls = SearchOptions(seconds=1.0, starts=1), [ByteControl(quantiser, 40)] * 4
    started = time.monotonic()
    found = files(search.run(images, controls, START, options))
    assert time.monotonic() - started > 3.4  # four seconds for four, not one; some for settling
    assert all(FILL * 40 <= len(data) <= 40 for data in found)
