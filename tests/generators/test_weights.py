"""Generators in files: what comes back, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from invcomp.errors import BundleError, MissingBundleError
from invcomp.generators.stylegan2 import StyleGAN2
from invcomp.generators.weights import load_generator, round_to_half, save_generator


def generator() -> StyleGAN2:
    torch.manual_seed(0)
    return StyleGAN2([8, 8], 8, 8, 1).eval().requires_grad_(False)


@pytest.mark.parametrize("rounded", [False, True])
def test_round_trip(rounded: bool, tmp_path: Path) -> None:
    ours = round_to_half(generator()) if rounded else generator()
    save_generator(ours, tmp_path / "g.safetensors")
    theirs = load_generator(tmp_path / "g.safetensors")
    latents = torch.randn(2, ours.latent_size)
    assert torch.equal(ours(latents), theirs(latents))
    assert theirs.options() == ours.options()


def test_rounded_weights_take_half_the_room(tmp_path: Path) -> None:
    save_generator(generator(), tmp_path / "whole.safetensors")
    save_generator(round_to_half(generator()), tmp_path / "half.safetensors")
    whole, half = ((tmp_path / f"{n}.safetensors").stat().st_size for n in ("whole", "half"))
    assert half < 0.7 * whole


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingBundleError):
        load_generator(tmp_path / "g.safetensors")


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "g.safetensors"
    save_generator(generator(), path)
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 20):
        path.write_bytes(whole[:length])
        with pytest.raises(BundleError):
            load_generator(path)


def test_the_frame_of_the_training_images_is_kept(tmp_path: Path) -> None:
    path, ours = tmp_path / "g.safetensors", generator()
    for frame in (None, "pad"):
        ours.frame = frame
        save_generator(ours, path)
        assert load_generator(path).frame == frame
    ours.frame = "fish-eye"
    save_generator(ours, path)
    with pytest.raises(BundleError, match="fish-eye"):
        load_generator(path)


@pytest.mark.parametrize(
    "description",
    [
        {"kind": "posix", "options": {}},
        {"kind": "stylegan2", "options": {"channels": [8, 8], "z_size": 9}},
        {"kind": "stylegan2", "options": {"channels": "x"}},
        {"kind": "stylegan2", "options": {"channels": []}},
        {"kind": "stylegan2", "options": {"channels": [8, 8], "mapping_depth": 10**9}},
    ],
)
def test_a_description_that_does_not_fit(description: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "g.safetensors"
    tensors = {f"generator.{name}": value for name, value in generator().state_dict().items()}
    metadata = {"format": "invcomp generator 1", "generator": json.dumps(description)}
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata)
    with pytest.raises(BundleError):
        load_generator(path)
