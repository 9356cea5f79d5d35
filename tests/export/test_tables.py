"""The exported tables are all that a decoder of integers needs."""

import json

import numpy as np
import pytest

from invcomp.bitstream import DETAIL, IvcFile, encode

from ..bitstream import reference
from ..tiny import tiny_conditional_bundle, tiny_detailed_bundle

for module in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(module, reason="needs the extra onnx")

from invcomp.export.tables import tables_of  # noqa: E402

from .test_folder import random_files  # noqa: E402


def test_the_reference_decoder_reads_files_by_them() -> None:
    bundle = tiny_conditional_bundle()
    tables = json.loads(json.dumps(tables_of(bundle)))
    integers = np.arange(-12, 12)
    data = encode(integers, 40, bundle.entropy, bundle.fingerprint[:4], class_index=2)
    found = reference.decode_file(data, tables)
    assert (found["integers"], found["class"]) == (integers.tolist(), 2)


def test_the_reference_decoder_reads_details_by_them() -> None:
    bundle = tiny_detailed_bundle()
    assert bundle.detail is not None
    tables = json.loads(json.dumps(tables_of(bundle)))["detail"]
    layer = IvcFile.unpack(random_files(bundle)[0]).layer(DETAIL)
    assert layer is not None
    payload = bundle.detail.unpack(layer)
    assert payload is not None
    assert layer[:2].hex() == tables["digest"]
    maps = reference.decode_detail(payload, 40, tables)
    flat = np.concatenate([np.array(each).ravel() for each in maps])
    assert (flat == bundle.detail.model.decode(payload, 40)).all()
