"""invcomp train, sample and prepare: from a folder of images to a compressed one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

from invcomp.bundle import read_bundle
from invcomp.cli.main import app
from invcomp.cli.train import expectation
from invcomp.model_zoo.catalogue import pretrained_path
from invcomp.training.options import TrainOptions

from .conftest import FAST, Invcomp

pytest.importorskip("accelerate", reason="the extra `train` is not installed")

SMALL = (
    "--resolution", "32", "--kimg", "0.016", "--batch", "8", "--snapshot", "16", "--tick", "8",
    "--kid-samples", "16", "--no-compile", "--device", "cpu",
)  # fmt: skip


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(40):
        pixels = random.integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((40, 40)).save(folder / f"{index}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def test_from_images_to_a_compressed_one(invcomp: Invcomp, images: Path, tmp_path: Path) -> None:
    run, bundle = tmp_path / "run", tmp_path / "mine.ivm"
    trained = invcomp("train", images, "-o", run, *SMALL)
    assert trained.code == 0, trained.err
    assert "broken.png: not an image" in trained.err
    assert "1 files were left out" in trained.err
    assert "M, on features; augmentation fixed; cpu" in trained.err
    assert "photographs have shapes after some 150,000 images" in trained.err
    assert "best KID" in trained.out
    assert "features)" in trained.out
    sampled = invcomp("sample", run, "-n", "5", "-o", tmp_path / "grid.png", "--truncation", "0.7")
    assert sampled.code == 0, sampled.err
    assert Image.open(tmp_path / "grid.png").size == (96, 64)
    refused = invcomp("train", images, "-o", tmp_path / "other", *SMALL, "--start", "avatars-64")
    assert refused.code == 1
    assert refused.errors[0].startswith("error: the generator to start from, of 64 px")
    assert not (tmp_path / "other").exists()
    start = tmp_path / "start.safetensors"
    start.write_bytes((run / "best.safetensors").read_bytes())
    further = invcomp("train", images, "-o", tmp_path / "further", *SMALL, "--start", start)
    assert further.code == 0, further.err
    start.unlink()  # a run that goes on from its state does not need it
    longer = ("--resume", "--kimg", "0.032")
    resumed = invcomp("train", images, "-o", tmp_path / "further", *SMALL, *longer)
    assert resumed.code == 0, resumed.err
    prepared = invcomp(
        "prepare", run, "-o", bundle, "--draws", "12", "--coordinates", "8", "--device", "cpu"
    )
    assert prepared.code == 0, prepared.err
    file = tmp_path / "0.ivc"
    compressed = invcomp("compress", images / "0.png", "-o", file, "--model", bundle, *FAST)
    assert compressed.code == 0, compressed.err
    assert invcomp("decompress", file, "--model", bundle, "-o", tmp_path / "0.png").code == 0
    assert Image.open(tmp_path / "0.png").size == (40, 40)


def test_going_on(invcomp: Invcomp, images: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert invcomp("train", images, "-o", run, *SMALL).code == 0
    again = invcomp("train", images, "-o", run, *SMALL)
    assert again.code == 1
    assert "already contains a run: resume it" in again.err
    config = json.loads((run / "config.json").read_text())
    assert config["options"].pop("frame") == "center-crop"
    (run / "config.json").write_text(json.dumps(config))  # as before there were frames
    longer = [*SMALL[:3], "0.032", *SMALL[4:], "--resume"]
    assert invcomp("train", images, "-o", run, *longer).code == 0
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["images"] for line in lines] == [8, 16, 24, 32]


def test_a_frame_goes_from_the_training_to_the_bundle(
    invcomp: Invcomp, images: Path, tmp_path: Path
) -> None:
    """A resumed run keeps it, and the bundle says it by itself."""
    run, bundle = tmp_path / "run", tmp_path / "mine.ivm"
    assert invcomp("train", images, "-o", run, *SMALL, "--frame", "pad").code == 0
    longer = [*SMALL[:3], "0.024", *SMALL[4:], "--resume"]
    other = invcomp("train", images, "-o", run, *longer, "--frame", "stretch")
    assert other.code == 1
    assert "frame was pad" in other.err
    assert invcomp("train", images, "-o", run, *longer).code == 0
    assert json.loads((run / "config.json").read_text())["options"]["frame"] == "pad"
    few = ("--draws", "12", "--coordinates", "8", "--device", "cpu")
    assert invcomp("prepare", run, "-o", bundle, *few).code == 0
    assert read_bundle(bundle).settings.frame == "pad"
    wide, file = tmp_path / "wide.png", tmp_path / "wide.ivc"
    Image.new("RGB", (60, 30), "red").save(wide)
    assert invcomp("compress", wide, "-o", file, "--model", bundle, *FAST).code == 0
    assert invcomp("decompress", file, "--model", bundle, "-o", tmp_path / "again.png").code == 0
    assert Image.open(tmp_path / "again.png").size == (60, 30)


def test_faces_are_aligned_and_photos_without_one_counted(
    invcomp: Invcomp, images: Path, tmp_path: Path
) -> None:
    portrait = Image.open(pretrained_path("portrait.jpg")).convert("RGB").resize((240, 240))
    for left in (0, 300):
        photo = Image.new("RGB", (600, 400), "grey")
        photo.paste(portrait, (left, 80))
        photo.save(images / f"portrait{left}.png")
    trained = invcomp("train", images, "-o", tmp_path / "run", *SMALL, "--frame", "ffhq-face")
    assert trained.code == 0, trained.err
    assert "warning: 40 images have no face that can be aligned and were left out\n" in trained.err
    assert "warning: 1 files were left out\n" in trained.err  # broken.png, which is named
    assert "2 images to train on" in trained.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--resolution", "48"), "power of two"),
        (("--batch", "1"), "minibatch deviation"),
        (("--loss", "hinge"), "nonsaturating, rpgan"),
        (("--frame", "fish-eye"), "ffhq-face, center-crop, pad, stretch"),
        (("--device", "tpu"), "not available"),
    ],
)
def test_bad_options(
    invcomp: Invcomp, images: Path, tmp_path: Path, options: tuple[str, str], message: str
) -> None:
    outcome = invcomp("train", images, "-o", tmp_path / "run", *options)
    assert outcome.code == 1
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "run").exists()


def test_events_for_tensorboard_only_when_asked_for(
    invcomp: Invcomp, images: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboardX", reason="the extra `tensorboard` is not installed")
    run = tmp_path / "run"
    assert invcomp("train", images, "-o", run, *SMALL).code == 0
    assert not list(run.glob("events.*"))
    longer = [*SMALL[:3], "0.024", *SMALL[4:], "--resume", "--tensorboard"]
    assert invcomp("train", images, "-o", run, *longer).code == 0
    (events,) = run.glob("events.*")
    assert b"images_per_second" in events.read_bytes()


def test_without_the_package_for_tensorboard_nothing_begins(
    invcomp: Invcomp, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from invcomp.cli import show

    monkeypatch.setattr(show, "find_spec", lambda name: None if "tensorboard" in name else object())
    outcome = invcomp("train", images, "-o", tmp_path / "run", *SMALL, "--tensorboard")
    assert outcome.code == 1
    assert outcome.err == 'error: tensorboardX is missing: pip install "invcomp[tensorboard]"\n'
    assert not (tmp_path / "run").exists()


def test_too_few_images(invcomp: Invcomp, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "one" / "a.png")
    outcome = invcomp("train", tmp_path / "one", "-o", tmp_path / "run")
    assert outcome.code == 1
    assert "at least 2 images" in outcome.err


def test_samples_of_a_folder_without_a_training(invcomp: Invcomp, tmp_path: Path) -> None:
    outcome = invcomp("sample", tmp_path, "-o", tmp_path / "grid.png")
    assert outcome.code == 1
    assert "no snapshot" in outcome.err


def test_what_a_speed_means() -> None:
    told = expectation(0, 15, None)
    assert told.startswith(
        "15 images/s: photographs have shapes after some 150,000 images, in 2.8 "
    )
    assert told.endswith("3 hours reach 162,000 images")
    assert expectation(10_000, 10, 0.5, 10_000).endswith("0.5 hours reach 28,000 images")
    assert expectation(28_900, 10, 0.5, 20_000).endswith("0.5 hours reach 38,000 images")
    assert expectation(1_600, 16, 0.01).endswith("0.01 hours reach 1,600 images")  # and no fewer


def test_the_help_names_the_defaults() -> None:
    found: Any = typer.main.get_command(app)
    shown = {
        each.name: each.show_default
        for each in found.commands["train"].params
        if hasattr(TrainOptions, each.name) and " " not in str(each.show_default)
    }
    defaults = {name: str(getattr(TrainOptions, name)) for name in shown}
    named = {name: value for name, value in shown.items() if isinstance(value, str)}
    assert named == {name: defaults[name] for name in named}
    assert len(named) >= 15
