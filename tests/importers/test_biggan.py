"""Published BigGAN-deep files: the same images as their definition in float64."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from invcomp.errors import BundleError
from invcomp.importers.biggan import read_biggan
from invcomp.importers.recognise import read_foreign

from ..generators.biggan_state import (
    ATTENTION,
    ATTENTION_128,
    EPS,
    LAYERS,
    LAYERS_128,
    State,
    published_state,
    reference_image,
    state_of,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "biggan-deep-128-pytorch_model.bin"


def config(**changes: Any) -> dict[str, Any]:
    """As the published config.json."""
    return {"output_dim": 32, "z_dim": 6, "layers": LAYERS, "eps": EPS, "n_stats": 11,
            "attention_layer_position": ATTENTION, **changes}  # fmt: skip


def write(path: Path, state: State, **options: Any) -> None:
    """A file and the config.json that says its design."""
    torch.save(state, path, **options)
    path.with_name("config.json").write_text(json.dumps(config()))


@pytest.mark.parametrize("zipped", [True, False])
def test_the_images_are_the_papers(path: Path, zipped: bool) -> None:
    state = published_state()
    write(path, state, _use_new_zipfile_serialization=zipped)
    generator, kind = read_foreign(path)
    assert "BigGAN" in kind
    assert (generator.classes, generator.resolution, generator.z_size) == (4, 32, 6)
    z, labels = torch.randn(3, 6, generator=torch.Generator().manual_seed(1)), [3, 0, 1]
    latents = generator.double().sample(z.double(), torch.tensor(labels))
    images = generator(generator.spread(latents))
    expected = torch.stack([reference_image(state, *pair) for pair in zip(z, labels, strict=True)])
    assert expected.std() > 0.1
    torch.testing.assert_close(images, expected, atol=1e-4, rtol=0)  # float32's u and v


def test_without_the_second_vector_of_spectral_norm(path: Path) -> None:
    state = published_state()
    write(path, {n: v for n, v in state.items() if not n.endswith("weight_v")})
    older = read_biggan(path).state_dict()
    torch.save(state, path)
    for name, value in read_biggan(path).state_dict().items():
        torch.testing.assert_close(older[name], value)


LAYERS_256 = [*LAYERS_128[:4], (False, 8, 8), (True, 8, 8), *LAYERS_128[4:]]
LAYERS_512 = [*LAYERS_256, (False, 1, 1), (True, 1, 1)]


@pytest.mark.parametrize(
    ("layers", "resolution"), [(LAYERS_128, 128), (LAYERS_256, 256), (LAYERS_512, 512)]
)
def test_the_published_designs_need_no_config(
    path: Path, layers: list[tuple[bool, int, int]], resolution: int
) -> None:
    torch.save(state_of(layers, ATTENTION_128, 4), path)
    read = read_biggan(path)
    assert read.resolution == resolution
    assert read.options()["blocks"] == [list(block) for block in layers]
    assert read.bn.eps == EPS


@pytest.mark.parametrize(
    ("layers", "attention"), [(LAYERS, ATTENTION), (LAYERS_128, 6), (LAYERS_256[:-2], 8)]
)
def test_another_design_needs_its_config(
    path: Path, layers: list[tuple[bool, int, int]], attention: int
) -> None:
    """Its tensors do not tell which blocks enlarge."""
    torch.save(state_of(layers, attention, 4), path)
    with pytest.raises(BundleError) as raised:
        read_foreign(path)
    assert str(raised.value) == (
        f"{path}: a BigGAN-deep whose design is not a published one: put its config.json next to "
        "it, which specifies the blocks that enlarge"
    )


@pytest.mark.parametrize("name", ["config.json", "biggan-deep-128-config.json"])
def test_the_config_beside_it(path: Path, name: str) -> None:
    torch.save(published_state(), path)
    layers = [[True, *LAYERS[0][1:]], *LAYERS[1:]]
    path.with_name(name).write_text(json.dumps(config(layers=layers, eps=0.5)))
    generator = read_biggan(path)
    assert generator.resolution == 64
    assert generator.bn.eps == 0.5


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "[" * 70000, '{"eps": 2.0}', '{"eps": "x"}', '{"layers": 3}', '{"layers": [1]}',
     '{"layers": [[1, 4, 4]]}', '{"layers": [[true, 4, 4]]}', '{"eps": NaN}'],
)  # fmt: skip
def test_a_config_that_cannot_be(path: Path, text: str) -> None:
    torch.save(published_state(), path)
    path.with_name("config.json").write_text(text)
    with pytest.raises(BundleError, match="not a readable BigGAN-deep"):
        read_biggan(path)


def without(name: str) -> State:
    return {key: value for key, value in published_state().items() if key != name}


@pytest.mark.parametrize(
    "state",
    [
        {},
        [1, 2],
        {"generator.gen_z.weight_orig": torch.ones(2, 2)},
        without("generator.layers.0.conv_1.bias"),
        without("generator.layers.1.bn_0.running_vars"),
        without("generator.gen_z.weight_u"),
        {**published_state(), "generator.more": torch.ones(1)},
        {**published_state(), "generator.layers.9.gamma": torch.ones(1)},
        {**published_state(), "generator.bn.weight": torch.ones(7)},
        {**published_state(), "embeddings.weight": torch.ones(20, 4)},
        {**published_state(), "generator.gen_z.weight_u": torch.zeros(512)},
    ],
)
def test_other_files(path: Path, state: Any) -> None:
    write(path, state)
    with pytest.raises(BundleError, match="not a readable BigGAN-deep"):
        read_biggan(path)


def test_a_tensor_of_a_fork(path: Path) -> None:
    write(path, {**published_state(), "generator.more.weight": torch.ones(1)})
    with pytest.raises(BundleError) as raised:
        read_foreign(path)
    assert str(raised.value) == (
        f"{path}: not a readable BigGAN-deep: it has 1 tensors that a BigGAN does not have, such "
        "as more.weight"
    )


def test_truncated(path: Path) -> None:
    write(path, published_state())
    data = path.read_bytes()
    for percent in range(0, 100, 9):
        path.write_bytes(data[: len(data) * percent // 100])
        with pytest.raises(BundleError):
            read_biggan(path)
