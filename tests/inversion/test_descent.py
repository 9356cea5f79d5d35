"""When a descent is over, and which of its iterations are quick."""

import time

import pytest
import torch

from invcomp.inversion.descent import PHASES, WINDOW, Schedule
from invcomp.inversion.options import DOUBLING, ENOUGH, FINE, ITERATIONS, QUICKER, SearchOptions


def run(schedule: Schedule, losses: list[float]) -> list[str]:
    """The mode of every iteration of a schedule that sees these losses, then ever smaller ones."""
    modes, loss = [], 1e6
    while schedule.fraction < 1:
        modes.append(schedule.mode)
        loss *= 0.9
        schedule.advance(losses[len(modes) - 1] if len(modes) <= len(losses) else loss)
    return modes


def test_phases_share_the_steps() -> None:
    modes = run(Schedule(SearchOptions(iterations=120)), [])
    assert [modes.count(name) for name, _ in PHASES] == [48, 36, 36]
    assert modes == sorted(modes, key=[name for name, _ in PHASES].index)


@pytest.mark.parametrize("iterations", [1, 2, 3, 7])
def test_few_iterations_are_all_taken(iterations: int) -> None:
    assert len(run(Schedule(SearchOptions(iterations=iterations)), [])) == iterations


def test_a_flat_loss_goes_on_to_the_next_phase() -> None:
    modes = run(Schedule(SearchOptions(iterations=400)), [1.0] * 2 * WINDOW)
    assert modes.count("free") == 2 * WINDOW
    assert [modes.count("noise"), modes.count("round")] == [120, 120]
    assert len(run(Schedule(SearchOptions(iterations=400)), [1.0] * 400)) == 3 * 2 * WINDOW


def test_another_loss_is_not_compared_with_the_one_before() -> None:
    schedule = Schedule(SearchOptions(iterations=400))
    for iteration in range(2 * WINDOW):
        if iteration == WINDOW:
            schedule.loss_changes()
        schedule.advance(1.0)
    assert schedule.fraction == 2 * WINDOW / 400
    for _ in range(WINDOW):
        schedule.advance(1.0)
    assert schedule.mode == "noise"


def test_a_falling_loss_is_not_flat() -> None:
    losses = [1.0 - 0.001 * iteration for iteration in range(400)]
    assert len(run(Schedule(SearchOptions(iterations=400)), losses)) == 400


def test_the_last_steps_are_not_quick() -> None:
    schedule, quick = Schedule(SearchOptions(iterations=100, full_part=0.2), quick=True), []
    while schedule.fraction < 1:
        quick.append(schedule.quickly)
        schedule.advance(1e6 * 0.9 ** len(quick))
    assert quick == [True] * 80 + [False] * 20


def test_the_q_step_decides_when_the_generator_takes_over() -> None:
    options = SearchOptions(iterations=100)
    for index, expected in ((0, 85), (FINE, 50)):
        schedule, quick = Schedule(options, quick=True), []
        while schedule.fraction < 1:
            quick.append(schedule.quickly)
            schedule.advance(1e6 * 0.9 ** len(quick), index)
        assert quick == [True] * expected + [False] * (100 - expected)
    schedule, quick = Schedule(options, quick=True), []
    while schedule.fraction < 1:  # from then on, it runs whatever becomes of the q_step
        quick.append(schedule.quickly)
        schedule.advance(1e6 * 0.9 ** len(quick), FINE if len(quick) < 60 else 0)
    assert quick == [True] * 50 + [False] * 50


def test_by_the_clock() -> None:
    schedule, started, iterations = Schedule(SearchOptions(), seconds=0.2), time.monotonic(), 0
    fractions = []
    while schedule.fraction < 1:
        time.sleep(0.002)
        schedule.advance(1.0)  # flat, and yet the time is used
        fractions.append(schedule.fraction)
        iterations += 1
    assert time.monotonic() - started >= 0.2
    assert fractions == sorted(fractions)
    assert iterations > 3


def test_the_clock_leaves_the_last_steps_more_time() -> None:
    schedule = Schedule(SearchOptions(full_part=0.15), seconds=1.0, quick=True)
    assert schedule._by_time(0.0) == 0
    assert schedule._by_time(1.0) == pytest.approx(1)
    # 0.85 quick iterations and 0.15 of QUICKER times their cost
    switch = 0.85 / (0.85 + 0.15 * QUICKER)
    assert schedule._by_time(switch) == pytest.approx(0.85)
    assert switch < 0.8
    plain = Schedule(SearchOptions(full_part=0.15), seconds=1.0)
    assert plain._by_time(0.4) == pytest.approx(0.4)


def test_the_learning_rate_rises_then_falls() -> None:
    schedule, rates = Schedule(SearchOptions(iterations=50)), []
    while schedule.fraction < 1:
        rates.append(schedule.learning_rate)
        schedule.advance(1e6 * 0.9 ** len(rates))
    assert rates[0] == pytest.approx(0.2 / 8)
    assert rates[7:] == sorted(rates[7:], reverse=True)
    assert max(rates) == pytest.approx(0.2, rel=0.05)
    assert torch.tensor(rates[-1]) < 0.01


def test_the_generator_takes_over_at_a_higher_rate() -> None:
    schedule, rates = Schedule(SearchOptions(iterations=100, full_part=0.2), quick=True), []
    while schedule.fraction < 1:
        rates.append(schedule.learning_rate)
        schedule.advance(1e6 * 0.9 ** len(rates))
    assert rates[80] > 1.5 * rates[79]
    assert rates[80:] == sorted(rates[80:], reverse=True)
    assert rates[-1] < 0.2 * rates[80]


def test_a_short_cut_is_never_flat() -> None:
    schedule, quick = Schedule(SearchOptions(iterations=200, full_part=0.3), quick=True), []
    while schedule.fraction < 1:
        quick.append(schedule.quickly)
        schedule.advance(1.0)  # the generator's own iterations end early, those before do not
    assert sum(quick) == 140
    assert len(quick) == 140 + 2 * WINDOW


def test_the_pace_follows_the_quantiser() -> None:
    schedule, iterations = Schedule(SearchOptions()), 0
    while schedule.fraction < 1:
        schedule.advance(
            1e6 * 0.9**iterations, ENOUGH if iterations < ITERATIONS // 2 else ENOUGH + DOUBLING
        )
        iterations += 1
    assert iterations == ITERATIONS // 2 + ITERATIONS  # the second half takes twice as many
