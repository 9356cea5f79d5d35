"""The generator in fewer passes makes the same maps."""

from pathlib import Path

import pytest
import torch

from invcomp.export.streamlined import StreamlinedBlock, streamlined
from invcomp.generators import DCGAN
from invcomp.generators.base import normal
from invcomp.generators.mobile_stylegan import Block

from ..tiny import tiny_bundle


def test_a_block_makes_the_same_map() -> None:
    block = Block(style=6, inputs=8, outputs=5, resolution=16).eval()
    with torch.no_grad():
        for seed, parameter in enumerate(block.parameters()):
            parameter.copy_(normal(1, parameter.numel(), seed=seed).view(parameter.shape))
        x = normal(1, 8 * 64, seed=100).view(1, 8, 8, 8)
        styles = list(normal(3, 6, seed=101).split(1))
        expected, found = block(x, styles), StreamlinedBlock(block)(x, styles)
    assert block.conv2.noise.min() < 0 < block.conv2.noise.max()
    assert found.shape == expected.shape == (1, 5, 16, 16)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_the_generator_itself_stays_as_it_is() -> None:
    generator = tiny_bundle().generator
    latents = generator.spread(generator.sample(normal(1, 32, seed=1)))
    before = generator(latents)
    made = streamlined(generator)(latents)
    assert torch.equal(generator(latents), before)
    assert (made - before).abs().max() < 1e-4 * before.abs().max()
    assert not any(isinstance(each, StreamlinedBlock) for each in generator.modules())


def test_the_runtime_has_no_activation_of_its_own_to_compute(tmp_path: Path) -> None:
    """Each LeakyRelu of a map follows its convolution at once, which is what runtimes fuse."""
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    from invcomp.export import NETWORK, export_bundle

    export_bundle(tiny_bundle(), tmp_path)
    graph = onnx.load(tmp_path / NETWORK).graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    parameters = {each.name for each in graph.initializer}
    activations = [node for node in graph.node if node.op_type == "LeakyRelu"]
    moving = [node for node in activations if node.input[0] not in parameters]
    blocks = len(tiny_bundle().generator.blocks)
    fused = [node for node in moving if makers[node.input[0]] == "Conv"]
    assert len(fused) >= 2 * blocks


def test_other_generators_have_the_same_layers() -> None:
    generator = DCGAN((16, 8, 4))
    copied = streamlined(generator)
    assert copied is not generator
    assert [type(each) for each in copied.modules()] == [type(each) for each in generator.modules()]
