"""Pairs, and what learns from them, on the tiny bundle."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from invcomp.bundle import Bundle, find_bundle, read_bundle
from invcomp.codec import Codec
from invcomp.errors import BundleError, MissingBundleError, OptionError
from invcomp.generators.base import normal
from invcomp.generators.proxy import Proxy
from invcomp.inversion.aids import SearchAids
from invcomp.inversion.options import SearchOptions
from invcomp.preparation import PrepareOptions, prepare
from invcomp.training.pairs import Pairs, make_pairs
from invcomp.training.students import (
    FitOptions,
    Place,
    distill,
    fit,
    proxy_channels,
    proxy_coordinates,
    train_encoder,
    train_proxy,
)

from ..tiny import tiny_bundle, tiny_conditional_generator

COUNT = 240
CHANNELS = (32, 32, 16)  # of a proxy of 32 px


QUICK = PrepareOptions(draws=80, coordinates=64, batch=8, candidates=4, prior_samples=2000)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny generator with coordinates that are truly its own."""
    path = tmp_path_factory.mktemp("bundle") / "tiny.ivm"
    return prepare(tiny_bundle().generator, path, QUICK, device="cpu")


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("conditional") / "tiny.ivm"
    return prepare(tiny_conditional_generator(), path, QUICK, device="cpu")


@pytest.fixture(scope="module")
def pairs(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return make_pairs(bundle, tmp_path_factory.mktemp("pairs"), COUNT, 64, "cpu")


def test_a_pair_is_coordinates_and_their_picture(bundle: Bundle, pairs: Pairs) -> None:
    coordinates, classes, pictures = pairs.batch(np.array([3, 200]))
    with torch.no_grad():
        made = bundle.generator(bundle.coordinates.latents(coordinates, classes))
    assert coordinates[:, 0].abs().min() > 0
    assert torch.allclose(pictures, made.clamp(-1, 1), atol=0.05)  # bfloat16, 8 bits


def test_pairs_of_classes(conditional: Bundle, tmp_path: Path) -> None:
    pairs = make_pairs(conditional, tmp_path, 12, 32, "cpu")
    assert set(pairs.classes) == {0, 1, 2}
    coordinates, classes, pictures = pairs.batch(np.arange(12))
    with torch.no_grad():
        made = conditional.generator(conditional.coordinates.latents(coordinates, classes))
    assert torch.allclose(pictures, made.clamp(-1, 1), atol=0.1)


def test_stopped_pairs_go_on(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invcomp.training.pairs.CHUNK_PIXELS", 50 * 64 * 64)
    monkeypatch.setattr("invcomp.training.pairs.SAVE_EVERY", 50)

    def stop(stage: str, done: int, total: int) -> None:
        if done >= 250:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_pairs(bundle, tmp_path / "a", 300, 64, "cpu", progress=stop)
    seen: list[int] = []
    make_pairs(bundle, tmp_path / "a", 300, 64, "cpu", progress=lambda *at: seen.append(at[1]))
    whole = make_pairs(bundle, tmp_path / "b", 300, 64, "cpu")
    again = make_pairs(bundle, tmp_path / "a", 300, 64, "cpu")
    assert seen[0] == 250
    assert np.array_equal(again.pictures, whole.pictures)
    with pytest.raises(BundleError, match="made otherwise"):
        make_pairs(bundle, tmp_path / "a", 301, 64, "cpu")


@pytest.mark.parametrize(("count", "resolution"), [(0, 64), (5, 128)])
def test_pairs_that_cannot_be(bundle: Bundle, tmp_path: Path, count: int, resolution: int) -> None:
    with pytest.raises(OptionError, match="at most"):
        make_pairs(bundle, tmp_path, count, resolution, "cpu")


def linear(options: FitOptions, place: Place) -> torch.Tensor:
    """What a line with dropout learns."""
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.2))
    x = normal(50, 4, seed=7)

    def loss(indices: np.ndarray) -> torch.Tensor:
        return (student(x[indices]) - x[indices]).square().mean()

    fit("line", student, loss, 50, options, place)
    assert isinstance(student[0], nn.Linear)
    return student[0].weight.detach()


def test_a_stopped_student_goes_on_as_if_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invcomp.training.students.SAVE_EVERY", 10)
    options = FitOptions(steps=60, batch=8, learning_rate=0.01)
    whole = linear(options, Place(tmp_path / "a", "cpu"))

    def stop(stage: str, done: int, total: int) -> None:
        if done == 37:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        linear(options, Place(tmp_path / "b", "cpu", stop))
    with pytest.raises(BundleError, match="other options"):
        linear(replace(options, steps=61), Place(tmp_path / "b", "cpu"))
    seen: list[int] = []
    resumed = linear(options, Place(tmp_path / "b", "cpu", lambda *at: seen.append(at[1])))
    assert seen[0] == 30
    assert torch.equal(resumed, whole)
    assert not list(tmp_path.iterdir())


def test_an_encoder_learns_where_pictures_lie(bundle: Bundle, pairs: Pairs, tmp_path: Path) -> None:
    options = FitOptions(steps=150, batch=32, learning_rate=1e-3)
    encoder, explained = train_encoder(bundle, pairs, Place(tmp_path / "e", "cpu"), options)
    assert explained > 0.2  # of held-out pairs; nothing learned explains nothing
    codec = Codec(replace(bundle, aids=SearchAids(encoder)), "cpu", compiled=False)
    search = codec.searcher(SearchOptions(), 1)
    truth, _, pictures = pairs.batch(np.arange(COUNT - 8, COUNT))
    guess = search.guess(pictures)
    assert (guess - truth).square().sum() < 0.9 * truth.square().sum()
    start = search.start(pictures[:1], 60, SearchOptions())
    assert torch.allclose(start.coordinates, guess[:1], atol=1e-5)
    cold = search.start(pictures[:1], 60, SearchOptions(warm_start=False, starts=1))
    assert not cold.coordinates.any()


def test_an_encoder_knows_of_no_classes(conditional: Bundle, tmp_path: Path, pairs: Pairs) -> None:
    with pytest.raises(OptionError, match="without classes"):
        train_encoder(conditional, pairs, Place(tmp_path / "e", "cpu"))


def test_a_proxy_learns_the_pictures(bundle: Bundle, pairs: Pairs, tmp_path: Path) -> None:
    def lpips(steps: int) -> float:
        options = FitOptions(steps=steps, batch=16, learning_rate=2e-3)
        return train_proxy(bundle, pairs, Place(tmp_path / "p", "cpu"), options, CHANNELS)[1]

    assert lpips(150) < 0.8 * lpips(1)


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
    data = full.compress(pixels, search=SearchOptions(steps=4, starts=1))
    assert full.decompress(data).size == (64, 64)
    assert proxy.decompress(data).size == (16, 16)
    from_proxy = proxy.compress(pixels, search=SearchOptions(steps=4, starts=1))
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


def test_sizes_of_proxies() -> None:
    for resolution in (16, 64, 128, 256):
        channels = proxy_channels(resolution)
        assert Proxy(10, channels).resolution == resolution
    assert sum(p.numel() for p in Proxy(650, proxy_channels(128)).parameters()) <= 3e6
    with pytest.raises(OptionError, match="power of two"):
        proxy_channels(100)
