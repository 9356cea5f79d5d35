"""Compares imported StyleGAN networks with the official code that made them, on small networks.

    python scripts/benchmarks/official_networks.py stylegan2-ada-pytorch/    # or stylegan3/
    python scripts/benchmarks/official_networks.py stylegan2-pytorch/    # rosinality's

CHECKOUT is NVlabs/stylegan2-ada-pytorch, NVlabs/stylegan3 or rosinality/stylegan2-pytorch, whose
code runs, on the CPU (NVlabs' needs `pip install requests`). Each network is drawn at random, saved
as there, and imported; others must be refused. The difference is the largest of any pixel, relative
to the largest pixel if over 1, for images of z and for images with another w in every layer.
"""

from __future__ import annotations

import argparse
import importlib
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.utils.cpp_extension
from torch import Tensor, nn

from invcomp.errors import BundleError
from invcomp.importers.recognise import read_foreign

MOST = 1e-5  # difference, for other orders of the same sums
CLAMP = 0.6  # one that these networks reach
USUAL = {"z_dim": 32, "c_dim": 0, "w_dim": 32, "img_resolution": 32, "img_channels": 3}
SMALL = {"channel_base": 512, "channel_max": 24}
THREE = {**SMALL, "num_layers": 8, "num_critical": 2}
ROTATING = {"conv_kernel": 1, "use_radial_filters": True}

# name, and arguments that differ from the usual ones: of the mapping, of the synthesis, of both
Case = tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]
BOTH: list[Case] = [  # of StyleGAN2, in both of NVIDIA's repositories
    ("4 px", {}, {}, {"img_resolution": 4}),
    ("8 px", {}, {}, {"img_resolution": 8}),
    ("usual", {}, {}, {}),
    ("128 px", {}, {}, {"img_resolution": 128}),
    ("wide and shallow", {"num_layers": 1}, {"channel_base": 2048, "channel_max": 96}, {}),
    ("no clamp", {}, {"conv_clamp": None}, {}),
    ("clamp 256", {}, {"conv_clamp": 256}, {}),
    (f"clamp {CLAMP}", {}, {"conv_clamp": CLAMP}, {}),
    ("half precision", {}, {"num_fp16_res": 3, "fp16_channels_last": True}, {}),
    ("mapping learns at 1", {"lr_multiplier": 1}, {}, {}),
    ("mapping learns at 0.1", {"lr_multiplier": 0.1, "num_layers": 3}, {}, {}),
    ("z 40, w 24", {}, {}, {"z_dim": 40, "w_dim": 24}),
    ("10 classes", {}, {}, {"c_dim": 10}),
    ("2 classes, clamp", {"lr_multiplier": 0.1}, {"conv_clamp": CLAMP}, {"c_dim": 2, "w_dim": 20}),
]
REFUSED: list[Case] = [
    ("skip: resnet", {}, {"architecture": "resnet"}, {}),
    ("skip: none", {}, {"architecture": "orig"}, {}),
    ("grey", {}, {}, {"img_channels": 1}),
    ("relu", {}, {"activation": "relu"}, {}),
    ("relu in the mapping", {"activation": "relu"}, {}, {}),
    ("another filter", {}, {"resample_filter": [1, 2, 1]}, {}),
    ("embedding of 5", {"embed_features": 5}, {}, {"c_dim": 3}),
    ("mapping of other widths", {"layer_features": 50}, {}, {}),
    ("without noise", {}, {"use_noise": False}, {}),
    ("kernels of 1", {}, {"kernel_size": 1}, {}),
]
STYLEGAN3: list[Case] = [
    ("T", {}, THREE, {}),
    ("R", {}, {**THREE, **ROTATING}, {}),
    ("T, published bands, 14 layers", {}, {**SMALL, "num_layers": 14}, {"img_resolution": 64}),
    ("R, published bands, 14 layers", {}, {**SMALL, **ROTATING}, {"img_resolution": 64}),
    ("T, 16 px", {}, {**THREE, "num_layers": 6}, {"img_resolution": 16}),
    ("T, 128 px", {}, THREE, {"img_resolution": 128}),
    ("T, no clamp", {}, {**THREE, "conv_clamp": None}, {}),
    (f"T, clamp {CLAMP}", {}, {**THREE, "conv_clamp": CLAMP}, {}),
    (f"R, clamp {CLAMP}", {}, {**THREE, **ROTATING, "conv_clamp": CLAMP}, {}),
    ("T, half precision", {}, {**THREE, "num_fp16_res": 4}, {}),
    ("T, another margin", {}, {**THREE, "margin_size": 6}, {}),
    ("T, other bands", {}, {**THREE, "first_cutoff": 1, "first_stopband": 3.0}, {}),
    ("T, another end", {}, {**THREE, "last_stopband_rel": 2**0.5, "num_critical": 1}, {}),
    ("T, longer filters", {}, {**THREE, "filter_size": 8, "lrelu_upsampling": 4}, {}),
    ("R, kernels of 3", {}, {**THREE, "use_radial_filters": True}, {}),
    ("T, output times 1", {}, {**THREE, "output_scale": 1}, {}),
    ("T, mapping of 8, z 40", {"num_layers": 8, "lr_multiplier": 0.1}, THREE, {"z_dim": 40}),
    ("T, 10 classes", {}, THREE, {"c_dim": 10}),
    ("R, 2 classes", {}, {**THREE, **ROTATING}, {"c_dim": 2}),
]
ROSINALITY: list[tuple[str, dict[str, Any], str]] = [  # and how it is saved
    ("8 px", {"size": 8}, "g_ema"),
    ("16 px", {"size": 16}, "g_ema"),
    ("64 px, thin", {"size": 64, "channel_multiplier": 1}, "g_ema"),
    ("128 px", {"size": 128}, "g_ema"),
    ("w 64", {"size": 16, "style_dim": 64}, "g_ema"),
    ("mapping of 1", {"size": 16, "n_mlp": 1}, "g_ema"),
    ("in parallel", {"size": 16}, "parallel"),
    ("only g", {"size": 16}, "g"),
    ("older layout", {"size": 16}, "legacy"),
]


def drawn(network: nn.Module) -> Any:
    """A network as training might leave it: no bias and no strength of noise is 0."""
    for name, value in network.named_parameters():
        if name.endswith(("bias", "noise_strength", "noise.weight")):
            value.data += 0.3 * torch.randn(value.shape) / (100 if "mapping.fc" in name else 1)
    for name, value in network.named_buffers():
        if name.endswith(("magnitude_ema", "w_avg")):
            value.copy_(torch.rand(value.shape) + 0.5)
    return network.eval().requires_grad_(False)


def difference(*pairs: tuple[Tensor, Tensor]) -> float:
    """The largest of any pair, theirs first."""
    return max(float((x - y).abs().max() / x.abs().max().clamp_min(1)) for x, y in pairs)


def nvidia(make: Callable[..., Any], case: Case, path: Path, nested: bool) -> float:
    """Saves a network of NVIDIA's and imports it."""
    _, mapping, synthesis, both = case
    synthesis = {"synthesis_kwargs": {**SMALL, **synthesis}} if nested else {**SMALL, **synthesis}
    network = drawn(make(**{**USUAL, **both}, mapping_kwargs=mapping, **synthesis))
    snapshot = {"G": network, "D": None, "G_ema": network, "augment_pipe": None}
    path.write_bytes(pickle.dumps({**snapshot, "training_set_kwargs": {"resolution": 32}}))
    read: Any = read_foreign(path)[0]
    z, ws = torch.randn(3, network.z_dim), torch.randn(3, network.num_ws, network.w_dim)
    classes = torch.randint(network.c_dim, (3,)) if network.c_dim else None
    labels = torch.zeros(3, 0) if classes is None else torch.eye(network.c_dim)[classes]
    exactly = {"noise_mode": "const", "force_fp32": True}
    return difference(
        (network(z, labels, **exactly), read(read.spread(read.sample(z, classes)))),
        (network.synthesis(ws, **exactly), read(ws.flatten(1))),
        (network.mapping.w_avg, read.mapping.w_avg),
    )


def rosinality(make: Callable[..., Any], options: dict[str, Any], how: str, path: Path) -> float:
    """The same for a network of rosinality's."""
    network = drawn(make(**{"style_dim": 128, "n_mlp": 4, **options}))
    state = network.state_dict()
    parallel = {f"module.{name}": value for name, value in state.items()}
    saved = {"parallel": {"g_ema": parallel}, "g": {"g": state}}.get(how)
    torch.save(saved or {"g_ema": state}, path, _use_new_zipfile_serialization=how != "legacy")
    read: Any = read_foreign(path)[0]
    z, ws = torch.randn(3, network.style_dim), torch.randn(3, network.n_latent, network.style_dim)
    return difference(
        (network([z], randomize_noise=False)[0], read(read.spread(read.sample(z)))),
        (network([ws], input_is_latent=True, randomize_noise=False)[0], read(ws.flatten(1))),
    )


def comparisons(checkout: Path) -> Iterator[tuple[str, bool, Callable[[Path], float]]]:
    """Name, whether it must be refused, and the comparison itself, of every network."""
    if (checkout / "model.py").exists():
        make = importlib.import_module("model").Generator
        for name, options, how in ROSINALITY:
            yield f"rosinality: {name}", False, partial(rosinality, make, options, how)
    for module, kind, known, refused in (
        ("networks", "ADA", BOTH, REFUSED),
        ("networks_stylegan2", "StyleGAN2", BOTH, REFUSED),
        ("networks_stylegan3", "StyleGAN3", STYLEGAN3, []),
    ):
        if (checkout / f"training/{module}.py").exists():
            make = importlib.import_module(f"training.{module}").Generator
            for each in known + refused:
                compare = partial(nvidia, make, each, nested=module == "networks")
                yield f"{kind}: {each[0]}", each in refused, compare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path)
    checkout = parser.parse_args().checkout
    sys.path.insert(0, str(checkout.resolve()))
    torch.set_grad_enabled(False)
    torch.utils.cpp_extension.load = lambda *_, **__: None  # CUDA code, which a CPU does not run
    found, wrong = list[float | None](), list[str]()
    print("| network | largest difference |\n|---|---|")
    for seed, (name, refused, compare) in enumerate(comparisons(checkout)):
        torch.manual_seed(seed)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.pkl"
            try:
                found.append(compare(path))
                said = f"{found[-1]:.1e}"
            except BundleError as error:
                found.append(None)
                said = f"refused: {error}".replace(f"{path}: ", "")
        print(f"| {name} | {said} |", flush=True)
        if refused is not (found[-1] is None) or (found[-1] or 0) > MOST or "\n" in said:
            wrong.append(name)
    read = [value for value in found if value is not None]
    print(f"\n{len(read)} networks, at most {max(read):.1e}; {len(found) - len(read)} refused")
    if wrong:
        raise SystemExit(f"not as expected: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
