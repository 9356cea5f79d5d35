"""Writes the network as ONNX. Numbers that float16 holds exactly are stored as float16.

A `Cast` at the start of the graph makes float32 of them, so that every runtime computes in float32;
runtimes do that once, when they load the file. Half-precision arithmetic would be as small a file,
but WebAssembly and CPUs have little of it.
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
from onnx import helper, numpy_helper

from ..errors import BundleError
from ..stored import one_line
from .network import IntegersToImage

OPSET = 18  # the exporter's own; onnxruntime-web runs it since 1.15
OUTPUT = "image"
SMALL = 1024  # values: smaller tensors, among them the q_steps, are not rounded


def onnx_bytes(network: IntegersToImage, half: bool = False) -> bytes:
    """The ONNX file of a network on the CPU.

    Args:
        network: in evaluation mode.
        half: round large tensors to float16, which halves the file where the bundle's weights
            are no float16 values already.

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
    """Stores tensors as float16 where that loses nothing, or if `half`."""
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            rounded = values.astype(np.float16)
        exact = np.array_equal(rounded.astype(np.float32), values)
        if values.size < SMALL or not (exact or (half and np.isfinite(rounded).all())):
            continue
        name, stored = tensor.name, f"{tensor.name}.half"
        tensor.CopyFrom(numpy_helper.from_array(rounded, stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


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
