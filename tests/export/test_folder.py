"""Exported networks make the images that the decoder makes."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from invcomp.bitstream import DETAIL, Layer, encode
from invcomp.bundle import Bundle
from invcomp.decoder import Decoder
from invcomp.errors import BundleError, OutputError
from invcomp.lookup import load_bundle

from ..tiny import tiny_bundle, tiny_conditional_bundle, tiny_detailed_bundle

for module in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(module, reason="needs the extra onnx")

from invcomp.export import export_bundle  # noqa: E402

from .sessions import images_of  # noqa: E402

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def random_files(bundle: Bundle, count: int = 2) -> list[bytes]:
    """Files of random integers: with a class, and with a detail, where the bundle has them."""
    files = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        integers = random.integers(-9, 10, bundle.coordinates.count)
        layers = []
        if bundle.detail is not None:
            count = bundle.detail.count
            sparse = random.integers(-3, 4, count) * (random.random(count) < 0.2)
            payload = bundle.detail.model.encode(sparse, 40)
            layers = [Layer(DETAIL, bundle.detail.pack(payload))]
        class_index = min(seed + 1, bundle.coordinates.classes - 1)
        fixed = 40, bundle.entropy, bundle.fingerprint[:4]
        files.append(encode(integers, *fixed, class_index=class_index, layers=layers))
    return files


def assert_equal_images(bundle: Bundle, folder: Path, files: list[bytes], most: int = 1) -> None:
    decoder = Decoder(bundle, "cpu")
    for ours, data in zip(images_of(folder, files, decoder), files, strict=True):
        theirs = np.array(decoder.decompress(data), np.int64)
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= most


@pytest.fixture(scope="module")
def detailed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of the tiny bundle with a detail."""
    folder = tmp_path_factory.mktemp("detailed")
    export_bundle(tiny_detailed_bundle(), folder)
    return folder


def test_files_with_a_detail(detailed: Path) -> None:
    bundle = tiny_detailed_bundle()
    files = random_files(bundle)
    assert_equal_images(bundle, detailed, files)
    images = images_of(detailed, files, Decoder(bundle, "cpu"))
    assert (images[0] != images[1]).any()


def test_files_with_a_class(tmp_path: Path) -> None:
    bundle = tiny_conditional_bundle()
    export_bundle(bundle, tmp_path)
    assert_equal_images(bundle, tmp_path, random_files(bundle))


@pytest.mark.parametrize("name", ["faces-128", "avatars-64"])
def test_golden_files_of_models_that_ship(name: str, tmp_path: Path) -> None:
    bundle = load_bundle(name, aids=False)
    found = export_bundle(bundle, tmp_path)
    assert_equal_images(bundle, tmp_path, [(GOLDEN / f"{name}.ivc").read_bytes()])
    assert found.size < 8e6  # their weights are float16 values, and are stored as such


def test_half_makes_a_smaller_file_and_nearly_the_same_image(
    detailed: Path, tmp_path: Path
) -> None:
    bundle = tiny_detailed_bundle()
    found = export_bundle(bundle, tmp_path, half=True)
    whole = (detailed / "network.onnx").stat().st_size
    assert found.manifest["files"]["network.onnx"]["bytes"] < 0.75 * whole
    assert_equal_images(bundle, tmp_path, random_files(bundle), most=8)


def test_half_stores_the_largest_weights_in_8_bits(
    detailed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invcomp.export.onnx_file.LARGE", 2048)  # what is large here
    bundle = tiny_detailed_bundle()
    found = export_bundle(bundle, tmp_path / "8", half=True)
    monkeypatch.undo()
    without = export_bundle(bundle, tmp_path / "16", half=True)
    assert found.manifest["files"]["network.onnx"]["bytes"] + 9216 / 2 < without.size
    files = random_files(bundle)
    decoder = Decoder(bundle, "cpu")
    for ours, data in zip(images_of(tmp_path / "8", files, decoder), files, strict=True):
        assert 0 < np.abs(ours - np.array(decoder.decompress(data), np.int64)).mean() < 2


def test_the_manifest_says_what_the_files_are(detailed: Path) -> None:
    manifest = json.loads((detailed / "manifest.json").read_text())
    assert manifest["fingerprint"] == tiny_detailed_bundle().fingerprint.hex()
    assert manifest["difference_from_torch"]["largest"] <= 1
    assert {path.name for path in detailed.iterdir()} == {"manifest.json", *manifest["files"]}
    for name, said in manifest["files"].items():
        data = (detailed / name).read_bytes()
        assert said == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    shapes = {each["name"]: each["shape"] for each in manifest["inputs"]}
    assert shapes["detail_16"] == [1, 2, 16, 16]
    folder = str(Path(__file__).resolve().parents[2]).encode()
    assert folder not in (detailed / "network.onnx").read_bytes()  # no notes of this machine


def test_existing_files_stay_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "network.onnx").write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        export_bundle(tiny_bundle(), tmp_path)
    assert (tmp_path / "network.onnx").read_bytes() == b"mine"


def test_another_image_than_torchs_is_refused(
    detailed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = (detailed / "network.onnx").read_bytes()
    monkeypatch.setattr("invcomp.export.folder.onnx_bytes", lambda network, half: data)
    bundle = tiny_detailed_bundle()
    coordinates = replace(bundle.coordinates, mean=bundle.coordinates.mean + 1)
    with pytest.raises(BundleError, match="other images than torch"):
        export_bundle(replace(bundle, coordinates=coordinates), tmp_path)
    assert not any(tmp_path.iterdir())
