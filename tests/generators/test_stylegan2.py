"""StyleGAN2 against its definitions, written out plainly in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from invcomp.errors import OptionError
from invcomp.generators.stylegan2 import StyleGAN2, SynthesisLayer, ToRGB, smooth, upsample

FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])).double() / 64


def upfirdn(x: Tensor, up: int, pad: tuple[int, int], gain: float) -> Tensor:
    """Zeros between pixels, padding, the filter: the definition, channel by channel."""
    n, c, h, w = x.shape
    spread = x.new_zeros(n, c, h * up, w * up)
    spread[:, :, ::up, ::up] = x
    padded = F.pad(spread, (*pad, *pad)).reshape(n * c, 1, h * up + sum(pad), -1)
    return F.conv2d(padded, FILTER[None, None] * gain).reshape(n, c, padded.shape[2] - 3, -1)


def reference_layer(layer: SynthesisLayer, x: Tensor, w: Tensor, clamp: float = math.inf) -> Tensor:
    """Modulation and demodulation of every sample's own weights (arXiv:1912.04958, eq. 1 and 3).

    What is over `clamp` after the activation and its gain is cut, as NVIDIA's code does.
    """
    outputs = []
    for sample, latent in zip(x, w, strict=True):
        style = layer.affine.weight @ latent / math.sqrt(len(latent)) + layer.affine.bias
        weight = layer.weight * style[None, :, None, None]
        weight = weight / (weight.square().sum([1, 2, 3], keepdim=True) + 1e-8).sqrt()
        image = sample[None]
        if layer.up:  # zeros between, a true convolution, the filter
            n, c, h, width = image.shape
            spread = image.new_zeros(n, c, 2 * h - 1, 2 * width - 1)
            spread[:, :, ::2, ::2] = image
            image = F.conv2d(F.pad(spread, (2, 2, 2, 2)), weight.flip([2, 3]))
            image = upfirdn(image, 1, (1, 1), 4)
        else:
            image = F.conv2d(image, weight, padding=1)
        image = image + layer.noise_const * layer.noise_strength + layer.bias[:, None, None]
        outputs.append(torch.where(image > 0, image, image * 0.2) * math.sqrt(2))
    return torch.cat(outputs).clip(-clamp, clamp)


@pytest.mark.parametrize("up", [False, True])
def test_a_layer_is_the_papers(up: bool) -> None:
    torch.manual_seed(0)
    layer = SynthesisLayer(7, 5, 6, 8, up).double()
    torch.nn.init.normal_(layer.bias)
    torch.nn.init.constant_(layer.noise_strength, 0.3)
    x, w = torch.randn(3, 5, 4 if up else 8, 4 if up else 8).double(), torch.randn(3, 7).double()
    assert torch.allclose(layer(x, w), reference_layer(layer, x, w), atol=1e-10)


def test_demodulation_gives_unit_variance() -> None:
    torch.manual_seed(0)
    layer = SynthesisLayer(16, 64, 32, 16, up=False)
    with torch.no_grad():
        x = torch.randn(64, 64, 16, 16)
        out = layer(x, 3 * torch.randn(64, 16), "none")
    before = torch.where(out > 0, out, out / 0.2) / math.sqrt(2)
    assert float(before[:, :, 2:-2, 2:-2].var()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("up", [False, True])
def test_gradients_of_a_layer(up: bool) -> None:
    torch.manual_seed(0)
    layer = SynthesisLayer(3, 2, 2, 4, up).double()
    torch.nn.init.constant_(layer.noise_strength, 0.1)
    size = 2 if up else 4
    x = torch.randn(2, 2, size, size).double().requires_grad_()
    w = torch.randn(2, 3).double().requires_grad_()

    def call(x: Tensor, w: Tensor, weight: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight}, (x, w))

    arguments = (x, w, layer.weight)
    assert torch.autograd.gradcheck(call, arguments)
    assert torch.autograd.gradgradcheck(call, arguments)


def test_to_rgb_is_not_demodulated() -> None:
    torch.manual_seed(0)
    layer = ToRGB(4, 5, 3, 1).double()
    x, w = torch.randn(2, 5, 4, 4).double(), torch.randn(2, 4).double()
    style = (w @ layer.affine.weight.t() / 2 + layer.affine.bias) / math.sqrt(5)
    expected = torch.einsum("oi,nihw,ni->nohw", layer.weight[:, :, 0, 0], x, style)
    assert torch.allclose(layer(x, w), expected, atol=1e-12)


def test_upsampling_is_zeros_and_the_filter() -> None:
    x = torch.randn(2, 3, 5, 5).double()
    assert torch.allclose(upsample(x), upfirdn(x, 2, (2, 1), 4), atol=1e-12)
    assert torch.allclose(smooth(x), upfirdn(x, 1, (0, 0), 1), atol=1e-12)


def test_structure_and_names_are_nvidias() -> None:
    generator = StyleGAN2([8, 6, 4], z_size=5, w_size=7, mapping_depth=2)
    shapes = {name: tuple(value.shape) for name, value in generator.state_dict().items()}
    assert shapes["mapping.fc0.weight"] == (7, 5)
    assert shapes["mapping.w_avg"] == (7,)
    assert shapes["synthesis.b4.const"] == (8, 4, 4)
    assert shapes["synthesis.b8.conv0.weight"] == (6, 8, 3, 3)
    assert shapes["synthesis.b8.conv0.affine.weight"] == (8, 7)
    assert shapes["synthesis.b8.conv1.noise_const"] == (8, 8)
    assert shapes["synthesis.b16.conv1.noise_strength"] == ()
    assert shapes["synthesis.b16.torgb.weight"] == (3, 4, 1, 1)
    assert generator.resolution == 16
    assert [layer.name for layer in generator.layers] == [
        "4px.conv1", "8px.conv0", "8px.conv1", "16px.conv0", "16px.conv1", "image",
    ]  # fmt: skip


def test_every_layer_moves_the_image() -> None:
    torch.manual_seed(0)
    generator = StyleGAN2([8, 8, 8], 8, 8, 1).requires_grad_(False)
    latents = generator.spread(generator.sample(torch.randn(2, 8))).requires_grad_()
    image = generator(latents)
    assert image.shape == (2, 3, 16, 16)
    image.square().sum().backward()
    assert latents.grad is not None
    assert (latents.grad.view(2, 6, 8).abs().sum(2) > 0).all()


def reference_mapping(network: StyleGAN2, z: Tensor, label: int, rate: float = 0.01) -> Tensor:
    """w of one z and one class, in plain sums: z and the one-hot class's embedding, normalised."""
    mapping = network.mapping
    hot = torch.zeros(network.classes).double()
    hot[label] = 1
    embedded = mapping.embed.weight @ hot / math.sqrt(network.classes) + mapping.embed.bias
    x = torch.cat(
        [part / (part.square().sum() / len(part) + 1e-8).sqrt() for part in (z, embedded)]
    )
    for layer in (mapping.fc0, mapping.fc1):
        x = rate * (layer.weight @ x / math.sqrt(len(x)) + layer.bias)
        x = torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)
    return x


def test_a_class_acts_through_w_alone() -> None:
    torch.manual_seed(0)
    network = StyleGAN2([6, 5, 4], 5, 7, 2, classes=3).double().requires_grad_(False)
    for parameter in (network.mapping.embed.bias, network.mapping.fc0.bias):
        torch.nn.init.normal_(parameter)
    z, classes = torch.randn(4, 5).double(), torch.tensor([2, 0, 1, 0])
    w = network.sample(z, classes)
    expected = [reference_mapping(network, *pair) for pair in zip(z, classes.tolist(), strict=True)]
    assert torch.allclose(w, torch.stack(expected), atol=1e-12)
    assert not torch.allclose(network.sample(z, 2 - classes), w, atol=1e-3)
    image = reference_image(network, w)
    found = network(network.spread(w))  # colours are summed in float32
    assert torch.allclose(found.double(), image, atol=1e-5)


def reference_image(network: StyleGAN2, w: Tensor, clamp: float = math.inf) -> Tensor:
    """All layers by their definitions, the image summed over resolutions."""
    x = network.synthesis.b4.const.expand(len(w), -1, -1, -1)
    image = torch.zeros(len(w), 3, 2, 2).double()
    for size in (4, 8, 16):
        block = getattr(network.synthesis, f"b{size}")
        for name in ("conv0", "conv1") if size > 4 else ("conv1",):
            x = reference_layer(getattr(block, name), x, w, clamp)
        style = w @ block.torgb.affine.weight.t() / math.sqrt(w.shape[1]) + block.torgb.affine.bias
        colours = torch.einsum(
            "oi,nihw,ni->nohw", block.torgb.weight[:, :, 0, 0], x, style / math.sqrt(x.shape[1])
        )
        colours = (colours + block.torgb.bias[:, None, None]).clip(-clamp, clamp)
        image = upfirdn(image, 2, (2, 1), 4) + colours
    return image


def test_classes_are_needed_where_there_are_some() -> None:
    network = StyleGAN2([4, 4], 4, 4, 1, classes=2)
    with pytest.raises(ValueError, match="needs classes"):
        network.sample(torch.randn(1, 4))
    assert "classes" not in StyleGAN2([4, 4], 4, 4, 1).options()
    assert network.state_dict()["mapping.embed.weight"].shape == (4, 2)
    assert network.state_dict()["mapping.fc0.weight"].shape == (4, 8)


def test_noise() -> None:
    torch.manual_seed(0)
    generator = StyleGAN2([8, 8], 8, 8, 1).requires_grad_(False)
    for name, value in generator.named_parameters():
        if name.endswith("noise_strength"):
            value.fill_(0.5)
    ws = generator.sample(torch.randn(1, 8))[:, None].expand(-1, len(generator.layers), -1)
    const, again = generator.images(ws), generator.images(ws)
    assert torch.equal(const, again)
    assert not torch.equal(const, generator.images(ws, "none"))
    assert not torch.equal(generator.images(ws, "random"), generator.images(ws, "random"))


def test_bad_channels() -> None:
    with pytest.raises(OptionError, match="channels"):
        StyleGAN2([])


def noisy(clamp: float | None) -> StyleGAN2:
    """A network in float64 whose biases and noise matter."""
    torch.manual_seed(0)
    network = StyleGAN2([6, 5, 4], 5, 7, 2, clamp=clamp).double().requires_grad_(False)
    for name, parameter in network.named_parameters():
        if name.endswith(("noise_strength", "conv0.bias", "conv1.bias", "torgb.bias")):
            parameter.normal_()
    return network


def test_activations_and_colours_are_clamped() -> None:
    network = noisy(0.7)
    w = torch.randn(3, 7).double()
    found, expected = network(network.spread(w)), reference_image(network, w, 0.7)
    assert torch.allclose(found.double(), expected, atol=1e-5)  # colours are summed in float32
    assert (reference_image(network, w) - expected).abs().max() > 0.1
    every = network.spread(w)
    assert network.trunk(every, 8)[:, :5].abs().max() == 0.7  # features, colours beside them
    assert torch.allclose(noisy(None)(every).double(), reference_image(network, w), atol=1e-5)


def test_options_say_what_is_clamped_where_anything_is() -> None:
    assert "clamp" not in StyleGAN2([4, 4], 4, 4, 1).options()  # fingerprints from before
    options = StyleGAN2([4, 4], 4, 4, 1, clamp=256.0).options()
    assert options["clamp"] == 256.0
    assert StyleGAN2(**options).synthesis.b8.conv0.clamp == 256.0
    for clamp in (0.0, -1.0, math.nan, math.inf, "256"):
        with pytest.raises(OptionError, match="not a positive number"):
            StyleGAN2([4, 4], 4, 4, 1, clamp=clamp)  # type: ignore[arg-type]
