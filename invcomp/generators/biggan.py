"""BigGAN-deep (Brock et al. 2019, arXiv:1809.11096, appendix B). Inference only.

A vector (z and the embedding of the class) makes the first 4 px and scales and shifts every batch
norm; here each block can have its own vector. Spectral norm is folded into the weights, and batch
norm has the statistics of one truncation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionError
from .base import NO_OFFSETS, Generator, InnerMap, LatentLayer, Offsets, enlarged, with_offset

SQUEEZE = 4  # a block's inner convolutions have this many times fewer channels than its input
MOST_BLOCKS = 64


class Norm(nn.Module):
    """Batch norm with fixed statistics."""

    mean: Tensor
    var: Tensor

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))

    def normalised(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same with mean 0 and variance 1."""
        return F.batch_norm(x, self.mean, self.var, eps=self.eps)


class ConditionalNorm(Norm):
    """Batch norm, then a scale and a shift that are linear in a vector."""

    def __init__(self, size: int, channels: int, eps: float) -> None:
        super().__init__(channels, eps)
        self.scale = nn.Linear(size, channels, bias=False)
        self.offset = nn.Linear(size, channels, bias=False)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """[N, C, H, W] and [N, size] to [N, C, H, W]."""
        scale: Tensor = 1 + self.scale(vector)  # [N, C]
        offset: Tensor = self.offset(vector)
        return self.normalised(x) * scale[:, :, None, None] + offset[:, :, None, None]


class PlainNorm(Norm):
    """Batch norm, then a scale and a shift of each channel."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__(channels, eps)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same."""
        x = self.normalised(x) * self.weight[:, None, None]
        return x + self.bias[:, None, None]


class Block(nn.Module):
    """A residual block with a bottleneck; its shortcut drops channels and repeats pixels."""

    def __init__(self, size: int, inputs: int, outputs: int, up: bool, eps: float) -> None:
        super().__init__()
        inner = inputs // SQUEEZE
        self.outputs, self.up = outputs, up
        self.bn_0 = ConditionalNorm(size, inputs, eps)
        self.conv_0 = nn.Conv2d(inputs, inner, 1)
        self.bn_1 = ConditionalNorm(size, inner, eps)
        self.conv_1 = nn.Conv2d(inner, inner, 3, padding=1)
        self.bn_2 = ConditionalNorm(size, inner, eps)
        self.conv_2 = nn.Conv2d(inner, inner, 3, padding=1)
        self.bn_3 = ConditionalNorm(size, inner, eps)
        self.conv_3 = nn.Conv2d(inner, outputs, 1)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """[N, inputs, R, R] and [N, size] to [N, outputs, R, R], or 2R if it enlarges."""
        around = x[:, : self.outputs]
        x = self.conv_0(F.relu(self.bn_0(x, vector)))
        x = F.relu(self.bn_1(x, vector))
        if self.up:
            x, around = (
                F.interpolate(each, scale_factor=2, mode="nearest") for each in (x, around)
            )
        x = self.conv_1(x)
        x = self.conv_2(F.relu(self.bn_2(x, vector)))
        x = self.conv_3(F.relu(self.bn_3(x, vector)))
        return x + around


class Attention(nn.Module):
    """Self-attention over pixels (Zhang et al. 2019, arXiv:1805.08318, section 3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.phi = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.g = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.o = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same; keys and values are pooled 2 x 2."""
        query = _rows(self.theta(x))
        key, value = _rows(F.max_pool2d(self.phi(x), 2)), _rows(F.max_pool2d(self.g(x), 2))
        seen = F.scaled_dot_product_attention(query, key, value, scale=1.0)  # [N, H W, C / 2]
        moved: Tensor = self.o(seen.transpose(1, 2).unflatten(2, x.shape[2:]))
        return x + self.gamma * moved


def _rows(x: Tensor) -> Tensor:
    """[N, C, H, W] to [N, H W, C]."""
    return x.flatten(2).transpose(1, 2)


class BigGAN(Generator):
    """BigGAN-deep of any size.

    Args:
        width: channels of the last block's output.
        blocks: for each, whether it doubles the size, and its input and output channels in widths;
            the last output is one width.
        attention: index of the block after the self-attention; None: no attention.
        classes: number of classes.
        z_size: length of z.
        embedding_size: length of a class's embedding.
        eps: of batch norm.
    """

    def __init__(
        self,
        width: int,
        blocks: Sequence[Sequence[int]],
        attention: int | None,
        classes: int,
        z_size: int = 128,
        embedding_size: int = 128,
        eps: float = 1e-4,
    ) -> None:
        super().__init__()
        self.width, self.attention_before, self.eps = width, attention, eps
        self.shape = tuple((bool(up), int(before), int(after)) for up, before, after in blocks)
        self.z_size, self.embedding_size, self.classes = z_size, embedding_size, classes
        self._check()
        size = self.shared_size = z_size + embedding_size
        self.embeddings = nn.Linear(classes, embedding_size, bias=False)  # of one-hot classes
        self.gen_z = nn.Linear(size, 16 * self.shape[0][1] * width)
        self.blocks = nn.ModuleList(
            Block(size, before * width, after * width, up, eps) for up, before, after in self.shape
        )
        if attention is not None:
            self.attention = Attention(self.shape[attention][1] * width)
        self.bn = PlainNorm(width, eps)
        self.conv_to_rgb = nn.Conv2d(width, 3, 3, padding=1)
        names = ["4px.input"]
        self.resolution = 4
        for index, (up, _, _) in enumerate(self.shape):
            self.resolution *= 2 if up else 1
            names.append(f"{self.resolution}px.block{index}")
        self.layers = tuple(LatentLayer(name, (size,)) for name in names)
        sizes = [int(name.split("px")[0]) for name in names[1:-1]]
        last = {size: index for index, size in enumerate(sizes)}  # of several blocks, the last
        self.last_of_size = tuple(last.values())
        self.inner_maps = tuple(
            InnerMap(size, self.shape[index][2] * width) for size, index in last.items()
        )

    def _check(self) -> None:
        widths = [before for _, before, _ in self.shape] + [1]
        follows = widths[1:] == [after for _, _, after in self.shape]
        if not self.shape or not follows or min(widths) < 1:
            raise OptionError(f"blocks {[list(block) for block in self.shape]}: not a BigGAN")
        if len(self.shape) > MOST_BLOCKS or not 0 < self.eps < 1:
            raise OptionError(f"{len(self.shape)} blocks, eps {self.eps}: not a BigGAN")
        enlarged(4, sum(up for up, _, _ in self.shape))
        if min(self.z_size, self.embedding_size, self.classes) < 1:
            raise OptionError("a BigGAN needs z, classes and a class embedding")
        if any(after > before for _, before, after in self.shape) or self.width < SQUEEZE:
            raise OptionError("a BigGAN's channels never grow, and its width is at least 4")
        if self.attention_before is not None and not 0 <= self.attention_before < len(self.shape):
            raise OptionError(f"attention before block {self.attention_before}: no such block")

    def options(self) -> dict[str, Any]:
        """See `Generator.options`."""
        return {
            "width": self.width,
            "blocks": [list(block) for block in self.shape],
            "attention": self.attention_before,
            "classes": self.classes,
            "z_size": self.z_size,
            "embedding_size": self.embedding_size,
            "eps": self.eps,
        }

    def sample(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        """See `Generator.sample`: z and the class's embedding, [N, shared_size]."""
        if classes is None:
            raise ValueError("a class-conditional generator needs classes")
        return torch.cat([z, self.embeddings.weight[:, classes].T.to(z.dtype)], 1)

    def forward(self, latents: Tensor, offsets: Offsets = NO_OFFSETS) -> Tensor:
        """See `Generator.forward`."""
        first, *others = latents.unflatten(1, (len(self.layers), -1)).unbind(1)
        x: Tensor = self.gen_z(first).view(len(first), 4, 4, -1).permute(0, 3, 1, 2)
        for index, (block, vector) in enumerate(zip(self.blocks, others, strict=True)):
            if index == self.attention_before:
                x = self.attention(x)
            x = block(x, vector)
            if index in self.last_of_size:
                x = with_offset(x, offsets)
        image: Tensor = self.conv_to_rgb(F.relu(self.bn(x)))
        return image.tanh()
