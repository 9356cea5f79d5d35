import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invcomp.errors import MissingBundleError, OptionError
from invcomp.evaluation.metrics import NAMES, Metrics
from invcomp.model_zoo.catalogue import pretrained_path
from invcomp.perception.lpips_network import Network, load_lpips

NO_VGG = ("lpips_alex", "ms_ssim", "psnr")


@pytest.fixture(scope="module")
def portrait() -> torch.Tensor:
    image = Image.open(pretrained_path("portrait.jpg")).resize((512, 512), Image.Resampling.BOX)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    return Metrics(names=NO_VGG)


def blurred(image: torch.Tensor, factor: int) -> torch.Tensor:
    small = torch.nn.functional.avg_pool2d(image, factor)
    return torch.nn.functional.interpolate(small, scale_factor=factor, mode="bilinear")


def test_equal_images(metrics: Metrics, portrait: torch.Tensor) -> None:
    measured = metrics.measure(portrait, portrait)
    assert measured == {"lpips_alex": 0, "ms_ssim": pytest.approx(1), "psnr": math.inf}


def test_all_metrics_call_the_more_blurred_image_worse(
    vgg_trunk: None, portrait: torch.Tensor
) -> None:
    metrics = Metrics()
    little, much = (metrics.measure(portrait, blurred(portrait, factor)) for factor in (4, 16))
    assert tuple(little) == NAMES
    for name in ("lpips_alex", "lpips_vgg", "dists"):
        assert 0 < little[name] < much[name] < 1
    for name in ("ms_ssim", "psnr"):
        assert much[name] < little[name]


def test_psnr_is_of_the_mean_square_over_the_whole_image(
    metrics: Metrics, portrait: torch.Tensor
) -> None:
    decoded = blurred(portrait, 8)
    mean_square = (portrait.double() - decoded.double()).square().mean().item()
    measured = metrics.measure(portrait, decoded)["psnr"]
    assert measured == pytest.approx(-10 * math.log10(mean_square), abs=1e-3)


@pytest.mark.parametrize("network", ["alex", "vgg"])
def test_lpips_is_the_package_s_on_the_area_average_of_256_px(
    portrait: torch.Tensor, request: pytest.FixtureRequest, network: Network
) -> None:
    if network == "vgg":
        request.getfixturevalue("vgg_trunk")
    name = f"lpips_{network}"
    decoded = blurred(portrait, 8)
    small = [torch.nn.functional.avg_pool2d(image, 2) for image in (portrait, decoded)]
    expected = load_lpips(network)(small[0] * 2 - 1, small[1] * 2 - 1).item()
    measured = Metrics(names=(name,)).measure(portrait, decoded)[name]
    assert measured == pytest.approx(expected, abs=1e-6)


def test_one_original_serves_many_images(metrics: Metrics, portrait: torch.Tensor) -> None:
    reference = metrics.of(portrait)
    for factor in (4, 8):
        decoded = blurred(portrait, factor)
        assert reference.measure(decoded) == metrics.measure(portrait, decoded)


@pytest.mark.parametrize("name", NO_VGG)
def test_a_batch_is_measured_pair_by_pair(
    metrics: Metrics, portrait: torch.Tensor, name: str
) -> None:
    originals = torch.cat([portrait, portrait.flip(3)])
    decoded = torch.cat([blurred(portrait, 4), blurred(portrait, 8)])
    together = metrics.distances(name, originals, decoded)
    alone = [metrics.distances(name, originals[i : i + 1], decoded[i : i + 1]) for i in (0, 1)]
    assert together.shape == (2,)
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=1e-4)


def test_ms_ssim_of_a_small_image_is_a_clean_error(metrics: Metrics) -> None:
    fine, small = torch.rand(1, 3, 176, 176), torch.rand(1, 3, 175, 175)
    assert metrics.measure(fine, fine)["ms_ssim"] == pytest.approx(1)
    with pytest.raises(OptionError, match="MS-SSIM"):
        metrics.measure(small, small)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(OptionError, match="ssim2"):
        Metrics(names=("ssim2",))


def test_only_the_metrics_that_need_vgg_ask_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    Metrics(names=NO_VGG)
    for name in ("lpips_vgg", "dists"):
        with pytest.raises(MissingBundleError, match="models get lpips-vgg"):
            Metrics(names=(name,))
