"""Measures how well integers of a detail can be predicted, signs included, from others.

    python scripts/benchmarks/detail_prediction.py runs/likeness/*_2000.ivc

What a linear transform over neighbours, channels and maps could gain shows as R^2 of a linear
regression of each channel on what is decoded before it: four neighbours in the same channel, the
same place in stronger channels, and the place of the coarser map that contains it. Regressions are
fitted to all files but one and tried on that one. Prints R^2 of every channel of faces-1024.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invcomp.bitstream.ivc import read_ivc
from invcomp.decoder import Decoder
from invcomp.lookup import load_bundle

Values = NDArray[Any]
RIDGE = 5.0
NEIGHBOURS = ((-1, 0), (0, -1), (-1, -1), (-1, 1))  # rows, columns


def neighbours(channel: Values) -> Values:
    """Of integers [N, size, size]: [N, size, size, 4], zeros outside."""
    size, padded = channel.shape[-1], np.pad(channel, ((0, 0), (1, 1), (1, 1)))
    shifts = [padded[:, 1 + y : 1 + y + size, 1 + x : 1 + x + size] for y, x in NEIGHBOURS]
    return np.stack(shifts, -1)


def above(coarser: Values, size: int) -> Values:
    """Integers [N, K, s, s] of the coarser map, [N, size, size, r * r * K], r = size / s.

    Each of the r * r places within a coarser place has weights of its own.
    """
    ratio = size // coarser.shape[-1]
    seen = np.moveaxis(coarser.repeat(ratio, 2).repeat(ratio, 3), 1, -1)
    rows, columns = np.mgrid[:size, :size] % ratio
    parts = [
        seen * ((rows == y) & (columns == x))[None, :, :, None]
        for y in range(ratio)
        for x in range(ratio)
    ]
    return np.concatenate(parts, -1)


def explained(known: Values, wanted: Values) -> float:
    """R^2 of the wanted [N, size, size] by the known [N, size, size, D], one file left out each."""
    left = 0.0
    for index in range(len(wanted)):
        others = np.arange(len(wanted)) != index
        x, y = known[others].reshape(-1, known.shape[-1]), wanted[others].ravel()
        weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y)
        left += float(np.square(wanted[index] - known[index] @ weights).sum())
    return 1 - left / max(float(np.square(wanted).sum()), 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", help=".ivc files of faces-1024")
    decoder = Decoder(load_bundle("faces-1024"))
    assert decoder.detail is not None
    found = [decoder.detail_of(decoder.unpack(read_ivc(p))) for p in parser.parse_args().files]
    integers = np.stack([each for each in found if each is not None]).astype(float)
    shapes = decoder.detail.model.shapes
    cuts = np.cumsum([shape.count for shape in shapes])[:-1]
    coarser: Values | None = None
    for shape, part in zip(shapes, np.split(integers, cuts, 1), strict=True):
        channels = part.reshape(len(part), shape.channels, shape.size, shape.size)
        for index in range(shape.channels):
            wanted = channels[:, index]
            known = {"neighbours": neighbours(wanted)}
            if index:
                known["stronger channels"] = np.moveaxis(channels[:, :index], 1, -1)
            if coarser is not None:
                known["coarser map"] = above(coarser, shape.size)
            shown = ", ".join(f"{name} {explained(x, wanted):.3f}" for name, x in known.items())
            used = float((wanted != 0).mean())
            print(f"{shape.size} px, channel {index}: {used:.1%} other than zero; R^2: {shown}")
        coarser = channels


if __name__ == "__main__":
    main()
