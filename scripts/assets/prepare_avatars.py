"""Makes pretrained/avatars-64.safetensors: the bundle of the avatar generator.

    invcomp train runs/avatars/train.zip -o runs/avatars-64 --kimg 2000
    python scripts/assets/prepare_avatars.py runs/avatars-64 runs/avatars

The second argument is the output folder of make_avatars.py. The priors are calibrated on images of
its train.zip (fewer make a quick form); the first held-out image becomes the example image of
`invcomp demo`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from zipfile import ZipFile

from invcomp.generators.weights import load_generator
from invcomp.preparation import PrepareOptions, prepare

PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"
OPTIONS = PrepareOptions(coordinates=400, batch=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="directory of the training run")
    parser.add_argument("avatars", type=Path, help="folder of train.zip and held_out.zip")
    parser.add_argument("-o", "--output", type=Path, default=PRETRAINED / "avatars-64.safetensors")
    parser.add_argument("--images", type=int, default=48, help="images to fit the priors on")
    arguments = parser.parse_args()
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        ZipFile(arguments.avatars / "train.zip") as zipped,
    ):
        names = zipped.namelist()[: arguments.images]
        images = [Path(zipped.extract(name, folder)) for name in names]
        prepare(
            load_generator(arguments.run / "best.safetensors"),
            arguments.output,
            OPTIONS,
            images,
            lambda stage, done, total: print(
                f"{time.monotonic() - started:6.0f} s  {stage} {done}/{total}", file=sys.stderr
            ),
        )
    with ZipFile(arguments.avatars / "held_out.zip") as zipped:
        image = zipped.read(zipped.namelist()[0])
    arguments.output.with_name("avatar.png").write_bytes(image)
    print(f"{arguments.output}: {arguments.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
