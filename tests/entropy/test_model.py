"""A second entropy model beside the mixture: in the container, in files, in the codec."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from invcomp.bitstream import IvcFile, Layer, decode, encode
from invcomp.codec import Codec
from invcomp.errors import BitstreamError
from invcomp.inversion.options import SearchOptions
from invcomp.inversion.quantiser import Optimum, Quantiser
from invcomp.preprocessing.frame import from_tensor

from ..tiny import tiny_bundle
from .uniform import LARGEST, Uniform


@given(st.lists(st.integers(-LARGEST, LARGEST), min_size=1, max_size=40), st.integers(0, 255))
def test_the_container_asks_the_model_for_a_payload_and_gives_it_one(
    values: list[int], step_index: int
) -> None:
    model = Uniform(len(values))
    data = encode(np.array(values), step_index, model, b"abcd")
    file = IvcFile.unpack(data)
    assert file.payloads == (model.encode(np.array(values), step_index),)
    assert decode(file, model).integers.tolist() == values
    for first in range(10, len(data)):
        found = decode(IvcFile.unpack(data, first), model).integers
        settled = 2 * (first - 10)
        assert found[:settled].tolist() == values[:settled]
        assert not found[settled:].any()


def test_two_models_in_one_file() -> None:
    """The mixture's coordinates, and a layer of another model's."""
    mixture, other = tiny_bundle().entropy, Uniform(5)
    offsets, values = np.array([3, -7, 0, 1, 2]), np.arange(64) % 4
    payload = mixture.encode(values, 60)
    layer = Layer(9, other.encode(offsets, 60))
    file = IvcFile.unpack(IvcFile(b"abcd", 60, (payload,), None, (layer,)).pack())
    assert decode(file, mixture).integers.tolist() == values.tolist()
    assert other.decode(file.layers[0].payload, 60).integers.tolist() == offsets.tolist()


def test_only_the_mixture_has_files_of_version_1() -> None:
    file = IvcFile(b"abcd", 60, (b"", b""), version=1)
    with pytest.raises(BitstreamError, match="no files of version 1"):
        decode(file, Uniform(64))


def test_one_class_takes_no_bits() -> None:
    assert (Uniform(4).classes, Uniform(4).class_bits) == (1, 0.0)


def test_a_file_is_trimmed_by_any_models_code_lengths() -> None:
    quantiser = Quantiser(Uniform(20), b"abcd")
    optimum = Optimum(np.linspace(5, 1, 20), 0)
    assert (quantiser.least, len(quantiser.file(optimum, 0))) == (10, 20)
    data = quantiser.trimmed(optimum, 0, 15)
    assert len(data) <= 15
    integers = decode(IvcFile.unpack(data), Uniform(20)).integers
    assert integers.any()
    assert not integers[10:].any()


def test_a_bundle_with_another_model_compresses_and_decompresses() -> None:
    bundle = replace(tiny_bundle(), entropy=Uniform(64))
    assert bundle.fingerprint != tiny_bundle().fingerprint
    codec = Codec(bundle, "cpu", compiled=False)
    coordinates = bundle.candidates[:1]
    with torch.no_grad():
        image = from_tensor(codec.decoder.generator(bundle.coordinates.latents(coordinates)))
    options = SearchOptions(iterations=20, starts=1)
    (encoded,) = codec.encode([image], q_step=0.4, search=options)
    integers = decode(IvcFile.unpack(encoded.data), bundle.entropy).integers
    assert integers.any()
    assert encoded.data == encode(integers, encoded.data[7], bundle.entropy, bundle.fingerprint[:4])
    assert codec.decompress(encoded.data) == encoded.decoded
