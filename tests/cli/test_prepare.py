"""invcomp prepare: a bundle from a generator, and what it refuses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from invcomp.bundle import read_bundle
from invcomp.cli.main import INTERRUPTED
from invcomp.distilled.aids import SearchAids
from invcomp.distilled.encoder import InversionEncoder
from invcomp.perception.identity import Face
from invcomp.training.fit import FitOptions

from ..tiny import tiny_bundle
from .conftest import FAST, Invcomp

SMALL = ("--draws", "12", "--coordinates", "10", "--batch", "4", "--device", "cpu")


def test_a_prepared_bundle_compresses(
    invcomp: Invcomp, tiny_model: Path, images: list[Path], tmp_path: Path
) -> None:
    output, file = tmp_path / "new.ivm", tmp_path / "a.ivc"
    outcome = invcomp("prepare", tiny_model, "-o", output, *SMALL, "--tau", "0.5", "--seed", "3")
    assert outcome.code == 0, outcome.err
    assert "10 coordinates" in outcome.out
    assert "metric" in outcome.err
    settings = json.loads(invcomp("models", "info", str(output), "--json").out)["settings"]
    assert settings["made"]["options"]["tau"] == 0.5
    assert settings["made"]["options"]["seed"] == 3
    compressed = invcomp("compress", images[0], "--model", output, "-o", file, *FAST)
    assert compressed.code == 0, compressed.err
    assert invcomp("decompress", file, "--model", output, "-o", tmp_path / "a.png").code == 0


def test_a_bundle_of_faces_knows_where_they_are(
    invcomp: Invcomp, tiny_model: Path, images: list[Path], tmp_path: Path
) -> None:
    """Identity is drawn into the metric, and every image is coded with it."""
    bundles = {}
    for flags in ((), ("--faces",)):
        output = tmp_path / f"new{len(flags)}.ivm"
        outcome = invcomp("prepare", tiny_model, "-o", output, *SMALL, *flags)
        assert outcome.code == 0, outcome.err
        bundles[flags] = read_bundle(output)
    plain, faces = bundles.values()
    assert plain.settings.face is None
    assert faces.settings.face == Face()
    assert not torch.equal(plain.coordinates.deviations, faces.coordinates.deviations)
    assert [bundle.settings.frame for bundle in bundles.values()] == ["center-crop", "ffhq-face"]
    command = ("compress", images[0], "--model", output, "-o", tmp_path / "a", *FAST)
    assert "no face was found" in invcomp(*command).err
    coded = invcomp(*command, "--frame", "center-crop")
    assert coded.code == 0, coded.err
    assert "identity" in coded.out


def test_priors_are_fitted_to_images(
    invcomp: Invcomp, tiny_model: Path, images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    shutil.copy(images[0], tmp_path / "photos")
    outcome = invcomp(
        "prepare", tiny_model, "-o", tmp_path / "new.ivm", *SMALL, "--photos", tmp_path / "photos"
    )
    assert outcome.code == 0, outcome.err
    assert "calibration" in outcome.err


def test_bad_input_is_refused_before_work_begins(
    invcomp: Invcomp, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "text.png").write_text("no image")
    output = tmp_path / "new.ivm"
    cases = {
        "text.png": (tiny_model, "--photos", tmp_path / "photos"),
        "cats-1024": ("cats-1024",),
        "draws": (tiny_model, "--draws", "0"),
        "abacus": (tiny_model, "--device", "abacus"),
    }
    for word, arguments in cases.items():
        outcome = invcomp("prepare", *arguments, "-o", output)
        assert outcome.code == 1
        (line,) = outcome.errors
        assert word in line
    output.write_bytes(b"precious")
    assert "--force" in invcomp("prepare", tiny_model, "-o", output).errors[0]
    assert output.read_bytes() == b"precious"


def test_an_encoder_is_added_and_used(
    invcomp: Invcomp,
    tiny_model: Path,
    images: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = FitOptions(steps=3, batch=4, learning_rate=1e-3)
    monkeypatch.setattr("invcomp.training.distillation.ENCODER", short)
    new, kept = tmp_path / "new.ivm", tmp_path / "kept.ivm"
    outcome = invcomp("prepare", tiny_model, "-o", new, *SMALL, "--encoder", "--pairs", "30")
    assert outcome.code == 0, outcome.err
    assert "energy of coordinates explained by the encoder network" in outcome.out
    outcome = invcomp("prepare", new, "-o", kept, "--keep", "--encoder", "--pairs", "30")
    assert outcome.code == 0, outcome.err
    assert "metric" not in outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.ivm", "new.ivm"]
    files = []
    for more in ((), ("--no-encoder",)):
        files.append(tmp_path / f"{len(files)}.ivc")
        arguments = ("--model", kept, "-o", files[-1], *FAST, *more)
        assert invcomp("compress", images[0], *arguments).code == 0
    assert files[0].read_bytes() != files[1].read_bytes()
    assert invcomp("decompress", files[0], "--model", new, "-o", tmp_path / "a.png").code == 0


def test_killed_while_its_encoder_learns_it_goes_on(
    invcomp: Invcomp, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = FitOptions(steps=3, batch=4, learning_rate=1e-3)
    monkeypatch.setattr("invcomp.training.distillation.ENCODER", short)
    arguments = ("prepare", tiny_model, *SMALL, "--encoder", "--pairs", "30", "-o")
    whole, output = tmp_path / "a" / "new.ivm", tmp_path / "b" / "new.ivm"
    assert invcomp(*arguments, whole).code == 0
    with monkeypatch.context() as patched:

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        patched.setattr("invcomp.training.distillation.train_encoder", stop)
        assert invcomp(*arguments, output).code == INTERRUPTED
    assert not output.exists()
    assert (tmp_path / "b" / "new.ivm.draws").is_file()
    with monkeypatch.context() as patched:
        patched.setattr("invcomp.preparation._Drawing._draw", stop)  # no draw is made anew
        outcome = invcomp(*arguments, output)
    assert outcome.code == 0, outcome.err
    ours, theirs = load_file(output), load_file(whole)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert [path.name for path in output.parent.iterdir()] == ["new.ivm"]


def test_keep_without_anything_new(invcomp: Invcomp, tiny_model: Path, tmp_path: Path) -> None:
    outcome = invcomp("prepare", tiny_model, "-o", tmp_path / "x.ivm", "--keep")
    assert outcome.errors == ["error: --keep needs --encoder, --closer or --photos"]


def test_what_is_seen_closer_is_set_of_a_bundle(
    invcomp: Invcomp, tiny_model: Path, tmp_path: Path
) -> None:
    """Nothing else of it changes, so it decodes the same files. Faces have other weights."""
    output = tmp_path / "closer.ivm"
    outcome = invcomp("prepare", tiny_model, "-o", output, "--keep", "--closer", "0.7")
    assert outcome.code == 0, outcome.err
    old, new = read_bundle(tiny_model), read_bundle(output)
    assert new.settings == replace(old.settings, closer=0.7)
    assert new.fingerprint == old.fingerprint
    with_face = replace(old, settings=replace(old.settings, face=Face()))
    with_face.save(tmp_path / "faces.ivm")
    outcome = invcomp(
        "prepare", tmp_path / "faces.ivm", "-o", tmp_path / "x.ivm", "--keep", "--closer", "1"
    )
    assert outcome.errors == ["error: faces have weights of their own for what is seen at 512 px"]


def test_a_table_of_qualities_is_given_to_a_bundle(
    invcomp: Invcomp, images: list[Path], tmp_path: Path
) -> None:
    """Nothing else of it changes, its aids neither."""
    aided, output = tmp_path / "aided.ivm", tmp_path / "kept.ivm"
    aids = SearchAids(InversionEncoder(8).eval().requires_grad_(False))
    replace(tiny_bundle(), aids=aids).save(aided)
    (tmp_path / "photos").mkdir()
    shutil.copy(images[0], tmp_path / "photos")
    arguments = ("--keep", "--photos", tmp_path / "photos", "--device", "cpu")
    outcome = invcomp("prepare", aided, "-o", output, *arguments)
    assert outcome.code == 0, outcome.err
    assert "calibration" in outcome.err
    assert "metric" not in outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aided.ivm", "kept.ivm", "photos"]
    old, new = read_bundle(aided), read_bundle(output)
    assert new.settings.quality_steps != old.settings.quality_steps
    assert new.fingerprint == old.fingerprint
    tensors, others = load_file(aided), load_file(output)
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[name], others[name]) for name in tensors)
    assert any(name.startswith("encoder") for name in tensors)
