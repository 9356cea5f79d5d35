"""Writes tests/golden: for every known model a file, its integers, and what it decodes to.

    python scripts/assets/make_golden.py
    python scripts/assets/make_golden.py faces-128 avatars-64

The integers are drawn from the model's prior. A model with a detail has a second file, whose detail
has random integers. Run it only for a new model, or where a change of the decoded images is meant:
these files are what notices a change that is not.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from invcomp.bitstream import DETAIL, IvcFile, Layer, encode
from invcomp.decoder import Decoder
from invcomp.entropy.mixture import LaplaceMixture
from invcomp.lookup import load_bundle
from invcomp.model_zoo.catalogue import KNOWN_MODELS

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "golden"
STEP_INDEX, SIDE = 82, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(KNOWN_MODELS))
    for name in parser.parse_args().models:
        decoder = Decoder(load_bundle(name, aids=False), "cpu")
        entropy, source = decoder.bundle.entropy, np.random.default_rng(0)
        assert isinstance(entropy, LaplaceMixture)
        scales = 2.0 ** ((entropy.tables.scales_at(STEP_INDEX) + STEP_INDEX) / 16)
        integers = np.rint(source.laplace(0, scales)).astype(np.int64)
        class_index = entropy.classes // 2
        data = encode(integers, STEP_INDEX, entropy, decoder.fingerprint, None, class_index)
        (FOLDER / f"{name}.ivc").write_bytes(data)
        expected = {"class": class_index, "integers": integers.tolist()}
        (FOLDER / f"{name}.json").write_text(json.dumps(expected) + "\n")
        write_image(decoder, data, name)
        if (detail := decoder.bundle.detail) is not None:
            drawn = np.where(
                source.random(detail.count) < 0.02, source.integers(-3, 4, detail.count), 0
            )
            layer = Layer(DETAIL, detail.pack(detail.model.encode(drawn, STEP_INDEX)))
            file = replace(IvcFile.unpack(data), layers=(layer,))
            (FOLDER / f"{name}.detail.ivc").write_bytes(file.pack())
            places = {int(index): int(drawn[index]) for index in np.flatnonzero(drawn)}
            (FOLDER / f"{name}.detail.json").write_text(json.dumps(places) + "\n")
            write_image(decoder, file.pack(), f"{name}.detail")


def write_image(decoder: Decoder, data: bytes, name: str) -> None:
    """Writes the decoded image of a file at SIDE px."""
    decoded = decoder.decompress(data)
    decoded.resize((SIDE, SIDE), Image.Resampling.BOX).save(FOLDER / f"{name}.png")
    print(f"{name}: {len(data)} bytes")


if __name__ == "__main__":
    main()
