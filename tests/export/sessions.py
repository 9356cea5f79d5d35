"""Runs an exported folder as another program would: from its files, with onnxruntime alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invcomp.bitstream import IvcFile, decode
from invcomp.decoder import Decoder
from invcomp.entropy.detail import MapShape

Image = NDArray[np.int64]


def images_of(folder: Path, files: list[bytes], decoder: Decoder) -> list[Image]:
    """The images that the network makes of the integers of .ivc files."""
    import onnxruntime

    manifest = json.loads((folder / "manifest.json").read_text())
    session = onnxruntime.InferenceSession(folder / "network.onnx")
    found = []
    for data in files:
        values = inputs_of(data, decoder)
        given = {
            each["name"]: np.array(values[each["name"]], np.int32).reshape(each["shape"])
            for each in manifest["inputs"]
        }
        found.append(np.asarray(session.run(["image"], given)[0]).astype(np.int64))
    return found


def inputs_of(data: bytes, decoder: Decoder) -> dict[str, Any]:
    file = IvcFile.unpack(data)
    decoded = decode(file, decoder.bundle.entropy)
    values: dict[str, Any] = {
        "integers": decoded.integers,
        "step_index": [file.step_index],
        "class_index": [decoded.class_index],
    }
    detail, start = decoder.detail_of(file), 0
    shapes: tuple[MapShape, ...] = ()
    if decoder.bundle.detail is not None:
        shapes = decoder.bundle.detail.model.shapes
    for shape in shapes:
        assert detail is not None
        values[f"detail_{shape.size}"] = detail[start : start + shape.count]
        start += shape.count
    return values
