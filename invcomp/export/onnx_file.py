"""Writes the network as ONNX. Numbers that float16 holds exactly are stored as float16.

A `Cast` at the start of the graph makes float32 of them, so that every runtime computes in float32;
runtimes do that once, when they load the file. So it is with int8, which a `Mul` scales; a
`DequantizeLinear` would be computed for every image. Half-precision arithmetic would be as small a
file, but WebAssembly and CPUs have little of it.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ..errors import BundleError
from ..stored import one_line
from .network import IntegersToImage

OPSET = 18  # the exporter's own; onnxruntime-web runs it since 1.15
OUTPUT = "image"
SMALL = 1024  # values: smaller tensors, among them the q_steps, are not rounded
LARGE = 1 << 17  # values: if anything is rounded, these tensors are int8, with a scale for each row


def onnx_bytes(network: IntegersToImage, half: bool = False) -> bytes:
    """The ONNX file of a network on the CPU.

    Args:
        network: in evaluation mode.
        half: round large tensors to float16 and the largest to int8, which makes a smaller file
            where the bundle's weights are no float16 values already.

    Raises:
        BundleError: the exporter cannot write such a generator.
    """
    inputs = network.inputs()
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                network,
                tuple(inputs.values()),
                input_names=[*inputs],
                output_names=[OUTPUT],
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter's are of many kinds
        kind = type(network.generator).__name__
        raise BundleError(f"a {kind} cannot be written as ONNX ({one_line(error)})") from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    _strip(model)
    _compact(model.graph, half)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _strip(model: onnx.ModelProto) -> None:
    """Removes notes of the exporter, which name the source files of this machine."""
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    model.doc_string = model.graph.doc_string = ""
    for part in (*model.graph.node, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]


def _compact(graph: onnx.GraphProto, half: bool) -> None:
    """Stores tensors as float16 where that loses nothing, or if `half`; the largest as int8."""
    nodes: list[onnx.NodeProto] = []
    for tensor in list(graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            rounded = values.astype(np.float16)
        exact = np.array_equal(rounded.astype(np.float32), values)
        if values.size < SMALL or not (exact or (half and np.isfinite(rounded).all())):
            continue
        if exact or not _suits_8_bits(values):
            tensor.CopyFrom(numpy_helper.from_array(rounded, f"{name}.half"))
            nodes.append(helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
            continue
        codes, scales = _in_8_bits(values)
        tensor.CopyFrom(numpy_helper.from_array(codes, f"{name}.codes"))
        graph.initializer.append(numpy_helper.from_array(scales, f"{name}.scales"))
        cast = f"{name}.unscaled"
        nodes.append(helper.make_node("Cast", [tensor.name], [cast], to=onnx.TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [cast, f"{name}.scales"], [name]))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)


def _suits_8_bits(values: NDArray[np.float32]) -> bool:
    """Whether it is large, and neither noise nor a point-wise convolution, which 8 bits change."""
    return values.size >= LARGE and len(values) > 1 and values.shape[-1] > 1


def _in_8_bits(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Codes, and a scale for each row of the first dimension."""
    largest = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True)
    scales = np.maximum(largest / 127, np.finfo(np.float32).tiny)
    return np.rint(values / scales).astype(np.int8), scales.astype(np.float32)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes: where it fails, its exception says why."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
