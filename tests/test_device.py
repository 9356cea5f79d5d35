"""The whole way on device "cuda" without one: fake tensors have shapes and devices and no values.

A tensor that is made on the wrong device is found here. What depends on values (losses as floats,
how many coordinates are active, pixels as bytes) is replaced or left out.
"""

import copy
import dataclasses
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

import invcomp.decoder
from invcomp.bitstream import IvcFile
from invcomp.bundle import Bundle, Settings
from invcomp.decoder import Decoder
from invcomp.device import LARGE, MANY, keep_freed_memory, repays_compiling
from invcomp.distilled.aids import SearchAids
from invcomp.distilled.encoder import InversionEncoder
from invcomp.distilled.surrogate import Surrogate
from invcomp.encoder import Encoder
from invcomp.entropy.density import MixtureDensity, make_mixture
from invcomp.entropy.mixture import PriorShape
from invcomp.generators import MobileStyleGAN
from invcomp.inversion.options import SearchOptions
from invcomp.latents.coordinates import Coordinates, quantise_rows
from invcomp.perception.features import PerceptualFeatures
from invcomp.perception.identity import Face

from .tiny import tiny_bundle, tiny_conditional_bundle


def zero_gradients(optimiser: torch.optim.Optimizer) -> None:
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)


@contextmanager
def fake_cuda() -> Iterator[FakeTensorMode]:
    """Fake tensors, each of which counts as 0.5 where a number is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(invcomp.decoder, "choose_device", torch.device)
        patch.setattr(nn.Module, "to", lambda self, device: self)  # `on_cuda` has moved them
        patch.setattr(Bundle, "fingerprint", bytes(32))
        patch.setattr(Tensor, "__float__", lambda self: 0.5)
        patch.setattr(MixtureDensity, "active", lambda self, step_index: len(self.scales.indices))
        patch.setattr(Tensor, "backward", lambda self: None)  # autograd's engine asks for CUDA
        patch.setattr(torch.optim.Optimizer, "zero_grad", zero_gradients)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            yield mode


def on_cuda(module: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """The module, its parameters and buffers replaced by fake ones on "cuda"."""
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    moved = mode.from_tensor(tensor.detach()).to("cuda")
                    is_parameter = isinstance(tensor, nn.Parameter)
                    tensors[name] = nn.Parameter(moved, False) if is_parameter else moved
    return module


def encoder_of(bundle: Bundle, features: PerceptualFeatures, mode: FakeTensorMode) -> Encoder:
    """An encoder on "cuda" of a bundle."""
    aids = SearchAids(*(part and on_cuda(part, mode) for part in vars(bundle.aids).values()))
    generator = on_cuda(bundle.generator, mode)
    bundle = dataclasses.replace(bundle, generator=generator, aids=aids)
    encoder = Encoder(Decoder(bundle, "cuda"), compiled=False)
    encoder.__dict__["features"] = on_cuda(features, mode)
    return encoder


def large_bundle() -> Bundle:
    """Of 512 px, with everything that makes a search fast."""
    generator = MobileStyleGAN(style=16, channels=(8,) * 8)
    size = generator.latent_size
    deviations = torch.ones(8)
    codes, scales = quantise_rows(torch.eye(8, size))
    return Bundle(
        generator=generator.eval().requires_grad_(False),
        coordinates=Coordinates(torch.zeros(1, size), codes, scales, deviations),
        entropy=make_mixture(np.zeros(8, dtype=np.int16), PriorShape()),
        candidates=torch.zeros(4, 8),
        settings=Settings(name="large"),
        aids=SearchAids(InversionEncoder(8), Surrogate.of(generator)),
    )


def with_face(bundle: Bundle) -> Bundle:
    settings = dataclasses.replace(bundle.settings, face=Face())
    return dataclasses.replace(bundle, settings=settings)


BUNDLES = {
    "plain": tiny_bundle,
    "classes": tiny_conditional_bundle,
    "face": lambda: with_face(tiny_bundle()),
    "large": large_bundle,
}


@pytest.mark.parametrize("name", BUNDLES)
def test_the_search(name: str) -> None:
    bundle = BUNDLES[name]()
    options = SearchOptions(iterations=3, trial_iterations=1, fast=name == "large", full_part=0.3)
    side, face = bundle.resolution, bundle.settings.face
    features = copy.deepcopy(PerceptualFeatures(bundle.settings.beta, face=face))
    with fake_cuda() as mode:
        encoder = encoder_of(bundle, features, mode)
        search = encoder.searcher(options, 1)
        images = torch.zeros(2, 3, side, side).to("cuda")
        region = torch.ones(1, 1, side, side)
        *_, (last, _) = search.descend(images, 82, options, batch_size=3, region=region)
        integers = last.integers()
        for tensor in (integers, last.classes):
            assert isinstance(tensor, FakeTensor)
            assert tensor.device.type == "cuda"
        assert integers.shape == (3, bundle.coordinates.count)  # the third is a copy


@pytest.mark.parametrize("name", BUNDLES)
def test_decoding(name: str) -> None:
    bundle = BUNDLES[name]()
    features = copy.deepcopy(PerceptualFeatures(bundle.settings.beta))
    with fake_cuda() as mode:
        decoder = encoder_of(bundle, features, mode).decoder
        images = decoder.images([IvcFile(decoder.fingerprint, 82, (b"",))] * 2)
        assert isinstance(images, FakeTensor)
        assert images.device.type == "cuda"
        assert images.shape == (2, 3, bundle.resolution, bundle.resolution)


def test_a_tensor_on_the_wrong_device_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests above are for: the candidates are left on the CPU."""
    bundle, options = tiny_bundle(), SearchOptions(iterations=2, starts=2, trial_iterations=1)
    features = copy.deepcopy(PerceptualFeatures(bundle.settings.beta))
    with fake_cuda() as mode:
        encoder = encoder_of(bundle, features, mode)
        search = encoder.searcher(options, 1)
        search.candidates = search.candidates.cpu()
        with pytest.raises(RuntimeError, match="device"):
            next(search.descend(torch.zeros(1, 3, 64, 64).to("cuda"), 82, options))


@pytest.mark.parametrize(
    ("resolution", "images", "hurried", "mixed", "kept", "expected"),
    [
        (64, 1, False, True, False, False),
        (64, MANY - 1, False, True, True, False),  # what is kept for a large generator is no use
        (64, MANY, True, False, False, True),
        (LARGE // 2, MANY - 1, False, True, False, False),
        (LARGE, 1, False, True, False, True),
        (1024, 1, True, True, False, False),
        (1024, 1, True, True, True, True),
        (1024, 2, True, True, False, True),
        (1024, 2, False, False, True, False),
    ],
)
def test_when_compiling_repays(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    resolution: int,
    images: int,
    hurried: bool,
    mixed: bool,
    kept: bool,
    expected: bool,
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    if kept:
        (tmp_path / "compiled" / "aa").mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    how = (resolution, images, hurried, mixed)
    cpu = torch.device("cpu")
    assert not repays_compiling(cpu, *how)  # without a compiler never
    compiler = tmp_path / "c++"
    compiler.touch(0o755)
    assert repays_compiling(cpu, *how) == expected
    assert not repays_compiling(torch.device("cuda"), *how)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_is_kept() -> None:
    import resource

    keep_freed_memory()
    values, faults = 10 * 2**20, []  # 40 MiB: glibc would give a block of this size back
    for _ in range(20):  # the first ones may take new memory
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(values)  # freed at once
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    pages = 4 * values // resource.getpagesize()
    assert min(faults) < pages / 10
