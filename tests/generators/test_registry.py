"""Generators of one's own: registered, or offered by an installed package."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from invcomp.errors import BundleError, OptionError
from invcomp.generators import GENERATOR_KINDS, Generator, StyleGAN2, register
from invcomp.generators.weights import describe, load_generator, save_generator

ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''
import torch
from torch import Tensor, nn
from invcomp.generators import Generator, LatentLayer


class Stripes(Generator):
    """One linear layer, and a buffer that is computed and not kept."""

    def __init__(self, size: int = 4) -> None:
        super().__init__()
        self.size, self.resolution, self.z_size = size, 16, size
        self.layers = (LatentLayer("z", (size,)),)
        self.network = nn.Sequential(nn.Linear(size, 3 * 16), nn.Tanh())
        self.register_buffer("ramp", torch.linspace(0.5, 1, 16), persistent=False)

    def sample(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        return z

    def forward(self, latents: Tensor) -> Tensor:
        return self.network(latents).view(-1, 3, 16, 1) * self.ramp

    def options(self) -> dict[str, int]:
        return {"size": self.size}


def no_class() -> None:
    """What an entry point may name by mistake."""
'''
exec(SOURCE)
Stripes: Any = globals()["Stripes"]


@pytest.fixture(autouse=True)
def kinds() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    before = dict(GENERATOR_KINDS)
    yield
    GENERATOR_KINDS.clear()
    GENERATOR_KINDS.update(before)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, points: str, name: str = "own") -> None:
    """A distribution with a module and entry points, as pip would unpack it."""
    module = f"{name}_generators"
    (folder / f"{module}.py").write_text(f"print('imported {module}')\n{SOURCE}")
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[invcomp.generators]\n{points}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, module, raising=False)


def test_a_registered_kind_is_written_and_read(tmp_path: Path) -> None:
    register("stripes", Stripes)
    register("stripes", Stripes)  # the same again says nothing new
    ours = Stripes(5).eval()
    save_generator(ours, tmp_path / "g.safetensors")
    theirs = load_generator(tmp_path / "g.safetensors")
    assert isinstance(theirs, Stripes)
    assert torch.equal(ours(torch.ones(2, 5)), theirs(torch.ones(2, 5)))


def test_what_is_not_registered_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r'register\("its-name", Stripes\)'):
        save_generator(Stripes(), tmp_path / "g.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_kind_that_is_nowhere(tmp_path: Path) -> None:
    register("stripes", Stripes)
    save_generator(Stripes(), tmp_path / "g.safetensors")
    del GENERATOR_KINDS["stripes"]
    with pytest.raises(BundleError, match=r"kind 'stripes' are not known here.*install"):
        load_generator(tmp_path / "g.safetensors")


class Half(Generator):
    """Without options."""

    def sample(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        return z

    def forward(self, latents: Tensor) -> Tensor:
        return latents


@pytest.mark.parametrize(
    ("kind", "generator", "message"),
    [
        ("stylegan2", Stripes, "already registered: invcomp.generators.stylegan2.StyleGAN2"),
        ("other", StyleGAN2, "already registered as stylegan2"),
        ("other", nn.Linear, "Linear is not a subclass of Generator"),
        ("other", "a text", "a text is not a subclass"),
        ("other", Generator, "lacks forward, options, sample"),
        ("other", Half, "Half lacks options"),
        ("", Stripes, "not a valid kind"),
        ("../x", Stripes, "not a valid kind"),
        ("a b\n", Stripes, "not a valid kind"),
    ],
)
def test_what_cannot_be_registered(kind: str, generator: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        register(kind, generator)


class Odd(Stripes):  # type: ignore[misc]
    """With options that no file can hold."""

    def options(self) -> dict[str, Any]:
        return {"size": {1, 2}}


def test_options_that_are_no_json() -> None:
    register("odd", Odd)
    with pytest.raises(BundleError, match=r"options\(\) of odd are not JSON"):
        describe(Odd())


def test_an_entry_point_is_loaded_when_its_kind_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register("stripes", Stripes)
    ours = Stripes().eval()
    save_generator(ours, tmp_path / "g.safetensors")
    save_generator(StyleGAN2([8, 8], 8, 8, 1), tmp_path / "known.safetensors")
    del GENERATOR_KINDS["stripes"]
    install(
        tmp_path, monkeypatch, "stripes = own_generators:Stripes\nbroken = own_generators:Nothing"
    )
    load_generator(tmp_path / "known.safetensors")
    assert "imported" not in capsys.readouterr().out
    theirs = load_generator(tmp_path / "g.safetensors")
    assert capsys.readouterr().out == "imported own_generators\n"
    assert type(theirs).__module__ == "own_generators"
    assert torch.equal(ours(torch.ones(1, 4)), theirs(torch.ones(1, 4)))


def test_an_object_of_an_installed_class_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        tmp_path, monkeypatch, "broken = own_generators:Nothing\nstripes = own_generators:Stripes"
    )
    import own_generators  # type: ignore[import-not-found]

    save_generator(own_generators.Stripes(), tmp_path / "g.safetensors")
    assert isinstance(load_generator(tmp_path / "g.safetensors"), own_generators.Stripes)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("stripes = absent_module:Stripes", "cannot be loaded .*absent_module"),
        ("stripes = own_generators:Absent", "cannot be loaded .*Absent"),
        ("stripes = own_generators:no_class", "no_class is not a subclass"),
        ("stripes = own_generators:Generator", "lacks"),
        ("other = own_generators:Stripes", "not known here"),
    ],
)
def test_entry_points_of_no_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, points: str, message: str
) -> None:
    register("stripes", Stripes)
    save_generator(Stripes(), tmp_path / "g.safetensors")
    del GENERATOR_KINDS["stripes"]
    install(tmp_path, monkeypatch, points)
    with pytest.raises(BundleError, match=message) as raised:
        load_generator(tmp_path / "g.safetensors")
    assert "\n" not in str(raised.value)


def test_two_packages_with_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register("stripes", Stripes)
    save_generator(Stripes(), tmp_path / "g.safetensors")
    del GENERATOR_KINDS["stripes"]
    for name in ("one", "two"):
        point = f"stripes = {name}_generators:Stripes"
        install(tmp_path, monkeypatch, point, name)
    with pytest.raises(BundleError, match=r"several packages.*one.*two"):
        load_generator(tmp_path / "g.safetensors")


@pytest.mark.parametrize("kind", ["os", "own_generators", "own_generators:Stripes", "os:system", 3])
def test_a_file_names_no_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: object,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    install(tmp_path, monkeypatch, "stripes = own_generators:Stripes")
    about = {
        "format": "invcomp generator 1",
        "generator": json.dumps({"kind": kind, "options": {}}),
    }
    save_file({"generator.x": torch.ones(1)}, tmp_path / "g.safetensors", about)
    with pytest.raises(BundleError):
        load_generator(tmp_path / "g.safetensors")
    assert "imported" not in capsys.readouterr().out


def test_the_command_line_finds_an_installed_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("stripes", Stripes)
    save_generator(Stripes(), tmp_path / "g.safetensors")
    install(tmp_path, monkeypatch, "stripes = own_generators:Stripes")
    outcome = subprocess.run(
        [sys.executable, "-m", "invcomp", "sample", "g.safetensors", "-o", "grid.png", "-n", "4"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr
    assert (tmp_path / "grid.png").is_file()
