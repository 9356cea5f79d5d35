"""Holds an exported network against torch, on images of the bundle's prior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bundle import Bundle
from ..device import default_modes
from ..entropy.density import q_step_of
from ..errors import BundleError
from ..generators.base import normal
from ..stored import one_line
from .network import IntegersToImage

IMAGES = 3
LARGEST = 1  # difference of a value of 0..255 without rounded weights


@dataclass(frozen=True)
class Difference:
    """Between the images of the file and those of torch, in values of 0..255.

    Attributes:
        largest: of any value of any pixel.
        mean: of all.
        images: how many were compared.
    """

    largest: int
    mean: float
    images: int


def difference(data: bytes, network: IntegersToImage, bundle: Bundle) -> Difference:
    """Compares an ONNX file with its network.

    Raises:
        BundleError: onnxruntime cannot run the file.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    found: list[NDArray[np.int64]] = []
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        for seed in range(IMAGES):
            inputs = drawn(network, bundle, seed)
            given = {name: value.numpy() for name, value in inputs.items()}
            ours = np.asarray(session.run(None, given)[0]).astype(np.int64)
            with default_modes(torch.device("cpu")), torch.no_grad():
                theirs = network(*inputs.values()).numpy().astype(np.int64)
            found.append(np.abs(ours - theirs))
    except Exception as error:  # onnxruntime's have no common base
        raise BundleError(f"onnxruntime cannot run the network ({one_line(error)})") from error
    largest, mean = max(int(each.max()) for each in found), float(np.mean(found))
    return Difference(largest, round(mean, 4), IMAGES)


def drawn(network: IntegersToImage, bundle: Bundle, seed: int) -> dict[str, Tensor]:
    """Inputs of a random image of the prior at the default quality, with a detail if there is one.

    Args:
        network: of the bundle.
        bundle: whose prior.
        seed: of the image; the class is this number, too.
    """
    step_index = bundle.settings.step_index(bundle.settings.default_quality)
    found, q_step = network.inputs(), q_step_of(step_index)
    deviations = [bundle.coordinates.deviations.float()]
    if bundle.detail is not None:
        sizes = [each.shape.count for each in bundle.detail.maps]
        deviations += bundle.detail.deviations().float().split(sizes)
    parts = [name for name in found if name not in ("step_index", "class_index")]
    for index, (name, deviation) in enumerate(zip(parts, deviations, strict=True)):
        values = normal(1, len(deviation), seed=100 * seed + index) * deviation / q_step
        found[name] = values.round().to(torch.int32).view_as(found[name])
    found["step_index"][:] = step_index
    if "class_index" in found:
        found["class_index"][:] = seed % network.classes
    return found
