"""What a search costs, and how many steps it takes when nothing is said."""

import pytest

from invcomp.errors import OptionError
from invcomp.inversion.options import AIDED_STEPS, QUICKER, STEPS, SearchOptions


def test_aids_halve_the_steps_unless_they_are_given() -> None:
    assert SearchOptions().settled(aided=True).steps == AIDED_STEPS < STEPS
    assert SearchOptions().settled(aided=False).steps == STEPS
    assert SearchOptions(steps=7).settled(aided=True).steps == 7


def test_steps_of_a_short_cut_cost_less() -> None:
    options = SearchOptions(steps=100, full_part=0.2, starts=2, candidates=0, trial_steps=6)
    assert options.descent_cost() == 100
    assert options.descent_cost(quick=True) == pytest.approx(20 + 80 / QUICKER)
    assert options.starts_cost() == 12
    assert options.starts_cost(quick=True) == pytest.approx(12 / QUICKER)


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"starts": 0}, {"seconds": 0.0}, {"full_part": 0.0}]
)
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        SearchOptions(**options)  # type: ignore[arg-type]
