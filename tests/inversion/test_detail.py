from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from invcomp.bitstream import DETAIL, IvcFile
from invcomp.codec import Codec
from invcomp.entropy.density import q_step_of
from invcomp.errors import GoalError
from invcomp.inversion.detail import COARSEST, DEAD_ZONE, FINER, Coefficients, integers_of, rounded
from invcomp.inversion.options import Goal, SearchOptions

from ..tiny import tiny_bundle, tiny_detailed_bundle

SEARCH = SearchOptions(iterations=40)


def picture(seed: int = 3) -> np.ndarray:
    """An image that the tiny generator makes with a detail alone."""
    bundle = tiny_detailed_bundle()
    assert bundle.detail is not None
    source = torch.Generator().manual_seed(seed)
    rare = torch.rand(1, bundle.detail.count, generator=source) < 0.05
    coefficients = torch.randn(1, bundle.detail.count, generator=source) * rare
    image = bundle.generator(bundle.coordinates.means(), bundle.detail.offsets(coefficients))
    return (127.5 * (image[0].clamp(-1, 1) + 1).permute(1, 2, 0)).byte().numpy()


def test_coefficients_that_do_not_pay_become_exactly_zero() -> None:
    q_step = torch.tensor([[q_step_of(100)]])
    wanted = torch.zeros(1, 20)
    wanted[0, :3] = q_step * torch.tensor([8.0, -3.0, 0.2])
    found = Coefficients(1, 20, torch.device("cpu"))
    weight = 0.5 * np.log(2) / 6 * q_step[:, 0] ** 2
    for _ in range(200):
        seen = found.seen(q_step, "free")
        (seen - wanted).square().sum().backward()
        found.step(q_step, weight)
    integers = rounded(found.values / q_step)
    assert integers[0, :4].tolist() == [8, -2, 0, 0] or integers[0, :4].tolist() == [8, -3, 0, 0]
    assert (found.values[0, 2:] == 0).all()


def test_a_large_q_step_has_no_detail() -> None:
    q_steps = torch.tensor([[q_step_of(COARSEST)], [q_step_of(COARSEST + 1)]])
    found = Coefficients(2, 5, torch.device("cpu"))
    for _ in range(20):
        (found.seen(q_steps, "free") - 9).square().sum().backward()
        found.step(q_steps, torch.zeros(2))
    assert (found.values[0] == 0).all()
    assert (found.values[1] > 1).all()


@pytest.mark.parametrize("curvature", [1, 30, 300])
def test_steps_that_are_too_long_become_shorter(curvature: float) -> None:
    """Of one image alone: the other's curvature is what steps are made for."""
    q_steps, curvatures = torch.full((2, 1), q_step_of(100)), torch.tensor([[curvature], [1]])
    found = Coefficients(2, 50, torch.device("cpu"))
    for _ in range(200):
        (curvatures * (found.seen(q_steps, "free") - 1).square()).sum().backward()
        found.step(q_steps, torch.zeros(2))
    assert (found.values - 1).abs().max() < 0.05
    alone = Coefficients(1, 50, torch.device("cpu"))
    for _ in range(200):
        (alone.seen(q_steps[1:], "free") - 1).square().sum().backward()
        alone.step(q_steps[1:], torch.zeros(1))
    assert (alone.values[0] == found.values[1]).all()


def test_the_rate_falls_to_its_true_value() -> None:
    """The finer the q_step, the smaller a coefficient that pays."""
    thresholds = []
    for index in (COARSEST + 1, (COARSEST + FINER) // 2, FINER, FINER + 16):
        q_step = torch.tensor([[q_step_of(index)]])
        found = Coefficients(1, 100, torch.device("cpu"))
        wanted = torch.linspace(0, 10, 100)[None] * q_step
        for _ in range(200):
            (found.seen(q_step, "free") - wanted).square().sum().backward()
            found.step(q_step, 0.5 * np.log(2) / 6 * q_step[:, 0] ** 2)
        thresholds.append(int((found.values == 0).sum()))
    assert thresholds[0] > thresholds[1] > thresholds[2] == thresholds[3] > 0


def test_files_with_a_large_q_step_are_those_without() -> None:
    codec = Codec(tiny_detailed_bundle(), compiled=False)
    files = [
        codec.compress(picture(), q_step=q_step_of(COARSEST), search=search)
        for search in (SEARCH, replace(SEARCH, detail=False))
    ]
    assert files[0] == files[1]


def test_rounding_has_a_dead_zone() -> None:
    values = np.array([-1.7, -DEAD_ZONE - 0.01, -0.5, 0.0, DEAD_ZONE - 0.01, 0.61, 2.55, 2.61])
    wanted = [-2, -1, 0, 0, 0, 1, 2, 3]
    assert integers_of(values).tolist() == wanted
    assert rounded(torch.from_numpy(values)).int().tolist() == wanted


@pytest.mark.parametrize("fast", [False, True])
def test_a_detail_lowers_the_distortion_of_a_file(fast: bool) -> None:
    search = SearchOptions(iterations=40, fast=fast)
    found, plain = (
        next(Codec(bundle, compiled=False).encode([picture()], quality=70, search=search))
        for bundle in (tiny_detailed_bundle(), tiny_bundle())
    )
    assert IvcFile.unpack(found.data).layer(DETAIL)
    assert found.lpips < 0.7 * plain.lpips
    assert found.psnr > plain.psnr


def test_no_detail_is_the_file_of_a_bundle_without() -> None:
    detailed, plain = tiny_detailed_bundle(), tiny_bundle()
    options = SearchOptions(iterations=20, detail=False)
    files = [
        Codec(bundle, compiled=False).compress(picture(), quality=60, search=options)
        for bundle in (detailed, plain)
    ]
    assert files[0] == files[1]


@pytest.mark.parametrize("limit", [120, 300, 700])
def test_a_limit_is_kept_and_filled_with_the_detail(limit: int) -> None:
    codec = Codec(tiny_detailed_bundle(), compiled=False)
    data = codec.compress(picture(), goal=Goal(bytes=limit), search=SEARCH)
    assert 0.9 * limit <= len(data) <= limit
    assert IvcFile.unpack(data).layer(DETAIL) or limit == 120


def test_a_goal_of_lpips_that_the_vector_misses_is_reached_with_the_detail() -> None:
    codec = Codec(tiny_detailed_bundle(), compiled=False)
    vector = SearchOptions(iterations=40, detail=False)
    limit = 0.6 * next(codec.encode([picture()], quality=90, search=vector)).lpips
    with pytest.raises(GoalError):
        codec.compress(picture(), goal=Goal(lpips=limit), search=vector)
    found = next(codec.encode([picture()], goal=Goal(lpips=limit), search=SEARCH))
    assert found.lpips <= limit


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"goal": Goal(bytes=1400)}, True),
        ({"q_step": q_step_of(FINER)}, True),
        ({"q_step": q_step_of(COARSEST)}, False),
        ({"goal": Goal(bytes=1400), "search": SearchOptions(iterations=20, detail=False)}, False),
    ],
)
def test_which_files_have_a_detail(options: dict[str, Any], expected: bool) -> None:
    options = {"search": SearchOptions(iterations=20), **options}
    data = Codec(tiny_detailed_bundle(), compiled=False).compress(picture(), **options)
    assert (IvcFile.unpack(data).layer(DETAIL) is not None) == expected


def test_a_batch_has_a_detail_for_each_image() -> None:
    codec = Codec(tiny_detailed_bundle(), compiled=False)
    images = [picture(), picture(4)]
    together = codec.compress_batch(images, quality=70, batch=2, search=SEARCH)
    layers = [IvcFile.unpack(data).layer(DETAIL) for data in together]
    assert all(layers)
    assert layers[0] != layers[1]
