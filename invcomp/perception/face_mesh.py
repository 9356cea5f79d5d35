"""MediaPipe's face mesh (Kartynnik et al., 2019): 468 points of a face, and whether it is one."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import BundleError
from ..model_zoo.catalogue import pretrained_path
from .face_detector import BlazeBlock, FaceDetector

SIZE = 192  # px of its input
POINTS = 468
WIDTHS = (16, 16, 16, 32, 32, 32, 64, 64, 64, 128, 128, 128, 128, 128, 128)
HALVING = (2, 5, 8, 11)
INNER = 32  # channels before the last convolution


def _block(inputs: int, outputs: int, halved: bool = False) -> BlazeBlock:
    return BlazeBlock(inputs, outputs, halved, nn.PReLU(outputs))


def _head(blocks: int, outputs: int) -> nn.Sequential:
    """`blocks` blocks, the first of which halves the map, then a map of 3 x 3 to numbers."""
    width = WIDTHS[-1]
    return nn.Sequential(
        *(_block(width, width, index == 0) for index in range(blocks)),
        nn.Conv2d(width, INNER, 1),
        nn.PReLU(INNER),
        _block(INNER, INNER),
        nn.Conv2d(INNER, outputs, 3),
        nn.Flatten(),
    )


class FaceMesh(nn.Module):
    """Points of the face in a square that is some 1.5 times its size, its eyes level."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.slope = nn.Conv2d(3, WIDTHS[0], 3, 2), nn.PReLU(WIDTHS[0])
        self.blocks = nn.Sequential(
            *(
                _block(inputs, outputs, index in HALVING)
                for index, (inputs, outputs) in enumerate(pairwise(WIDTHS))
            )
        )
        self.points, self.presence = _head(3, 3 * POINTS), _head(1, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [N, 3, 192, 192], RGB in [0, 1], to meshes.

        Returns:
            Points [N, 468, 3] in pixels (z, the depth, grows away from the camera), and the
            probability of a face, [N].
        """
        x = self.blocks(self.slope(self.stem(F.pad(images, (0, 1, 0, 1)))))
        return self.points(x).unflatten(1, (POINTS, 3)), self.presence(x).sigmoid()[:, 0]


class FaceNetworks(nn.Module):
    """The detector and the mesh, which ship in one file."""

    def __init__(self) -> None:
        super().__init__()
        self.detector, self.mesh = FaceDetector(), FaceMesh()


def load_face_networks() -> FaceNetworks:
    """Both networks from the shipped file, frozen.

    Raises:
        BundleError: the file is missing or damaged.
    """
    path = pretrained_path("face-mesh.safetensors")
    networks = FaceNetworks()
    try:
        stored = load_file(path)
        networks.load_state_dict({name: value.float() for name, value in stored.items()})
    except (SafetensorError, OSError, RuntimeError) as error:
        raise BundleError(f"{path} does not contain the networks: {error}") from error
    return networks.eval().requires_grad_(False)


def names_in_human_models() -> dict[str, str]:
    """Names in human-models' `facemesh` of all `FaceMesh` weights."""
    names = {"stem.weight": "conv2d_1/Conv2D_weights", "stem.bias": "conv2d_1/Conv2D_bn_offset"}
    names["slope.weight"] = "p_re_lu_1/Neg"

    def add_block(ours: str, depth: int, conv: int, slope: int) -> None:
        names[f"{ours}.depth.weight"] = f"depthwise_conv2d_{depth}/depthwise/ReadVariableOp"
        names[f"{ours}.point.weight"] = f"conv2d_{conv}/Conv2D_weights"
        names[f"{ours}.point.bias"] = f"conv2d_{conv}/Conv2D_bn_offset"
        names[f"{ours}.activation.weight"] = f"p_re_lu_{slope}/Neg"

    for index in range(len(WIDTHS) - 1):
        add_block(f"blocks.{index}", index + 1, index + 2, index + 2)
    # first depth-wise convolution, convolution and slope of each head
    for head, blocks, depth, conv, slope in (
        ("points", 3, 15, 16, 16),
        ("presence", 1, 23, 28, 26),
    ):
        for index in range(blocks):
            add_block(f"{head}.{index}", depth + index, conv + index, slope + index)
        names[f"{head}.{blocks}.weight"] = f"conv2d_{conv + blocks}/Conv2D_weights"
        names[f"{head}.{blocks}.bias"] = f"conv2d_{conv + blocks}/Conv2D_bn_offset"
        names[f"{head}.{blocks + 1}.weight"] = f"p_re_lu_{slope + blocks}/Neg"
        add_block(f"{head}.{blocks + 2}", depth + blocks, conv + blocks + 1, slope + blocks + 1)
        last = f"conv2d_{conv + blocks + 2}"
        names[f"{head}.{blocks + 3}.weight"] = f"{last}/Conv2D/ReadVariableOp"
        names[f"{head}.{blocks + 3}.bias"] = f"{last}/BiasAdd/ReadVariableOp"
    return {ours: f"StatefulPartitionedCall/model_1/{theirs}" for ours, theirs in names.items()}
