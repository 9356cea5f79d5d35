"""MobileFace, a small face recognition network (becauseofAI 2018) with 256 outputs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 112  # px of the face chip
STAGES = ((32, 32), (32, 32), (32, 64), (64, 128))  # channels in and out
PLACES = 4  # the last map is 4 x 4


class _DepthWise(nn.Module):
    """A depth-wise 3x3 convolution, then PReLU."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride, 0, groups=channels, bias=False)
        self.slope = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.slope(self.conv(F.pad(x, (1, 1, 1, 1))))
        return found


class _Stage(nn.Module):
    """Halves the map, then adds a residual of two depth-wise convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.down = _DepthWise(outputs, 2)
        self.first, self.second = _DepthWise(outputs, 1), _DepthWise(outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(self.mix(x))
        found: Tensor = x + self.second(self.first(x))
        return found


class MobileFace(nn.Module):
    """Maps face chips to descriptors."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2, 1, bias=False)
        self.slope = nn.PReLU(32)
        self.stages = nn.Sequential(*(_Stage(*channels) for channels in STAGES))
        self.linear = nn.Linear(STAGES[-1][1] * PLACES**2, 256)

    def forward(self, chips: Tensor) -> Tensor:
        """Chips [N, 3, 112, 112], RGB in [-1, 1], to descriptors [N, 256] of length 1."""
        x = self.stages(self.slope(self.stem(chips)))
        return F.normalize(self.linear(x.permute(0, 2, 3, 1).flatten(1)).float())


def names_in_human_models() -> dict[str, str]:
    """Names in human-models' `mobileface` of all `MobileFace` weights but the last layer's."""
    names = {"stem.weight": "conv1_weight", "slope.weight": "prelu1_gamma"}
    for index in range(len(STAGES)):
        unit, ours = f"stage{index + 1}_unit1", f"stages.{index}"
        names[f"{ours}.mix.weight"] = f"{unit}_conv0_0_weight"
        for slope, (name, conv) in enumerate(
            (("down", "conv0_1"), ("first", "conv1"), ("second", "conv2"))
        ):
            names[f"{ours}.{name}.conv.weight"] = f"{unit}_{conv}_df"
            names[f"{ours}.{name}.slope.weight"] = f"{unit}_prelu{slope}_gamma"
    return names
