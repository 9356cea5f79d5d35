"""Estimates what an archive could save by statistics of its own set, and by members alike.

    python scripts/benchmarks/set_statistics.py "avatars=set.ivca" "portraits=runs/final/*_230.ivc"

All figures are ideal code lengths of coordinates, without details. Columns, over the set:

- bytes: a member by the bundle's own prior
- refitted: percent saved if every coordinate's scale is shifted to fit the set, and the shifts are
  stored once (by their entropy; a coordinate's scale stays where it would not save its shift)
- free: percent saved if shifts cost nothing
- held_out: percent saved on one half of the set by the shifts that suit the other half
- shifted: percent saved if each member may have a shift of its own for all its scales
- earlier: percent saved if each member may be coded as the difference from the best earlier one (a
  quarter to all of its coordinates, rounded to the member's own q_step), with a shift of all scales
  that suits it; which one, what share of it and which shift are counted
- nearest: share of the members that would be coded as a difference

--among N looks only at the N earlier members with the least absolute differences: of a large set,
all pairs take hours.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from archives import files_of
from mutations import models
from numpy.typing import NDArray

from invcomp.bitstream import IvcFile, decode
from invcomp.entropy.tables import PriorTables

SHIFTS = np.arange(-32, 33, 2)  # of a scale, in sixteenths of an octave
NEARER = range(-48, 9, 8)  # the same, of differences from another member
SHARES = (0.25, 0.5, 0.75, 1.0)  # of its coordinates
Coded = tuple[int, NDArray[Any]]


@lru_cache(maxsize=1)
def _models() -> dict[bytes, Any]:
    return models()[0]


def members(place: str) -> tuple[PriorTables, list[Coded]]:
    """The prior of a set's bundle; step index and integers of every member."""
    found, tables = [], None
    for data in files_of(place).values():
        file = IvcFile.unpack(data)
        if file.needs_bundle:
            entropy = _models()[file.fingerprint]
            tables = entropy.tables
            found.append((file.step_index, decode(file, entropy).integers))
    assert tables is not None
    return tables, found


def bits(tables: PriorTables, coded: Coded, shift: int | NDArray[Any] = 0) -> NDArray[np.float64]:
    """Ideal code length of every coordinate, `[K]`."""
    step, integers = coded
    return tables.bits_at(integers, tables.rows_of(tables.scales_at(step) + step + shift))


def shifted(tables: PriorTables, found: Sequence[Coded]) -> NDArray[np.float64]:
    """Bits of every coordinate over a set for every shift, `[shifts, K]`."""
    return np.stack([sum(bits(tables, one, int(shift)) for one in found) for shift in SHIFTS])


def refitted(table: NDArray[np.float64]) -> float:
    """Bits of a set with its shifts, which are stored by their entropy."""
    own = int(np.flatnonzero(SHIFTS == 0)[0])
    costs = np.full(len(SHIFTS), 8.0)
    costs[own], best = 0.1, float(table[own].sum())
    for _ in range(20):
        chosen = (table + costs[:, None]).argmin(0)
        counts = np.bincount(chosen, minlength=len(SHIFTS))
        costs = -np.log2((counts + 0.01) / (counts + 0.01).sum())
        coded = float(table[chosen, np.arange(table.shape[1])].sum() + costs[chosen].sum())
        best = min(best, coded)
    return best


def held_out(tables: PriorTables, found: Sequence[Coded]) -> float:
    """Share saved on each half by the shifts of the other."""
    halves = [shifted(tables, found[part::2]) for part in (0, 1)]
    own = int(np.flatnonzero(SHIFTS == 0)[0])
    before = sum(half[own].sum() for half in halves)
    columns = np.arange(halves[0].shape[1])
    after = sum(halves[1 - n][halves[n].argmin(0), columns].sum() for n in (0, 1))
    return float(1 - after / before)


def at_step(coded: Coded, step: int, share: float) -> NDArray[Any]:
    """The integers of a share of a member's coordinates, at another q_step."""
    return np.rint(share * coded[1] * 2 ** ((step - coded[0]) / 16)).astype(np.int32)


def by_earlier(
    tables: PriorTables, found: Sequence[Coded], among: int | None
) -> tuple[float, float, float]:
    """Share of bits saved by shifts alone and with differences; share of members that are one."""
    total = alone = saved = chosen = 0.0
    for at, (step, integers) in enumerate(found):
        costs = [
            min(bits(tables, (step, integers - base), shift).sum() for shift in NEARER)
            for base in _bases(_nearest(found, at, among), step)
        ]
        own = float(bits(tables, (step, integers)).sum())
        shift = min(own, min(bits(tables, (step, integers), one).sum() for one in NEARER) + 3) + 1
        best = min(costs, default=np.inf) + np.log2((at + 1) * len(SHARES) * len(NEARER)) + 1
        total += own
        alone += own - shift
        saved += own - min(best, shift)  # a bit says which way a member is coded
        chosen += best < shift
    return float(alone / total), float(saved / total), chosen / len(found)


def _nearest(found: Sequence[Coded], at: int, among: int | None) -> Sequence[Coded]:
    """The members before one that are the most like it."""
    if among is None or at <= among:
        return found[:at]
    step, integers = found[at]
    distances = [
        np.abs(other * 2 ** ((step - own) / 16) - integers).sum() for own, other in found[:at]
    ]
    return [found[index] for index in np.argpartition(distances, among)[:among]]


def _bases(earlier: Sequence[Coded], step: int) -> Iterator[NDArray[Any]]:
    """What a member may be coded as the difference from."""
    for one in earlier:
        for share in SHARES:
            yield at_step(one, step, share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", metavar="LABEL=PLACE")
    parser.add_argument("--among", type=int, metavar="N")
    arguments = parser.parse_args()
    print("set, members, bytes, refitted, free, held_out, shifted, earlier, nearest")
    for given in arguments.sets:
        label, _, place = given.partition("=")
        tables, found = members(place)
        table = shifted(tables, found)
        own = float(table[SHIFTS == 0].sum())
        shares = (1 - refitted(table) / own, 1 - table.min(0).sum() / own, held_out(tables, found))
        shares += by_earlier(tables, found, arguments.among)
        percents = ", ".join(f"{100 * share:.1f}%" for share in shares)
        print(f"{label}, {len(found)}, {own / 8 / len(found):.1f}, {percents}")


if __name__ == "__main__":
    main()
