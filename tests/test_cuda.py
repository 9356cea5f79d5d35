"""The whole way on a CUDA GPU. What can be checked without one is in test_device.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invcomp.codec import Codec
from invcomp.generators.base import normal
from invcomp.inversion.options import Goal, SearchOptions
from invcomp.lookup import load_bundle
from invcomp.preparation import PrepareOptions, prepare
from invcomp.preprocessing.frame import from_tensor

from .tiny import tiny_bundle, tiny_conditional_bundle, tiny_detailed_bundle

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")

SHORT = SearchOptions(iterations=24)
BUNDLES = {
    "plain": tiny_bundle,
    "classes": tiny_conditional_bundle,
    "detail": tiny_detailed_bundle,
}


def images_of(codec: Codec, count: int) -> list[Image.Image]:
    """Images that the generator makes."""
    generator = codec.bundle.generator
    z = normal(count, generator.z_size, seed=7).to(codec.device)
    classes = torch.zeros(count, dtype=torch.long, device=codec.device)
    with torch.no_grad():
        given = (z, classes) if codec.bundle.coordinates.classes > 1 else (z,)
        made = generator(generator.spread(generator.sample(*given)))
    return [from_tensor(each[None]) for each in made]


@pytest.mark.parametrize(
    ("kind", "compiled"),
    [("plain", False), ("classes", False), ("detail", False), ("detail", True)],
)
def test_files_in_batches_decode_on_both_devices(kind: str, compiled: bool) -> None:
    codec = Codec(BUNDLES[kind](), "cuda", compiled=compiled)
    there = Codec(BUNDLES[kind](), "cpu")
    for image, encoded in zip(
        images := images_of(codec, 3), codec.encode(images, search=SHORT, batch=2), strict=True
    ):
        on_cpu = np.asarray(there.decompress(encoded.data), int)
        assert np.abs(on_cpu - np.asarray(encoded.decoded, int)).max() <= 1
        measured = there.encoder.measure(image, encoded.data)
        assert measured.lpips == pytest.approx(encoded.lpips, abs=2e-3)


def test_a_search_on_the_gpu_is_as_good() -> None:
    bundle = tiny_bundle()
    gpu, cpu = Codec(bundle, "cuda"), Codec(tiny_bundle(), "cpu")
    images = images_of(cpu, 4)
    found = [
        np.mean([each.lpips for each in codec.encode(images, search=SHORT)]) for codec in (gpu, cpu)
    ]
    assert found[0] < 1.15 * found[1] + 0.01


def test_a_goal_in_bytes() -> None:
    codec = Codec(tiny_detailed_bundle(), "cuda")
    for encoded in codec.encode(images_of(codec, 3), goal=Goal(bytes=40), search=SHORT):
        assert len(encoded.data) <= 40


def test_the_batch_is_what_memory_holds() -> None:
    encoder = Codec(tiny_bundle(), "cuda").encoder
    assert encoder.batch_for(None) > 8
    assert encoder.batch_for(3) == 3


def test_the_shipped_faces_decode_alike() -> None:
    bundle = load_bundle("faces-1024")
    gpu = Codec(bundle, "cuda")
    data = gpu.compress(
        Image.open(Path("pretrained/portrait.jpg")), quality=50, search=SearchOptions(fast=True)
    )
    decoded = np.asarray(gpu.decompress(data), int)
    other = np.asarray(Codec(load_bundle("faces-1024"), "cpu").decompress(data), int)
    assert np.abs(decoded - other).max() <= 2


def test_preparing(tmp_path: Path) -> None:
    quick = PrepareOptions(draws=80, coordinates=64, batch=8, candidates=4, prior_samples=2000)
    generator = tiny_bundle().generator
    there = prepare(generator, tmp_path / "gpu.ivm", quick, device="cuda").coordinates
    here = prepare(tiny_bundle().generator, tmp_path / "cpu.ivm", quick, device="cpu").coordinates
    spread = here.deviations[:16].float()
    assert torch.allclose(there.deviations[:16].float().cpu(), spread, rtol=0.1)


@pytest.mark.parametrize("options", [(), ("--discriminator=both", "--loss=rpgan")])
def test_training_and_resuming(tmp_path: Path, options: tuple[str, ...]) -> None:
    pytest.importorskip("accelerate", reason="the extra `train` is not installed")
    random, run = np.random.default_rng(0), tmp_path / "run"
    (tmp_path / "images").mkdir()
    for index in range(64):
        pixels = random.integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
    command = [sys.executable, "-m", "invcomp", "train", str(tmp_path / "images"), "-o", str(run)]
    command += [
        "--resolution=32",
        "--batch=16",
        "--tick=64",
        "--device=cuda",
        "--no-compile",
        *options,
    ]
    for kimg in ("0.128", "0.256"):
        subprocess.run([*command, f"--kimg={kimg}", "--resume"], check=True)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 4
    assert (run / "snapshots" / "000000256.safetensors").is_file()
