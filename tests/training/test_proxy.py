"""Distilling: proxies of a MobileStyleGAN's own layers and of other generators."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from invcomp.bundle import Bundle, read_bundle
from invcomp.codec import Codec
from invcomp.errors import MissingBundleError, OptionError
from invcomp.generators.base import normal, reduce_images
from invcomp.generators.mobile_proxy import MobileProxy
from invcomp.generators.proxy import Proxy
from invcomp.inversion.options import SearchOptions
from invcomp.lookup import find_bundle
from invcomp.training.fit import Execution
from invcomp.training.pairs import Pairs, make_pairs
from invcomp.training.proxy import (
    DRAWN,
    FROM_ITS_LAYERS,
    begin,
    check_resolution,
    distill,
    proxy_coordinates,
    train_proxy,
)


def test_the_first_drawing_is_the_best_linear_one(bundle: Bundle, pairs: Pairs) -> None:
    proxy, options = begin(bundle, pairs, 32)
    assert isinstance(proxy, MobileProxy)
    assert options.relative
    coordinates, _, real = pairs.batch(np.arange(DRAWN))
    real = reduce_images(real, 32)

    def error() -> float:
        with torch.no_grad():
            return float((proxy(coordinates) - real).square().mean())

    best, weight = error(), proxy.to_image.weight[:, :, 1, 1]
    assert best < real.var()
    for seed in range(3):
        moved = 0.1 * weight.std() * normal(3, weight.shape[1], seed)
        with torch.no_grad():
            weight += moved
            assert error() > best
            weight -= moved


def test_training_makes_it_nearer(
    bundle: Bundle, pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quicker = replace(FROM_ITS_LAYERS, learning_rate=0.01)
    monkeypatch.setattr("invcomp.training.proxy.FROM_ITS_LAYERS", quicker)

    def lpips(steps: int) -> float:
        return train_proxy(bundle, pairs, Execution(tmp_path / f"{steps}", "cpu"), 16, steps)[1]

    assert lpips(200) < 0.9 * lpips(1)


def test_a_proxy_of_another_generator_learns(conditional: Bundle, tmp_path: Path) -> None:
    pairs = make_pairs(conditional, tmp_path / "pairs", 160, 32, "cpu")

    def lpips(steps: int) -> float:
        return train_proxy(conditional, pairs, Execution(tmp_path / f"{steps}", "cpu"), 16, steps)[
            1
        ]

    assert lpips(120) < 0.8 * lpips(1)


def test_one_file_two_sizes(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "small.ivm"
    distill(bundle, path, 16, count=30, steps=2, device="cpu")
    assert [file.name for file in tmp_path.iterdir()] == ["small.ivm"]
    proxy = Codec.load(path, "cpu", compiled=False)
    with torch.no_grad():
        latents = bundle.coordinates.latents(bundle.candidates[:1])
        pixels = bundle.generator(latents)[0].clamp(-1, 1) / 2 + 0.5
    full = Codec(bundle, "cpu", compiled=False)
    data = full.compress(pixels, search=SearchOptions(iterations=4, starts=1))
    assert full.decompress(data).size == (64, 64)
    assert proxy.decompress(data).size == (16, 16)
    from_proxy = proxy.compress(pixels, search=SearchOptions(iterations=4, starts=1))
    assert full.decompress(from_proxy).size == (64, 64)  # and no size of its own is written
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "models").mkdir(parents=True)
    path.rename(tmp_path / "cache" / "models" / "small.ivm")
    assert find_bundle(bundle.fingerprint[:4], proxy=True).endswith("small.ivm")
    with pytest.raises(MissingBundleError):
        find_bundle(bundle.fingerprint[:4])


def test_a_proxy_of_a_model_with_classes(conditional: Bundle, tmp_path: Path) -> None:
    distill(conditional, tmp_path / "small.ivm", 16, count=9, steps=1, device="cpu")
    proxy = read_bundle(tmp_path / "small.ivm")
    assert isinstance(proxy.generator, Proxy)
    zero = torch.zeros(3, conditional.coordinates.count)
    with torch.no_grad():
        each = proxy.generator(proxy.coordinates.latents(zero, torch.arange(3)))
    assert not torch.equal(each[0], each[1])
    drawn = proxy.generator.sample(normal(2, proxy.generator.z_size, 0), torch.tensor([1, 2]))
    assert drawn[:, -3:].tolist() == [[0, 1, 0], [0, 0, 1]]


def test_a_proxy_takes_coordinates_as_they_are(bundle: Bundle) -> None:
    coordinates = proxy_coordinates(bundle.coordinates)
    drawn = normal(4, bundle.coordinates.count, seed=8)
    assert torch.equal(coordinates.latents(drawn, torch.zeros(4, dtype=torch.long)), drawn)


@pytest.mark.parametrize(("resolution", "message"), [(100, "power of two"), (128, "at most")])
def test_sizes_that_cannot_be(resolution: int, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        check_resolution(resolution, 64)
