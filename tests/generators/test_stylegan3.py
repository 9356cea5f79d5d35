"""StyleGAN3 against its definitions, and the equivariance that it was designed for."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from invcomp.errors import OptionError
from invcomp.generators.stylegan3 import (
    Band,
    Design,
    StyleGAN3,
    SynthesisLayer,
    bands,
    low_pass,
    resample,
)

SMALL = {"channel_base": 2048, "channel_max": 32}
ROTATING = {**SMALL, "kernel": 1, "radial": True}


def generator(design: dict[str, object]) -> StyleGAN3:
    torch.manual_seed(0)
    return StyleGAN3(64, 32, 32, 2, design).double().requires_grad_(False)


def reference_resample(
    x: Tensor, kernel: Tensor | None, up: int, down: int, low: int, high: int, gain: float
) -> Tensor:
    """Pixel by pixel in numpy: each output is a weighted sum over the filter's taps."""
    if kernel is None:
        kernel = torch.ones(1, dtype=x.dtype)
    if kernel.ndim == 1:
        kernel = torch.outer(kernel, kernel)
    taps = len(kernel)
    height = x.shape[2] * up
    spread = np.zeros((*x.shape[:2], height + low + high, height + low + high))
    inner = np.zeros((*x.shape[:2], height, height))
    inner[:, :, ::up, ::up] = x.numpy() * gain
    begin, skip = max(low, 0), max(-low, 0)
    end = min(height, height + high)
    spread[:, :, begin : begin + end - skip, begin : begin + end - skip] = inner[
        :, :, skip:end, skip:end
    ]
    size = spread.shape[2] - taps + 1
    out = np.zeros((*x.shape[:2], size, size))
    for i in range(taps):
        for j in range(taps):
            out += spread[:, :, i : i + size, j : j + size] * float(kernel[-1 - i, -1 - j])
    return torch.from_numpy(out[:, :, ::down, ::down])


@pytest.mark.parametrize(("low", "high"), [(3, 2), (-2, -1), (0, 4)])
def test_resampling(low: int, high: int) -> None:
    x = torch.randn(2, 3, 6, 6).double()
    for kernel in (None, torch.rand(5).double(), torch.rand(4, 4).double()):
        ours = resample(x, kernel, 2, 2, (low, high), 4)
        assert torch.allclose(ours, reference_resample(x, kernel, 2, 2, low, high, 4), atol=1e-12)


@pytest.mark.parametrize("clamp", [256.0, 0.5, None])
def test_a_layer_is_the_papers(clamp: float | None) -> None:
    """Every sample's own weights, normalised before as NVIDIA's code does, in float64."""
    torch.manual_seed(0)
    design = Design(**SMALL, clamp=clamp)  # type: ignore[arg-type]
    before, after = Band(5.0, 4.0, 16, 20, 4), Band(9.0, 7.0, 32, 36, 5)
    layer = SynthesisLayer(6, before, after, design, False, False).double()
    torch.nn.init.normal_(layer.bias)
    layer.magnitude_ema.fill_(1.7)
    x, w = torch.randn(3, 4, 20, 20).double(), torch.randn(3, 6).double()
    with torch.no_grad():
        style = w @ layer.affine.weight.t() / math.sqrt(6) + layer.affine.bias
        style = style / style.square().mean().sqrt()
        weight = layer.weight / layer.weight.square().mean([1, 2, 3], keepdim=True).sqrt()
        outputs = []
        for sample, s in zip(x, style, strict=True):
            own = weight * s[None, :, None, None]
            own = own / (own.square().sum([1, 2, 3], keepdim=True) + 1e-8).sqrt() / math.sqrt(1.7)
            image = F.conv2d(sample[None], own, padding=2) + layer.bias[:, None, None]
            up, down = layer.up_filter, layer.down_filter
            image = reference_resample(image, up, layer.up, 1, *layer.padding, layer.up**2)
            image = torch.where(image > 0, image, image * 0.2) * math.sqrt(2)
            assert image.max() > 1  # so that 0.5 cuts something
            image = image if clamp is None else image.clip(-clamp, clamp)
            outputs.append(reference_resample(image, down, 1, layer.down, 0, 0, 1))
        expected = torch.cat(outputs)
        assert layer.up == 4
        assert layer.down == 2
        assert layer(x, w).shape == (3, 5, 36, 36)
        assert torch.allclose(layer(x, w), expected, atol=1e-8)


def test_bands_of_the_published_models() -> None:
    """FFHQ 1024, configuration T: the figures that name its layers in NVIDIA's pickles."""
    found = [f"L{i}_{b.size}_{b.channels}" for i, b in enumerate(bands(Design(), 1024))]
    assert found == [
        "L0_36_512", "L1_36_512", "L2_52_512", "L3_52_512", "L4_84_512", "L5_148_512",
        "L6_148_512", "L7_276_323", "L8_276_203", "L9_532_128", "L10_1044_81", "L11_1044_51",
        "L12_1044_32", "L13_1024_32", "L14_1024_3",
    ]  # fmt: skip


def test_filters_pass_what_is_low() -> None:
    for radial in (False, True):
        kernel = low_pass(24, 4.0, 4.0, 32, radial)
        assert kernel is not None
        separable = kernel if radial else torch.outer(kernel, kernel)
        response = torch.fft.fft2(separable, (128, 128)).abs()
        assert float(response[0, 0]) == pytest.approx(1, abs=1e-5)
        assert float(response[0, 16]) == pytest.approx(0.5, abs=0.05)  # the cutoff
        assert float(response[0, 40:64].max()) < 0.02
    assert low_pass(1, 4.0, 4.0, 32) is None


def test_colours_are_clamped_too() -> None:
    """The last layer has no filters and no activation: a bound that it alone meets."""
    model = generator({**SMALL, "clamp": 1e-3})
    getattr(model.synthesis, model.synthesis.names[-1]).bias.fill_(1)
    latents = model.spread(model.sample(torch.randn(1, 32).double()))
    assert model(latents).abs().max() == pytest.approx(1e-3 * 0.25)


def moved(model: StyleGAN3, latents: Tensor, matrix: Tensor) -> Tensor:
    """The image with another transform of the Fourier features."""
    model.synthesis.input.transform.copy_(matrix)
    image = model(latents)
    model.synthesis.input.transform.copy_(torch.eye(3))
    return image


def decibels(image: Tensor, other: Tensor, margin: int) -> float:
    inside = slice(margin, -margin)
    error = (image - other)[..., inside, inside].square().mean()
    return float(10 * torch.log10((image.max() - image.min()) ** 2 / error))


@pytest.mark.parametrize("design", [SMALL, ROTATING], ids=["T", "R"])
def test_translation(design: dict[str, object]) -> None:
    """A shift of the features by 8 of 64 pixels shifts the image by as much: over 60 dB."""
    model = generator(design)
    latents = model.spread(model.sample(torch.randn(1, 32).double()))
    matrix = torch.tensor([[1, 0, 8 / 64], [0, 1, 0], [0, 0, 1]]).double()
    expected = torch.roll(model(latents), -8, 3)
    assert decibels(expected, moved(model, latents, matrix), 12) > 60


def test_rotation_of_r() -> None:
    """A quarter turn of the features turns the image: over 60 dB."""
    model = generator(ROTATING)
    latents = model.spread(model.sample(torch.randn(1, 32).double()))
    matrix = torch.tensor([[0, -1, 0], [1, 0, 0], [0, 0, 1]]).double()
    turned, image = moved(model, latents, matrix), model(latents)
    best = max(decibels(torch.rot90(image, k, (2, 3)), turned, 4) for k in (1, 3))
    assert best > 60


def test_gradients_reach_every_layer() -> None:
    model = generator(SMALL)
    latents = model.spread(model.sample(torch.randn(2, 32).double())).requires_grad_()
    model(latents).square().sum().backward()
    assert latents.grad is not None
    assert (latents.grad.unflatten(1, (16, 32)).abs().sum(2)[:, 1:] > 0).all()


def test_options_build_it_again() -> None:
    model = generator(ROTATING)
    again = StyleGAN3(**model.options())
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }
    assert "clamp" not in model.options()["design"]  # fingerprints from before
    assert StyleGAN3(64, design={"clamp": None}).options()["design"] == {"clamp": None}
    with pytest.raises(OptionError, match="clamped"):
        StyleGAN3(64, design={"clamp": 0.0})
    with pytest.raises(OptionError):
        StyleGAN3(48)
    with pytest.raises(OptionError):
        StyleGAN3(64, design={"layers": 1})
