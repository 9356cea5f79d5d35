"""Compares our port of dlib's face recognition network with dlib itself.

    pip install dlib-bin==20.0.1.post1
    pip download --no-deps --no-binary :all: face-recognition-models==0.3.0
    python scripts/benchmarks/check_identity.py face_recognition_models-0.3.0.tar.gz [PORTRAITS...]

The archive is read as a tar file; nothing in it is executed. Writes dlib's descriptor of the
portrait that ships to tests/perception/dlib_descriptor.json, for the tests of the port. Prints the
distance between both networks on that portrait and on others (aligned, 1024 px).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tarfile
import tempfile
from pathlib import Path

import dlib
import numpy as np
import torch
from PIL import Image

from invcomp.perception.dlib_face import SIZE
from invcomp.perception.identity import FFHQ_CHIP, load_dlib_face

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "pretrained" / "portrait.jpg"
EXPECTED = ROOT / "tests" / "perception" / "dlib_descriptor.json"
SHA256 = "b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf"
MEMBER = (
    "face_recognition_models-0.3.0/face_recognition_models/models/"
    "dlib_face_recognition_resnet_model_v1.dat"
)


def chip_of(path: Path) -> Image.Image:
    """The face of an aligned portrait as both networks see it: RGB, 150 px."""
    with Image.open(path) as image:
        side = image.width
        box = tuple(round(place * side) for place in FFHQ_CHIP)
        return image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BOX, box)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("portraits", type=Path, nargs="*")
    arguments = parser.parse_args()
    if hashlib.sha256(arguments.archive.read_bytes()).hexdigest() != SHA256:
        parser.error(f"{arguments.archive}: not the pinned archive")
    with tempfile.TemporaryDirectory() as folder, tarfile.open(arguments.archive) as tar:
        member = tar.extractfile(MEMBER)
        assert member is not None
        model = Path(folder) / "model.dat"
        model.write_bytes(member.read())
        theirs = dlib.face_recognition_model_v1(str(model))
    ours, distances = load_dlib_face(), []
    for path in (SHIPPED, *arguments.portraits):
        chip = np.array(chip_of(path))
        expected = np.array(theirs.compute_face_descriptor(chip))
        if path == SHIPPED:
            EXPECTED.write_text(json.dumps([round(float(x), 5) for x in expected]) + "\n")
        pixels = torch.from_numpy(chip).permute(2, 0, 1)[None] / 127.5 - 1
        with torch.inference_mode():
            found = ours(pixels)[0].numpy()
        distances.append(float(np.linalg.norm(found - expected)))
        print(f"{path.name}: {distances[-1]:.4f} apart")
    print(f"{len(distances)} chips: mean {np.mean(distances):.4f}, most {max(distances):.4f}")


if __name__ == "__main__":
    main()
