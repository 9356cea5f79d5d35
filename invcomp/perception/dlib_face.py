"""dlib's face recognition ResNet: describes a face by 128 numbers.

King 2017, "High quality face recognition with deep metric learning" (dlib's blog); the network is
`dlib_face_recognition_resnet_model_v1`. dlib's scale and offset of channels are folded into the
convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 150  # px of the face chip
MEANS = (122.782, 117.001, 104.298)  # of RGB in 0..255
# residual blocks: channels, and whether the block halves the map
BLOCKS = (
    *[(32, False)] * 3,
    (64, True),
    *[(64, False)] * 3,
    (128, True),
    *[(128, False)] * 2,
    (256, True),
    *[(256, False)] * 2,
    (256, True),
)


class _Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut, which is average-pooled if the map is halved."""

    def __init__(self, inputs: int, outputs: int, halved: bool) -> None:
        super().__init__()
        self.halved, self.added = halved, outputs - inputs
        stride, padding = (2, 0) if halved else (1, 1)
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(F.relu(self.first(x)))
        if self.halved:
            x = F.avg_pool2d(x, 2)
            # without padding, the convolution's map may be one smaller; dlib pads with zeros
            y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
            x = F.pad(x, (0, 0, 0, 0, 0, self.added))
        return F.relu(x + y)


class DlibFace(nn.Module):
    """Maps face chips to descriptors.

    Descriptors of one person are about 0.2 to 0.5 apart, those of two people more than 0.6, which
    is dlib's own limit.
    """

    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        offset = (127.5 - torch.tensor(MEANS)[:, None, None]) / 256
        self.register_buffer("offset", offset, persistent=False)
        self.stem = nn.Conv2d(3, 32, 7, 2)
        inputs, blocks = 32, []
        for outputs, halved in BLOCKS:
            blocks.append(_Residual(inputs, outputs, halved))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(inputs, 128, bias=False)

    def forward(self, chips: Tensor) -> Tensor:
        """Chips [N, 3, 150, 150], RGB in [-1, 1], to descriptors [N, 128]."""
        x = chips * (127.5 / 256) + self.offset
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2)
        found: Tensor = self.linear(self.blocks(x).mean((2, 3)))
        return found


def names_in_face_api() -> dict[str, str]:
    """The name of each convolution of `DlibFace` in face-api's `face_recognition_model`."""
    names, count, before = {"stem": "conv32_down"}, dict[int, int](), 32
    for index, (channels, halved) in enumerate(BLOCKS):
        if halved:
            block = f"conv{channels}_down" + ("_out" if channels == before else "")
        else:
            count[channels] = count.get(channels, 0) + 1
            block = f"conv{channels}_{count[channels]}"
        before = channels
        names[f"blocks.{index}.first"] = f"{block}/conv1"
        names[f"blocks.{index}.second"] = f"{block}/conv2"
    return names


def unpacked(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of `DlibFace` from the shipped 8-bit weights, w = codes * step + least.

    Args:
        stored: for every layer "codes", uint8 in the weight's shape, "step" and "least", float32
            [out]; for a convolution also "bias".

    Raises:
        KeyError: something is missing.
    """
    state = {}
    for layer in (*names_in_face_api(), "linear"):
        codes = stored[f"{layer}.codes"].float()
        by_channel = (-1, *[1] * (codes.ndim - 1))
        step, least = (stored[f"{layer}.{part}"].view(by_channel) for part in ("step", "least"))
        state[f"{layer}.weight"] = codes * step + least
        if layer != "linear":
            state[f"{layer}.bias"] = stored[f"{layer}.bias"]
    return state
