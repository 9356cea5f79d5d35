"""Perceptual coordinates against a linear generator, for which everything is known exactly."""

from dataclasses import replace

import pytest
import torch

from invcomp.latents.coordinates import Coordinates, perceptual_coordinates, quantise_rows
from invcomp.latents.prior import Prior


def made(layers: int, draws: int = 800) -> tuple[torch.Tensor, Prior, Coordinates, torch.Tensor]:
    """J of a linear f, a prior, and the coordinates estimated from draws of J^T u."""
    source = torch.Generator().manual_seed(layers)
    size = 6
    jacobian = torch.randn(40, layers * size, generator=source, dtype=torch.float64)
    jacobian *= torch.logspace(0, -2, layers * size)[None]
    mixing = torch.randn(size, size, generator=source)
    samples = torch.randn(20_000, size, generator=source) @ mixing + 3
    prior = Prior.fit(samples, layers, tau=0.3)
    gradients = torch.randn(draws, 40, generator=source, dtype=torch.float64) @ jacobian
    coordinates, projection = perceptual_coordinates(gradients.float(), prior, layers * size)
    return jacobian.float(), prior, coordinates, projection


@pytest.mark.parametrize("layers", [1, 4])
def test_euclidean_distance_is_perceptual_distance(layers: int) -> None:
    jacobian, _, coordinates, _ = made(layers)
    source = torch.Generator().manual_seed(9)
    for _ in range(20):
        c = torch.randn(1, coordinates.count, generator=source) * coordinates.deviations
        moved = coordinates.latents(c) - coordinates.mean
        perceptual = (moved @ jacobian.T).norm()
        assert float(perceptual / c.norm()) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("layers", [1, 4])
def test_prior_samples_have_the_stated_deviations(layers: int) -> None:
    jacobian, prior, coordinates, _ = made(layers)
    size = layers * 6 if layers == 1 else (layers + 1) * 6
    x = torch.randn(20_000, size, generator=torch.Generator().manual_seed(5))
    features = prior.push(x) @ jacobian.T
    energy = float(features.square().sum(1).mean())
    assert float(coordinates.deviations.square().sum()) == pytest.approx(energy, rel=0.2)
    assert (coordinates.deviations.diff() <= 0).all()


def test_pull_back_is_the_transpose_of_push() -> None:
    _, prior, _, _ = made(4)
    source = torch.Generator().manual_seed(1)
    x, gradient = torch.randn(1, 30, generator=source), torch.randn(1, 24, generator=source)
    left = (prior.push(x) * gradient).sum()
    right = (x * prior.pull_back(gradient)).sum()
    torch.testing.assert_close(left, right)


def test_projection_finds_a_shared_vector_again() -> None:
    _, prior, coordinates, projection = made(4)
    w = prior.mean + torch.randn(1, 6, generator=torch.Generator().manual_seed(2)) @ prior.root
    found = coordinates.latents((w - prior.mean) @ projection)
    torch.testing.assert_close(found, w.repeat(1, 4), atol=0.1, rtol=0.02)  # 8-bit basis


def test_own_parts_leave_the_mean_alone() -> None:
    _, prior, _, _ = made(4)
    x = torch.randn(50_000, 24, generator=torch.Generator().manual_seed(3))
    parts = prior.own_parts(x).unflatten(1, (4, 6))
    covariance = torch.cov(parts[:, 2].T)
    torch.testing.assert_close(covariance, prior.root @ prior.root, atol=0.2, rtol=0.05)


def test_rows_are_rounded_to_half_a_step() -> None:
    basis = torch.randn(5, 300, generator=torch.Generator().manual_seed(4))
    codes, scales = quantise_rows(basis)
    assert codes.dtype == torch.int8
    assert ((codes.float() * scales[:, None] - basis).abs() <= scales[:, None] / 2 + 1e-6).all()


def test_classes_have_means_of_their_own_and_one_covariance() -> None:
    source = torch.Generator().manual_seed(6)
    mixing = torch.randn(6, 6, generator=source)
    within = torch.randn(3, 5000, 6, generator=source) @ mixing
    means = 5 * torch.randn(3, 6, generator=source)
    prior = Prior.fit(within + means[:, None], 2, tau=0.3)
    torch.testing.assert_close(prior.mean, means, atol=0.2, rtol=0)
    torch.testing.assert_close(prior.root @ prior.root, mixing.T @ mixing, atol=0.5, rtol=0.05)
    gradients = torch.randn(50, 12, generator=source)
    coordinates, _ = perceptual_coordinates(gradients, prior, 4)
    assert coordinates.mean.shape == (3, 12)
    c, classes = torch.randn(2, 4, generator=source), torch.tensor([2, 0])
    moved = coordinates.latents(c, classes) - coordinates.latents(c)
    expected = (prior.mean[classes] - prior.mean[:1]).repeat(1, 2)
    torch.testing.assert_close(moved, expected, atol=1e-4, rtol=1e-4)


def test_expanded_coordinates_mean_the_same_latents() -> None:
    _, _, coordinates, _ = made(3)
    coordinates = replace(coordinates, mean=torch.cat([coordinates.mean, -coordinates.mean]))
    expanded, classes = coordinates.expanded(), torch.tensor([1, 0])
    assert torch.equal(expanded.basis(), coordinates.basis())
    assert (expanded.count, expanded.classes) == (coordinates.count, 2)
    for count in (3, coordinates.count):
        c = torch.randn(2, count, generator=torch.Generator().manual_seed(0))
        padded = torch.nn.functional.pad(c, (0, coordinates.count - count))
        for space in (coordinates, expanded):
            torch.testing.assert_close(
                space.latents(c, classes), coordinates.latents(padded, classes)
            )
