"""The decoder in JavaScript reads what this package writes, to the same integers."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from invcomp.bitstream import DETAIL, IvcFile, Layer, decode, encode
from invcomp.bundle import Bundle
from invcomp.decoder import Decoder
from invcomp.entropy.mixture import LaplaceMixture
from invcomp.errors import BitstreamError
from invcomp.lookup import load_bundle
from invcomp.preprocessing.frame import from_tensor
from invcomp.qr.base45 import from_base45, to_base45

from ..entropy.test_detail import as_reference
from ..tiny import tiny_bundle, tiny_conditional_bundle, tiny_detailed_bundle

HERE = Path(__file__).parent
BITSTREAM, GOLDEN = HERE.parent / "bitstream", HERE.parent / "golden"
Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def run() -> Run:
    """Decodes files, each `{file, model, first}`, by Node.js."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node.js: apt-get install nodejs")

    def run(
        models: dict[str, Any], files: list[dict[str, Any]], kind: str = "files"
    ) -> list[dict[str, Any]]:
        given = json.dumps({"models": models, kind: files})
        command = [node, str(HERE / "decode.mjs")]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    return run


def tables_of(bundle: Bundle) -> dict[str, Any]:
    assert isinstance(bundle.entropy, LaplaceMixture)
    tables = bundle.entropy.tables
    found: dict[str, Any] = {
        "frequencies": tables.frequencies.tolist(),
        "first_ratio": tables.first_ratio,
        "ratio_stride": tables.ratio_stride,
        "scales": tables.scales.tolist(),
        "slopes": None if tables.slopes is None else tables.slopes.tolist(),
        "classes": tables.classes,
        "segment_ends": list(tables.segment_ends) or None,
    }
    if bundle.detail is not None:
        digest = bundle.detail.digest[:2].hex()
        found["detail"] = {**as_reference(bundle.detail.model), "digest": digest}
    return found


@pytest.mark.parametrize("name", ["vectors.json", "vectors1.json"])
def test_test_vectors(name: str, run: Run) -> None:
    vectors = json.loads((BITSTREAM / name).read_text())
    decoded = run(vectors["models"], vectors["files"])
    for expected, found in zip(vectors["files"], decoded, strict=True):
        assert "error" not in found, (expected["name"], found)
        for field in ("integers", "step_index", "original_size"):
            assert found[field] == expected[field], expected["name"]
        assert found["class"] == expected.get("class", 0)
        assert found["padded"] == expected.get("padded", False)


def test_files_that_must_be_refused(run: Run) -> None:
    vectors = json.loads((BITSTREAM / "vectors.json").read_text())
    found = run(vectors["models"], vectors["bad_files"])
    for expected, each in zip(vectors["bad_files"], found, strict=True):
        if not reads_layers(expected["name"]):
            assert each.get("error") == expected["error"], (expected, each)


def reads_layers(name: str) -> bool:
    """Whether a photo or a conventional stream is bad, which this decoder hands on unread."""
    return any(word in name for word in ("photo", "stream", "face", "place"))


def test_conventional_streams_are_handed_on(run: Run) -> None:
    vectors = json.loads((BITSTREAM / "vectors.json").read_text())
    files = vectors["conventional_files"]
    for expected, found in zip(files, run({}, files), strict=True):
        assert found["layers"] == [[129, expected["stream"]]]
        assert found["original_size"] == expected["original_size"]


def test_a_thousand_random_files_and_their_beginnings(run: Run) -> None:
    bundles = [tiny_bundle(), tiny_conditional_bundle(), tiny_detailed_bundle()]
    random, files, expected = np.random.default_rng(24), [], []
    decoders = [Decoder(bundle, "cpu") for bundle in bundles]
    for number in range(1000):
        index = number % len(bundles)
        data = random_file(random, bundles[index])
        first = None if number % 2 else int(random.integers(10, len(data) + 1))
        files.append({"file": data.hex(), "model": str(index), "first": first})
        try:
            file = IvcFile.unpack(data, first)
        except BitstreamError:  # it ends within its header
            expected.append(None)
            continue
        found, detail = decode(file, bundles[index].entropy), decoders[index].detail_of(file)
        expected.append((found.integers.tolist(), found.class_index, detail))
    models = {str(index): tables_of(bundle) for index, bundle in enumerate(bundles)}
    for one, theirs in zip(run(models, files), expected, strict=True):
        if theirs is None:
            assert one["error"] == "BitstreamError"
            continue
        assert (one["integers"], one["class"]) == theirs[:2]
        if one["detail"] is not None:
            assert one["detail"] == theirs[2].tolist()
        else:
            assert theirs[2] is None or not theirs[2].any()


def random_file(random: np.random.Generator, bundle: Bundle) -> bytes:
    """Of any step, with integers from nearly none to long escapes, a class and a detail."""
    step_index, spread = int(random.integers(256)), 10 ** random.uniform(-1, 4)
    integers = np.rint(random.laplace(0, spread, bundle.coordinates.count)).astype(np.int64)
    layers = []
    if bundle.detail is not None:
        count = bundle.detail.count
        drawn = np.rint(random.laplace(0, 10 ** random.uniform(-0.5, 1.5), count))
        sparse = (drawn * (random.random(count) < random.random())).astype(np.int64)
        payload = bundle.detail.model.encode(sparse, step_index)
        layers = [Layer(DETAIL, bundle.detail.pack(payload))]
    return encode(
        integers,
        step_index,
        bundle.entropy,
        bundle.fingerprint[:4],
        class_index=int(random.integers(bundle.coordinates.classes)),
        layers=layers,
    )


def test_what_is_not_the_shortest_is_refused(run: Run) -> None:
    bundle, random = tiny_bundle(), np.random.default_rng(1)
    files = []
    for number in range(200):
        file = IvcFile.unpack(random_file(random, bundle))
        payload = bytearray(file.payloads[0])
        if number % 2 and payload:
            payload[int(random.integers(len(payload)))] ^= 1 << int(random.integers(8))
        else:
            payload += bytes([int(random.integers(256))])
        changed = IvcFile(file.fingerprint, file.step_index, (bytes(payload),))
        files.append({"file": changed.pack().hex(), "model": "tiny"})
    found = run({"tiny": tables_of(bundle)}, files)
    refused = 0
    for each, ours in zip(files, found, strict=True):
        try:
            theirs = decode(IvcFile.unpack(bytes.fromhex(each["file"])), bundle.entropy)
        except BitstreamError:
            assert ours.get("error") == "BitstreamError"
            refused += 1
        else:
            assert ours["integers"] == theirs.integers.tolist()
    assert refused > 100


@pytest.mark.parametrize("name", ["faces-128", "avatars-64"])
def test_golden_files(name: str, run: Run) -> None:
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    paths = [GOLDEN / f"{name}.ivc", GOLDEN / f"{name}.version1.ivc"]
    files = [{"file": path.read_bytes().hex(), "model": name} for path in paths]
    for found in run({name: tables_of(load_bundle(name, aids=False))}, files):
        assert found["integers"] == expected["integers"]
        assert found["inputs"] == ["integers", "step_index"]


def test_images_of_other_sizes_are_those_of_pillow(run: Run) -> None:
    side, random = 24, np.random.default_rng(3)
    pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    sizes = [
        ((24, 24), False),
        ((60, 31), False),
        ((9, 50), True),
        ((40, 3), True),
        ((1, 1), False),
    ]
    images = [
        {"side": side, "pixels": pixels.ravel().tolist(), "size": size, "padded": padded}
        for size, padded in sizes
    ]
    for (size, padded), found in zip(sizes, run({}, images, "images"), strict=True):
        expected = np.array(from_tensor(tensor, size, padded), int)
        ours = np.array(found["pixels"]).reshape(expected.shape)
        assert np.abs(ours - expected).max() <= 1


def test_codes_hold_files_as_bytes_or_as_base45(run: Run) -> None:
    random = np.random.default_rng(45)
    files = [b"\xc9V" + random.bytes(int(random.integers(40))) for _ in range(200)]
    contents = [file if n % 2 else to_base45(file).encode() for n, file in enumerate(files)]
    found = run({}, [{"contents": each.hex()} for each in contents], "codes")
    assert [each["file"] for each in found] == [file.hex() for file in files]


def test_base45_is_what_python_takes_for_it(run: Run) -> None:
    random = np.random.default_rng(9285)
    letters = list(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")
    texts = [bytes(random.choice(letters, int(random.integers(1, 9))).tolist()) for _ in range(500)]
    texts += [b"a", b"GGW1", b":::", b"ab", b"QED8WEX0", "\u00e9".encode("latin1")]
    found = run({}, [{"contents": each.hex()} for each in texts], "codes")
    refused = 0
    for text, each in zip(texts, found, strict=True):
        try:
            expected = from_base45(text.decode("latin1"))
        except ValueError:
            assert each["plain"] is None
            refused += 1
        else:
            assert each["plain"] == expected.hex()
        assert each["file"] is None
    assert 50 < refused < len(texts) - 50
