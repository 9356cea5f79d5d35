"""What a search costs, and how many iterations it takes when nothing is said."""

import pytest

from invcomp.errors import OptionError
from invcomp.inversion.options import (
    DOUBLING,
    ENOUGH,
    FAST_ITERATIONS,
    FAST_LEARNING_RATE,
    FINE,
    FINE_FULL_PART,
    FULL_PART,
    ITERATIONS,
    LEARNING_RATE,
    QUICKER,
    SearchOptions,
)


@pytest.mark.parametrize("hurried", [{"fast": True}, {"seconds": 3.0}])
def test_what_is_left_open_depends_on_hurry(hurried: dict[str, float]) -> None:
    fast, plain = SearchOptions(**hurried), SearchOptions()  # type: ignore[arg-type]
    assert (fast.iterations_at(ENOUGH), fast.rate) == (FAST_ITERATIONS, FAST_LEARNING_RATE)
    assert (plain.iterations_at(0), plain.rate) == (ITERATIONS, LEARNING_RATE)
    given = SearchOptions(iterations=7, learning_rate=0.1, fast=True)
    assert (given.iterations_at(150), given.rate) == (7, 0.1)


@pytest.mark.parametrize("fast", [False, True])
def test_a_finer_quantiser_gets_more_iterations(fast: bool) -> None:
    options, base = SearchOptions(fast=fast), FAST_ITERATIONS if fast else ITERATIONS
    iterations = [options.iterations_at(index) for index in range(ENOUGH + DOUBLING + 1)]
    assert iterations == sorted(iterations)
    assert set(iterations[: ENOUGH + 1]) == {base}
    assert (iterations[ENOUGH + DOUBLING // 2], iterations[ENOUGH + DOUBLING]) == (
        round(base * 2**0.5),
        2 * base,
    )


def test_iterations_of_the_surrogate_cost_less() -> None:
    options = SearchOptions(
        iterations=100, full_part=0.2, starts=2, candidates=0, trial_iterations=6
    )
    assert options.descent_cost(150) == 100
    assert options.descent_cost(0, quick=True) == pytest.approx(20 + 80 / QUICKER)
    assert options.starts_cost() == 12
    assert options.starts_cost(quick=True) == pytest.approx(12 / QUICKER)


def test_a_small_q_step_runs_the_generator_for_longer() -> None:
    options = SearchOptions(fast=True)
    parts = [options.full_part_at(index) for index in range(256)]
    assert parts == sorted(parts)
    assert set(parts[: ENOUGH + 1]) == {FULL_PART}
    assert set(parts[FINE:]) == {FINE_FULL_PART}
    assert SearchOptions(full_part=0.3).full_part_at(FINE) == 0.3
    cost = options.iterations_at(FINE) * (0.5 + 0.5 / QUICKER)
    assert options.descent_cost(FINE, quick=True) == pytest.approx(cost)


@pytest.mark.parametrize(
    "options", [{"iterations": 0}, {"starts": 0}, {"seconds": 0.0}, {"full_part": 0.0}]
)
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        SearchOptions(**options)  # type: ignore[arg-type]
