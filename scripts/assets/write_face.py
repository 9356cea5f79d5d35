"""Writes the frame, the place of the face and identity's weights into the shipped face models.

    python scripts/assets/write_face.py
    python scripts/assets/write_face.py --dlib 0.3 --mobile 0.1

Changes the settings of pretrained/faces-1024.safetensors and of its proxy, faces-128. Their tensors
and fingerprint do not change, and existing files remain valid, because identity only affects the
encoder.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from calibrate_quality import write_settings

from invcomp.lookup import load_bundle
from invcomp.model_zoo.catalogue import KNOWN_MODELS
from invcomp.perception.identity import Face
from invcomp.preprocessing.frame import FACE

MODELS = ("faces-1024", "faces-128")


def main() -> None:
    default = Face()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dlib", type=float, default=default.dlib)
    parser.add_argument("--mobile", type=float, default=default.mobile)
    arguments = parser.parse_args()
    face = Face(dlib=arguments.dlib, mobile=arguments.mobile)
    for name in MODELS:
        settings = replace(load_bundle(name).settings, face=face, frame=FACE)
        write_settings(KNOWN_MODELS[name].prepared, settings)
        print(f"{name}: {face}")


if __name__ == "__main__":
    main()
