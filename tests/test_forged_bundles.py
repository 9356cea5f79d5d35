"""Forged bundles: whatever is wrong in one, reading it ends in one line, before it takes memory."""

from __future__ import annotations

import dataclasses
import json
import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from invcomp.bundle import Bundle, read_bundle, read_metadata
from invcomp.distilled.aids import SearchAids
from invcomp.distilled.encoder import InversionEncoder
from invcomp.errors import BundleError, MissingBundleError
from invcomp.generators.base import Generator
from invcomp.generators.dcgan import DCGAN
from invcomp.generators.stylegan2 import StyleGAN2
from invcomp.generators.stylegan3 import StyleGAN3
from invcomp.generators.weights import (
    check_memory,
    describe,
    load_generator,
    save_generator,
    tensors_of,
)
from invcomp.lookup import find_bundle

from .tiny import tiny_bundle, tiny_conditional_bundle, tiny_detailed_bundle

NAN, INF = math.nan, math.inf
Kinds = dict[str, Path]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Kinds:
    """A file of each kind of bundle."""
    folder = tmp_path_factory.mktemp("whole")
    aided = dataclasses.replace(tiny_bundle(), aids=SearchAids(InversionEncoder(20, 8, 8)))
    bundles: dict[str, Bundle] = {
        "plain": tiny_bundle(),
        "classes": tiny_conditional_bundle(),
        "detailed": tiny_detailed_bundle(),
        "aided": aided,
    }
    for name, bundle in bundles.items():
        bundle.save(folder / name)
    return {name: folder / name for name in bundles}


def refused(path: Path) -> str:
    """The reason for which a file is refused, in one line and before its digest is compared."""
    with pytest.raises(BundleError) as raised:
        read_bundle(path)
    said = str(raised.value)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    assert len(said.removeprefix(str(path))) < 340
    assert "do not match its fingerprint" not in said
    return said


def forged(
    whole: Path,
    path: Path,
    tensors: dict[str, Callable[[Tensor], Tensor | None]] | None = None,
    **metadata: str,
) -> Path:
    """A bundle's file with other tensors (None takes one out) and metadata."""
    held, said = load_file(whole), read_metadata(whole)
    for name, change in (tensors or {}).items():
        found = change(held[name])
        held = {key: value for key, value in held.items() if key != name}
        if found is not None:
            held[name] = found.contiguous()
    save_file(held, path, {**said, **metadata})
    return path


def filled(value: float) -> Callable[[Tensor], Tensor]:
    """The tensor with another first value."""

    def change(tensor: Tensor) -> Tensor:
        found = tensor.clone()
        found.view(-1)[0] = value
        return found

    return change


def missing(tensor: Tensor) -> None:
    return None


SHAPES: list[Callable[[Tensor], Tensor | None]] = [
    missing,
    lambda tensor: tensor[:0],
    lambda tensor: tensor[:-1],
    lambda tensor: tensor[..., None],
    lambda tensor: tensor.reshape(-1)[0].clone(),
    lambda tensor: tensor.to(torch.float64 if tensor.dtype != torch.float64 else torch.int8),
    lambda tensor: tensor.to(torch.complex64),
]
REQUIRED = {
    "plain": [
        "coordinates.mean", "coordinates.codes", "coordinates.code_scales",
        "coordinates.deviations", "tables.frequencies", "tables.scales", "tables.layout",
        "generator.constant",
    ],
    "classes": ["coordinates.mean", "candidate_classes"],
    "detailed": [
        "detail.0.basis", "detail.0.units", "detail.0.deviations", "detail.boosts",
        "detail.frequencies", "detail.scales", "detail.layout",
    ],
    "aided": ["encoder.linear.weight"],
}  # fmt: skip


@pytest.mark.parametrize("change", range(len(SHAPES)))
@pytest.mark.parametrize(("kind", "name"), [(k, name) for k in REQUIRED for name in REQUIRED[k]])
def test_wrong_shapes_and_types(
    whole: Kinds, tmp_path: Path, kind: str, name: str, change: int
) -> None:
    if (name, SHAPES[change]) == ("candidate_classes", missing):
        return  # all are then of class 0
    if change == 2 and "frequencies" in name:
        return  # any number of rows makes tables
    if change == 5 and name.startswith(("generator.", "encoder.")):
        return  # weights are read in any precision
    refused(forged(whole[kind], tmp_path / "x.ivm", {name: SHAPES[change]}))


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("plain", "coordinates.mean"),
        ("plain", "coordinates.code_scales"),
        ("plain", "coordinates.deviations"),
        ("plain", "candidates"),
        ("plain", "generator.constant"),
        ("classes", "generator.mapping.fc0.weight"),
        ("detailed", "detail.0.basis"),
        ("detailed", "detail.1.units"),
        ("detailed", "detail.1.deviations"),
        ("aided", "encoder.linear.weight"),
    ],
)
def test_values_that_are_no_numbers(
    whole: Kinds, tmp_path: Path, kind: str, name: str, value: float
) -> None:
    said = refused(forged(whole[kind], tmp_path / "x.ivm", {name: filled(value)}))
    assert "not finite" in said


@pytest.mark.parametrize(
    ("kind", "name", "value", "reason"),
    [
        ("plain", "coordinates.deviations", 0, "not above 0"),
        ("plain", "coordinates.deviations", -1, "not above 0"),
        ("plain", "tables.frequencies", -1, "under 1"),
        ("plain", "tables.frequencies", 1 << 23, "sum to 2\\^24"),
        ("plain", "tables.layout", 0, None),
        ("classes", "candidate_classes", 3, "class is 3"),
        ("classes", "candidate_classes", -1, "class is -1"),
        ("detailed", "detail.0.units", 0, "not above 0"),
        ("detailed", "detail.0.deviations", -1, "not above 0"),
        ("detailed", "detail.frequencies", 5, "sum to 2\\^24"),
    ],
)
def test_values_out_of_range(
    whole: Kinds, tmp_path: Path, kind: str, name: str, value: int, reason: str | None
) -> None:
    path = forged(whole[kind], tmp_path / "x.ivm", {name: filled(value)})
    if reason is None:  # any first ratio is one; then it is another bundle
        with pytest.raises(BundleError, match="fingerprint"):
            read_bundle(path)
    else:
        with pytest.raises(BundleError, match=reason):
            read_bundle(path)


SETTINGS: list[dict[str, Any]] = [
    {"beta": NAN},
    {"beta": INF},
    {"beta": -1},
    {"beta": "0.5"},
    {"beta": None},
    {"default_quality": 101},
    {"default_quality": -1},
    {"default_quality": "high"},
    {"default_quality": True},
    {"closer": -1},
    {"closer": 101},
    {"closer": "near"},
    {"name": 5},
    {"name": "x" * 500},
    {"made": []},
    {"made": {"x": NAN}},
    {"original": 5},
    {"original": {}},
    {"original": {"fingerprint": "8435", "resolution": 64}},
    {"original": {"fingerprint": "zz" * 32, "resolution": 64}},
    {"original": {"fingerprint": 5, "resolution": 64}},
    {"original": {"fingerprint": "84" * 32, "resolution": 10**9}},
    {"original": {"fingerprint": "84" * 32, "resolution": "64"}},
    {"original": {"fingerprint": "84" * 32, "resolution": 0}},
    {"face": 5},
    {"face": {"chip": [0, 0, 1], "dlib": 0.1, "mobile": 0.1}},
    {"face": {"chip": [0, 0, 1, 1], "dlib": NAN, "mobile": 0.1}},
    {"frame": 5},
    {"frame": ["pad"]},
    {"limits": 5},
    {"limits": {"step_indices": 5, "lpips": [1], "identity": None}},
    {"limits": {"step_indices": [5], "lpips": ["a"], "identity": None}},
    {"shape": 5},
    {"shape": {}},
    {"shape": {"tail_weight": 2, "tail_ratio": 3}},
    {"shape": {"tail_weight": "a", "tail_ratio": 3}},
    {"shape": {"tail_weight": 0.1, "tail_ratio": 0}},
    {"quality_steps": [1, 2, 3]},
    {"gravity": 9.81},
]


@pytest.mark.parametrize("change", SETTINGS, ids=lambda change: json.dumps(change)[:60])
def test_settings(whole: Kinds, tmp_path: Path, change: dict[str, Any]) -> None:
    settings = {**json.loads(read_metadata(whole["plain"])["settings"]), **change}
    path = forged(whole["plain"], tmp_path / "x.ivm", settings=json.dumps(settings))
    refused(path)


DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000
JSON = ["", "{", "[]", "5", "null", DEEP, "[" * 500 + "]" * 500, '{"name": 1e999}', '{"x": "\\u']


@pytest.mark.parametrize("field", ["settings", "generator"])
@pytest.mark.parametrize("text", JSON, ids=lambda text: text[:20])
def test_damaged_and_deep_json(whole: Kinds, tmp_path: Path, field: str, text: str) -> None:
    refused(forged(whole["plain"], tmp_path / "x.ivm", **{field: text}))


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "x"},
        {"fingerprint": ""},
        {"fingerprint": "\x1b[2J" * 8},
        {"resolution": "many"},
        {"resolution": "-5"},
        {"resolution": "9" * 5000},
        {"encoder": "5"},
        {"encoder": '{"count": -5}'},
        {"encoder": '{"count": 1e300}'},
        {"encoder": '{"depth": 5}'},
        {"encoder": '{"count": 1000000, "width": 1000000, "hidden": 1000000}'},
        {"shortcut": '{"inputs": 4, "skipped": 4}'},
    ],
)
def test_other_metadata(whole: Kinds, tmp_path: Path, change: dict[str, str]) -> None:
    refused(forged(whole["plain"], tmp_path / "x.ivm", **change))


OPTIONS: list[dict[str, Any]] = [
    {"style": 32, "channels": [32] * 12},
    {"style": 32, "channels": [32] * 10_000},
    {"style": 32, "channels": 10**9},
    {"style": 10**12, "channels": [32] * 4},
    {"style": 32, "channels": [32, 32, 32, 31]},
    {"style": 32, "channels": []},
    {"style": 32, "channels": "abc"},
    {"style": 0, "channels": [32] * 4},
    {"style": 32, "channels": [32] * 4, "mapping_depth": 10**9},
    {"style": "32", "channels": [32] * 4},
    {"paint": 1},
    {},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: str(options)[:50])
def test_options_of_the_generator(whole: Kinds, tmp_path: Path, options: dict[str, Any]) -> None:
    kind = json.loads(read_metadata(whole["plain"])["generator"])["kind"]
    for description in (
        {"kind": kind, "options": options},
        {"kind": [kind], "options": options},
        {"kind": kind, "options": 5},
        {"kind": kind},
    ):
        text = json.dumps(description)
        refused(forged(whole["plain"], tmp_path / "x.ivm", generator=text))


def refused_cheaply(path: Path) -> str:
    """A small file is refused, and nothing large is reserved for it."""
    tracemalloc.start()
    try:
        said = refused(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20
    return said


def bombs() -> dict[str, tuple[dict[str, Any], dict[str, Tensor]]]:
    """Generators that a few KB describe and that fill any memory: descriptions and weights."""
    with torch.device("meta"):
        thin = StyleGAN3(4096, 2, 2, 1, {"channel_max": 1, "channel_base": 8192, "upsampling": 8})
        wide = DCGAN([1, 1, 1, 1, 1, 1, 1, 1, 20_000])
    found = {}
    for name, generator in (("StyleGAN3", thin), ("wide", wide)):
        weights = {key: torch.zeros(value.shape) for key, value in tensors_of(generator).items()}
        found[name] = describe(generator), weights
    options = {"coordinates": 1, "channels": [1] * 12, "classes": 0}
    found["16,384 px"] = {"kind": "proxy", "options": options}, {}
    radial = {"radial": True, "filter_size": 64, "kernel": 1, "layers": 64, "critical": 0}
    found["filters"] = {"kind": "stylegan3", "options": {"resolution": 4096, "design": radial}}, {}
    return found


@pytest.mark.parametrize("name", ["StyleGAN3", "wide", "16,384 px", "filters"])
def test_small_bundles_of_huge_generators(whole: Kinds, tmp_path: Path, name: str) -> None:
    description, weights = bombs()[name]
    own, said = load_file(whole["plain"]), read_metadata(whole["plain"])
    own = {key: value for key, value in own.items() if not key.startswith("generator.")}
    path = tmp_path / "x.ivm"
    save_file({**own, **weights}, path, {**said, "generator": json.dumps(description)})
    assert path.stat().st_size < 6 << 20
    assert any(word in refused_cheaply(path) for word in ("too large", "over 4096 px", "not 0 to"))
    metadata = {"format": "invcomp generator 1", "generator": json.dumps(description)}
    save_file(weights or own, path, metadata)
    with pytest.raises(BundleError):
        load_generator(path)


@pytest.mark.parametrize(
    "make",
    [
        lambda: StyleGAN3(1024, design={"channel_base": 65536, "channel_max": 1024, "kernel": 1}),
        lambda: StyleGAN2([512, 512, 512, 512, 512, 512, 256, 128, 64, 32]),
    ],
)
def test_the_largest_networks_in_use_are_not_too_large(make: Callable[[], Generator]) -> None:
    """StyleGAN3-R of 1024 px, and StyleGAN2 of 2048 px."""
    with torch.device("meta"):
        check_memory(make())


def test_means_that_are_repeated_to_any_size(whole: Kinds, tmp_path: Path) -> None:
    for change in (lambda mean: mean[:1], lambda mean: mean[None, :1], lambda mean: mean[:2]):
        said = refused_cheaply(
            forged(whole["plain"], tmp_path / "x.ivm", {"coordinates.mean": change})
        )
        assert "the mean is" in said


def test_tables_that_become_any_size(whole: Kinds, tmp_path: Path) -> None:
    """Each coordinate has a row of weights in memory when a payload is decoded."""
    columns = 60_000
    frequencies = torch.ones(1, columns, dtype=torch.int32)
    frequencies[0, columns // 2] = (1 << 24) - columns + 1
    said = refused_cheaply(
        forged(
            whole["plain"],
            tmp_path / "x.ivm",
            {
                "tables.frequencies": lambda _: frequencies,
                "tables.scales": lambda _: torch.zeros(50_000, dtype=torch.int16),
            },
        )
    )
    assert "50000 coordinates with 60000 columns" in said
    detail = {"detail.frequencies": lambda _: frequencies.repeat(1, 1)}
    said = refused_cheaply(forged(whole["detailed"], tmp_path / "x.ivm", detail))
    assert "is too large" in said


def test_a_detail_of_any_layout(whole: Kinds, tmp_path: Path) -> None:
    for numbers in ([-4, 1], [0, 1, 3], [0, 1, 3, -8, 2, 16], [0, 1, 3, 10**9, 2, 2 * 10**9], [0]):
        layout = torch.tensor(numbers, dtype=torch.int32)
        change = {"detail.layout": lambda _, layout=layout: layout}
        refused_cheaply(forged(whole["detailed"], tmp_path / "x.ivm", change))
    path = forged(
        whole["plain"], tmp_path / "x.ivm", generator=read_metadata(whole["plain"])["generator"]
    )
    tensors = {
        **load_file(path),
        **{k: v for k, v in load_file(whole["detailed"]).items() if k.startswith("detail.")},
    }
    save_file(tensors, path, read_metadata(path))
    with pytest.raises(BundleError, match="detail"):  # whose digest is not in the metadata
        read_bundle(path)


def test_bad_bundles_in_the_cache(
    whole: Kinds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None hides another one; if what is looked for is not there, they are named."""
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path))
    folder = tmp_path / "models"
    folder.mkdir()
    forged(whole["plain"], folder / "a.ivm", settings=DEEP)
    forged(whole["plain"], folder / "b.ivm", settings="[]")
    forged(whole["plain"], folder / "c.ivm", fingerprint="")
    (folder / "d.ivm").write_bytes(b"no bundle")
    (folder / "e.ivm").mkdir()
    with pytest.raises(MissingBundleError, match=r"cache: a\.ivm, b\.ivm, c\.ivm, d\.ivm, e\.ivm"):
        find_bundle(b"none")
    fingerprint = bytes.fromhex(read_metadata(whole["plain"])["fingerprint"])
    forged(whole["plain"], folder / "m.ivm", {"coordinates.mean": filled(NAN)})
    (folder / "n.ivm").write_bytes(whole["plain"].read_bytes())
    assert find_bundle(fingerprint[:4]) == str(folder / "n.ivm")


def test_whole_ones_are_read(whole: Kinds, tmp_path: Path) -> None:
    for path in whole.values():
        assert read_bundle(path)
    save_generator(tiny_bundle().generator, tmp_path / "x")
    assert load_generator(tmp_path / "x")
