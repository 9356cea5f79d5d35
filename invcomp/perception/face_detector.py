"""MediaPipe's face detector for short range, BlazeFace (Bazarevsky et al., 2019).

It looks at a square of 128 px. It finds faces that are 15% to 100% as wide, turned by up to 90
degrees in the plane.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 128  # px of its input
# channels of the blocks; a block whose place is in HALVING halves the map
WIDTHS = (24, 24, 28, 32, 36, 42, 48, 56, 64, 72, 80, 88, 96, 96, 96, 96, 96)
HALVING = (2, 5, 11)
FINE_BLOCKS = 11  # after so many, the map is 16 x 16
ANCHORS = ((16, 2), (8, 6))  # map size, anchors at each of its places
VALUES = 16  # of an anchor: centre, size, six points


class BlazeBlock(nn.Module):
    """A depth-wise and a 1x1 convolution with a shortcut, then a non-linearity.

    Args:
        inputs: channels.
        outputs: channels; the shortcut of those beyond `inputs` is zero.
        halved: the map is halved, the shortcut by its maxima.
        activation: applied to the sum.
    """

    def __init__(self, inputs: int, outputs: int, halved: bool, activation: nn.Module) -> None:
        super().__init__()
        self.halved, self.added = halved, outputs - inputs
        # TensorFlow pads maps that are halved at the end only
        self.margin = (0, 1, 0, 1) if halved else (1, 1, 1, 1)
        stride = 2 if halved else 1
        self.depth = nn.Conv2d(inputs, inputs, 3, stride, groups=inputs, bias=False)
        self.point = nn.Conv2d(inputs, outputs, 1)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H, W], or half of H and W."""
        y = self.point(self.depth(F.pad(x, self.margin)))
        if self.halved:
            x = F.max_pool2d(x, 2)
        found: Tensor = self.activation(F.pad(x, (0, 0, 0, 0, 0, self.added)) + y)
        return found


class FaceDetector(nn.Module):
    """Scores, boxes and points of 896 anchors."""

    anchors: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 5, 2)
        self.blocks = nn.ModuleList(
            BlazeBlock(inputs, outputs, index in HALVING, nn.ReLU())
            for index, (inputs, outputs) in enumerate(pairwise(WIDTHS))
        )
        channels = (WIDTHS[FINE_BLOCKS], WIDTHS[-1])
        heads = [(width, count) for width, (_, count) in zip(channels, ANCHORS, strict=True)]
        self.scores = nn.ModuleList(nn.Conv2d(width, count, 1) for width, count in heads)
        self.values = nn.ModuleList(nn.Conv2d(width, VALUES * count, 1) for width, count in heads)
        centres = [_centres(size, count) for size, count in ANCHORS]
        self.register_buffer("anchors", torch.cat(centres), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [N, 3, 128, 128], RGB in [-1, 1], to candidates.

        Returns:
            Scores [N, 896] in 0..1, and points [N, 896, 8, 2], x and y in sides of the image:
            centre and size of the box, then the eyes (first the one on the left of an upright
            image), nose, mouth and ears.
        """
        scores, values = self.raw(images)
        points = values.unflatten(2, (VALUES // 2, 2)) / SIZE
        is_place = torch.arange(VALUES // 2, device=images.device)[:, None] != 1
        return scores.sigmoid(), points + self.anchors[:, None] * is_place

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`: the network's own logits [N, 896] and values [N, 896, 16]."""
        x, maps = F.relu(self.stem(F.pad(images, (1, 2, 1, 2)))), []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index + 1 in (FINE_BLOCKS, len(self.blocks)):
                maps.append(x)
        scores = [_by_anchor(head(x), 1) for head, x in zip(self.scores, maps, strict=True)]
        values = [_by_anchor(head(x), VALUES) for head, x in zip(self.values, maps, strict=True)]
        return torch.cat(scores, 1)[..., 0], torch.cat(values, 1)


def _by_anchor(x: Tensor, size: int) -> Tensor:
    """A map [N, anchors * size, H, W] to [N, H * W * anchors, size]."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, size)


def _centres(size: int, count: int) -> Tensor:
    """Centres of the anchors of a map, in sides of the image: [size * size * count, 2]."""
    middles = (torch.arange(size) + 0.5) / size
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2).repeat_interleave(count, 0)


def names_in_human_models() -> dict[str, str]:
    """Names in human-models' `facemesh-detection-short` of all `FaceDetector` weights."""
    names = {"stem.weight": "conv2d/Conv2D_weights", "stem.bias": "conv2d/Conv2D_bn_offset"}
    for index in range(len(WIDTHS) - 1):
        ours, conv = f"blocks.{index}", f"conv2d_{index + 1}/Conv2D"
        depth = f"depthwise_conv2d_{index}" if index else "depthwise_conv2d"
        names[f"{ours}.depth.weight"] = f"{depth}/depthwise/ReadVariableOp"
        names[f"{ours}.point.weight"] = f"{conv}_weights"
        names[f"{ours}.point.bias"] = f"{conv}_bn_offset"
    for index, (size, _) in enumerate(ANCHORS):
        for ours, theirs in (("scores", "classificator"), ("values", "regressor")):
            head = f"{theirs}_{8 if size == 16 else 16}"
            names[f"{ours}.{index}.weight"] = f"{head}/Conv2D/ReadVariableOp"
            names[f"{ours}.{index}.bias"] = f"{head}/BiasAdd/ReadVariableOp"
    return {ours: f"StatefulPartitionedCall/model/{theirs}" for ours, theirs in names.items()}
