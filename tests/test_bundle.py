"""Bundles: written, read, joined, checked."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from invcomp.bundle import Settings, read_bundle, read_metadata
from invcomp.entropy.mixture import LaplaceMixture
from invcomp.errors import BundleError, MissingBundleError
from invcomp.generators.base import normal
from invcomp.lookup import find_bundle, load_bundle, open_generator
from invcomp.model_zoo.catalogue import KNOWN_MODELS
from invcomp.perception.identity import Face
from invcomp.preprocessing.frame import FRAMES
from invcomp.quality import LINEAR_STEPS

from .tiny import tiny_bundle, tiny_conditional_bundle


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "tiny.ivm"
    tiny_bundle().save(path)
    return path


def test_read_back_whole(path: Path) -> None:
    bundle, again = tiny_bundle(), read_bundle(path)
    assert again.fingerprint == bundle.fingerprint
    assert again.settings == bundle.settings
    c = normal(2, 64, seed=0)
    torch.testing.assert_close(
        again.generator(again.coordinates.latents(c)),
        bundle.generator(bundle.coordinates.latents(c)),
    )


def test_metadata_tell_the_resolution(path: Path) -> None:
    assert read_metadata(path)["resolution"] == "64"
    assert read_metadata(KNOWN_MODELS["faces-1024"].prepared)["resolution"] == "1024"


def test_a_conditional_bundle_read_back(tmp_path: Path) -> None:
    bundle, path = tiny_conditional_bundle(), tmp_path / "classes.ivm"
    bundle.save(path)
    again = read_bundle(path)
    assert again.fingerprint == bundle.fingerprint
    assert again.entropy.classes == again.generator.classes == 3
    assert load_file(path)["coordinates.mean"].shape == (3, 8)
    torch.testing.assert_close(again.coordinates.mean, bundle.coordinates.mean)
    assert again.candidate_classes.tolist() == [0, 1, 2, 0, 1, 2]
    assert "candidate_classes" not in tiny_bundle()._own_tensors()
    others = dataclasses.replace(bundle, candidate_classes=bundle.candidate_classes.flip(0))
    assert others.fingerprint == bundle.fingerprint
    moved = dataclasses.replace(bundle.coordinates, mean=bundle.coordinates.mean.flip(0))
    assert dataclasses.replace(bundle, coordinates=moved).fingerprint != bundle.fingerprint


@pytest.mark.parametrize("means", [torch.zeros(2, 8), torch.zeros(8), torch.zeros(3, 8, 1)])
def test_means_that_do_not_fit_the_classes(tmp_path: Path, means: torch.Tensor) -> None:
    path = tmp_path / "classes.ivm"
    tiny_conditional_bundle().save(path)
    tensors, metadata = load_file(path), read_metadata(path)
    save_file({**tensors, "coordinates.mean": means}, path, metadata)
    with pytest.raises(BundleError):
        read_bundle(path)


def test_fingerprint_covers_what_decoding_needs() -> None:
    bundle = tiny_bundle()
    expected = bundle.fingerprint

    def with_tables(**changes: Any) -> LaplaceMixture:
        tables = dataclasses.replace(bundle.entropy.tables, **changes)
        return dataclasses.replace(bundle.entropy, tables=tables)

    changed = [
        dataclasses.replace(bundle, entropy=with_tables(scales=bundle.entropy.tables.scales + 1)),
        dataclasses.replace(
            bundle, coordinates=dataclasses.replace(bundle.coordinates, mean=normal(1, 416, 1))
        ),
        dataclasses.replace(bundle, entropy=with_tables(segment_ends=(8, 25, 64))),
        dataclasses.replace(bundle, entropy=with_tables(slopes=np.ones(64, dtype=np.int16))),
    ]
    assert len({expected, *(other.fingerprint for other in changed)}) == 5
    others = Settings("other", quality_steps=(1, 2, 3, 4, 5))
    assert dataclasses.replace(bundle, settings=others).fingerprint == expected
    with torch.no_grad():
        bundle.generator.constant[0, 0, 0, 0] += 1e-3
    assert bundle.fingerprint != expected


def test_without_its_generator_it_joins_one(tmp_path: Path) -> None:
    bundle, path = tiny_bundle(), tmp_path / "tiny.safetensors"
    bundle.save(path, generator=False)
    assert not any(name.startswith("generator.") for name in load_file(path))
    assert read_bundle(path, tiny_bundle().generator).fingerprint == bundle.fingerprint
    other = tiny_bundle().generator
    with torch.no_grad():
        other.constant += 1
    with pytest.raises(BundleError, match="fingerprint"):
        read_bundle(path, other)


def test_altered_and_damaged_bundles_are_refused(path: Path, tmp_path: Path) -> None:
    tensors, metadata = load_file(path), read_metadata(path)
    tensors["coordinates.codes"][0, 0] += 1
    altered = tmp_path / "altered.ivm"
    save_file(tensors, altered, metadata)
    with pytest.raises(BundleError, match="fingerprint"):
        read_bundle(altered)
    data = path.read_bytes()
    for length in range(0, len(data), len(data) // 40):
        altered.write_bytes(data[:length])
        with pytest.raises(BundleError, match=r"altered\.ivm"):
            read_bundle(altered)
    del tensors["tables.scales"]
    save_file(tensors, altered, metadata)
    with pytest.raises(BundleError, match="damaged"):
        read_bundle(altered)
    save_file({"x": torch.zeros(1)}, altered)
    with pytest.raises(BundleError, match="not a bundle"):
        read_bundle(altered)


def with_settings(path: Path, target: Path, **changes: Any) -> Path:
    """A bundle's file with other settings; None takes one out."""
    tensors, metadata = load_file(path), read_metadata(path)
    settings = {**json.loads(metadata["settings"]), **changes}
    settings = {name: value for name, value in settings.items() if value is not None}
    save_file(tensors, target, {**metadata, "settings": json.dumps(settings)})
    return target


def test_where_the_face_is_is_read_back(tmp_path: Path) -> None:
    """And changes nothing of what a file decodes to."""
    bundle = tiny_bundle()
    face = Face(dlib=0.5)
    settings = dataclasses.replace(bundle.settings, face=face)
    with_face = dataclasses.replace(bundle, settings=settings)
    assert with_face.fingerprint == bundle.fingerprint
    with_face.save(tmp_path / "face.ivm")
    assert read_bundle(tmp_path / "face.ivm").settings.face == face


def test_a_generator_alone_fits_images_as_its_bundle(tmp_path: Path) -> None:
    bundle = tiny_bundle()
    settings = dataclasses.replace(bundle.settings, frame="stretch")
    dataclasses.replace(bundle, settings=settings).save(tmp_path / "stretched.ivm")
    assert open_generator(tmp_path / "stretched.ivm").frame == "stretch"


def test_a_way_of_fitting_images_that_is_not_known_is_refused(tmp_path: Path) -> None:
    bundle = tiny_bundle()
    assert bundle.settings.frame in FRAMES
    settings = dataclasses.replace(bundle.settings, frame="fish-eye")
    dataclasses.replace(bundle, settings=settings).save(tmp_path / "other.ivm")
    with pytest.raises(BundleError, match="fits images by 'fish-eye'"):
        read_bundle(tmp_path / "other.ivm")


def test_unknown_settings_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="unknown settings gravity"):
        read_bundle(with_settings(path, tmp_path / "other.ivm", gravity=9.81))


def test_a_table_of_qualities_is_read_back(tmp_path: Path) -> None:
    steps = (10, 20, 60, 61, 255)
    settings = Settings("own", quality_steps=steps)
    dataclasses.replace(tiny_bundle(), settings=settings).save(tmp_path / "own.ivm")
    again = read_bundle(tmp_path / "own.ivm").settings
    assert again == settings
    assert [again.step_index(quality) for quality in (0, 25, 50, 75, 100)] == list(steps)
    assert again.step_index(40) == 44


def test_bundles_from_before_there_were_tables(path: Path, tmp_path: Path) -> None:
    old = with_settings(path, tmp_path / "old.ivm", quality_steps=None, coarsest=32, finest=132)
    settings = read_bundle(old).settings
    assert settings == tiny_bundle().settings
    assert settings.quality_steps == LINEAR_STEPS
    assert [settings.step_index(quality) for quality in range(101)] == list(range(32, 133))
    other = with_settings(path, tmp_path / "x.ivm", quality_steps=None, coarsest=0, finest=80)
    assert read_bundle(other).settings.quality_steps == (0, 20, 40, 60, 80)


@pytest.mark.parametrize(
    "steps",
    [
        [32, 57, 82, 107],
        [32, 57, 82, 107, 132, 157],
        [32, 57, 57, 107, 132],
        [132, 107, 82, 57, 32],
        [-1, 57, 82, 107, 132],
        [32, 57, 82, 107, 256],
        [32, 57, 82.5, 107, 132],
        [32, 57, "82", 107, 132],
        [False, True, 82, 107, 132],
        [32, 57, [82], 107, 132],
        "fives",
        {},
        5,
        None,
    ],
)
def test_bad_tables_are_refused(path: Path, tmp_path: Path, steps: Any) -> None:
    bad = with_settings(path, tmp_path / "bad.ivm", quality_steps=steps)
    with pytest.raises(BundleError, match=r"bad\.ivm: damaged bundle \(.+\)$") as raised:
        read_bundle(bad)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "ends", [{"coarsest": 32}, {"coarsest": 32, "finest": 1000}, {"coarsest": "a", "finest": 132}]
)
def test_bad_ends_of_an_old_bundle_are_refused(
    path: Path, tmp_path: Path, ends: dict[str, Any]
) -> None:
    bad = with_settings(path, tmp_path / "bad.ivm", quality_steps=None, **ends)
    with pytest.raises(BundleError, match=r"bad\.ivm: damaged bundle"):
        read_bundle(bad)


def test_the_fingerprints_of_what_ships() -> None:
    """Files name their bundle by it: another table of qualities must not change it."""
    assert {
        name: read_metadata(m.prepared)["fingerprint"][:8] for name, m in KNOWN_MODELS.items()
    } == {
        "faces-1024": "8435b11f",
        "faces-128": "8435b11f",  # a proxy's files are its original's
        "avatars-64": "97c783b4",
        "clothing-256": "75c4e18c",
        "dcgan-faces-64": "9bc56db9",
        "dcgan-eyes-128": "60b37974",
    }
    assert load_bundle("avatars-64").digest.hex()[:8] == "97c783b4"


def test_missing_bundles_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path))
    with pytest.raises(MissingBundleError, match=r"no\.ivm"):
        load_bundle("no.ivm")
    with pytest.raises(MissingBundleError, match="faces-1024"):
        load_bundle("cats")
    with pytest.raises(MissingBundleError, match="00000000"):
        find_bundle(bytes(4))
    tiny_bundle().save(tmp_path / "models" / "tiny.ivm")
    found = find_bundle(tiny_bundle().fingerprint[:4])
    assert read_bundle(Path(found)).settings.name == "tiny"


def test_the_face_bundle_ships_and_fits(pypi: Path) -> None:
    model = KNOWN_MODELS["faces-1024"]
    assert model.prepared.stat().st_size <= 8_000_000
    bundle = load_bundle("faces-1024")
    assert bundle.fingerprint.hex() == read_metadata(model.prepared)["fingerprint"]
    assert bundle.generator.resolution == 1024
    assert find_bundle(bundle.fingerprint[:4]) == "faces-1024"
