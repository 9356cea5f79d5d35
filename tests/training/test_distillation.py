"""Pairs, and what learns from them, on the tiny bundle."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from invcomp.bundle import Bundle
from invcomp.codec import Codec
from invcomp.distilled.aids import SearchAids
from invcomp.errors import BundleError, OptionError
from invcomp.generators.base import normal
from invcomp.inversion.options import SearchOptions
from invcomp.training.distillation import train_encoder
from invcomp.training.fit import Execution, FitOptions, fit
from invcomp.training.pairs import Pairs, make_pairs


def test_a_pair_is_coordinates_and_their_image(bundle: Bundle, pairs: Pairs) -> None:
    coordinates, classes, images = pairs.batch(np.array([3, 200]))
    with torch.no_grad():
        made = bundle.generator(bundle.coordinates.latents(coordinates, classes))
    assert coordinates[:, 0].abs().min() > 0
    assert torch.allclose(images, made.clamp(-1, 1), atol=0.05)  # bfloat16, 8 bits


def test_pairs_of_classes(conditional: Bundle, tmp_path: Path) -> None:
    pairs = make_pairs(conditional, tmp_path, 12, 32, "cpu")
    assert set(pairs.classes) == {0, 1, 2}
    coordinates, classes, images = pairs.batch(np.arange(12))
    with torch.no_grad():
        made = conditional.generator(conditional.coordinates.latents(coordinates, classes))
    assert torch.allclose(images, made.clamp(-1, 1), atol=0.1)


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
    assert np.array_equal(again.images, whole.images)
    with pytest.raises(BundleError, match="pairs with other settings"):
        make_pairs(bundle, tmp_path / "a", 301, 64, "cpu")


@pytest.mark.parametrize(("count", "resolution"), [(0, 64), (5, 128)])
def test_pairs_that_cannot_be(bundle: Bundle, tmp_path: Path, count: int, resolution: int) -> None:
    with pytest.raises(OptionError, match="at most"):
        make_pairs(bundle, tmp_path, count, resolution, "cpu")


def linear(options: FitOptions, execution: Execution) -> torch.Tensor:
    """What a line with dropout learns."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.2))
    x = normal(50, 4, seed=7)

    def loss(indices: np.ndarray) -> torch.Tensor:
        return (network(x[indices]) - x[indices]).square().mean()

    fit("line", network, loss, 50, options, execution)
    assert isinstance(network[0], nn.Linear)
    return network[0].weight.detach()


def test_a_stopped_training_goes_on_as_if_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invcomp.training.fit.SAVE_EVERY", 10)
    options = FitOptions(steps=60, batch=8, learning_rate=0.01)
    whole = linear(options, Execution(tmp_path / "a", "cpu"))

    def stop(stage: str, done: int, total: int) -> None:
        if done == 37:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        linear(options, Execution(tmp_path / "b", "cpu", stop))
    with pytest.raises(BundleError, match="other options"):
        linear(replace(options, steps=61), Execution(tmp_path / "b", "cpu"))
    seen: list[int] = []
    resumed = linear(options, Execution(tmp_path / "b", "cpu", lambda *at: seen.append(at[1])))
    assert seen[0] == 30
    assert torch.equal(resumed, whole)
    seen.clear()
    assert torch.equal(
        linear(options, Execution(tmp_path / "b", "cpu", lambda *at: seen.append(at[1]))), whole
    )
    assert seen == [60]  # a finished one is not trained again


def test_a_relative_rate_moves_large_weights_further(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        network[0].weight.fill_(10.0)
        network[1].weight.fill_(0.1)
    options = FitOptions(steps=1, batch=1, learning_rate=1.0, relative=True)
    fit(
        "two",
        network,
        lambda _: network(torch.ones(1, 2)).sum(),
        1,
        options,
        Execution(tmp_path / "a"),
    )
    # Adam's first step is as long as the rate, of which the ramp allows a hundredth at first
    assert network[0].weight.tolist() == pytest.approx(torch.full((2, 2), 9.9))
    assert network[1].weight.tolist() == pytest.approx(torch.full((2, 2), 0.099))


def test_an_encoder_learns_where_images_lie(bundle: Bundle, pairs: Pairs, tmp_path: Path) -> None:
    options = FitOptions(steps=150, batch=32, learning_rate=1e-3)
    encoder, explained = train_encoder(bundle, pairs, Execution(tmp_path / "e", "cpu"), options)
    assert explained > 0.2  # of held-out pairs; nothing learned explains nothing
    codec = Codec(replace(bundle, aids=SearchAids(encoder)), "cpu", compiled=False)
    search = codec.encoder.searcher(SearchOptions(), 1)
    truth, _, images = pairs.batch(np.arange(len(pairs) - 8, len(pairs)))
    guess = search.predict(images)
    assert (guess - truth).square().sum() < 0.9 * truth.square().sum()
    start = search.start(images[:1], 60, SearchOptions())
    assert torch.allclose(start.coordinates, guess[:1], atol=1e-5)
    cold = search.start(images[:1], 60, SearchOptions(use_encoder=False, starts=1))
    assert not cold.coordinates.any()


def test_an_encoder_knows_of_no_classes(conditional: Bundle, tmp_path: Path, pairs: Pairs) -> None:
    with pytest.raises(OptionError, match="without classes"):
        train_encoder(conditional, pairs, Execution(tmp_path / "e", "cpu"))
