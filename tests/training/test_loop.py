"""Training for real, at 16 px: it learns, it resumes to the same figures, processes share it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from invcomp.generators.weights import load_generator

pytest.importorskip("accelerate", reason="the extra `train` is not installed")

from invcomp.errors import OptionError
from invcomp.training.data import Dataset, open_dataset
from invcomp.training.loop import Tick, Trainer
from invcomp.training.monitor import saturated
from invcomp.training.options import Sees, TrainOptions
from invcomp.training.record import Record
from invcomp.training.run import RunDirectory

OPTIONS = TrainOptions(
    resolution=16, kimg=0.48, batch=16, tick=32, snapshot=160, kid_samples=64, held_out=30,
    noise="const", bfloat16=False, discriminator="pixels",
)  # fmt: skip
ARGUMENTS = [
    "--resolution=16", "--kimg=0.48", "--batch=16", "--tick=32", "--snapshot=160",
    "--kid-samples=64", "--held-out=30", "--noise=const", "--no-bfloat16", "--no-compile",
    "--device=cpu", "--discriminator=pixels",
]  # fmt: skip
LOSSES = ("generator", "discriminator", "sign", "penalty")


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 images of a coloured square on white."""
    folder = tmp_path_factory.mktemp("squares")
    random = np.random.default_rng(0)
    for index in range(300):
        image = np.full((16, 16, 3), 255, np.uint8)
        y, x = random.integers(2, 9, 2)
        image[y : y + 5, x : x + 5] = random.integers(0, 200, 3)
        Image.fromarray(image).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def dataset(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(squares, 16, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def whole(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    Trainer(dataset, RunDirectory(run), OPTIONS).run()
    return run


def losses(run: Path) -> list[list[float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [[line["images"], *(line.get(name, 0.0) for name in LOSSES)] for line in lines]


def test_a_run_directory(whole: Path) -> None:
    config = json.loads((whole / "config.json").read_text())
    assert config["options"]["batch"] == 16
    assert len(losses(whole)) == 15
    assert [path.name for path in sorted((whole / "samples").iterdir())] == [
        "000000000.png", "000000160.png", "000000320.png", "000000480.png",
    ]  # fmt: skip
    assert Image.open(whole / "samples" / "000000480.png").size == (128, 128)
    assert (whole / "losses.png").stat().st_size > 1000
    assert not list(whole.glob("events.*"))
    measured = [line for line in Record(whole).lines() if "kid" in line]
    assert len(measured) == 3
    assert {line["kid_features"] for line in measured} <= {"inception", "lpips-alex"}
    assert load_generator(whole / "best.safetensors").resolution == 16


@pytest.mark.parametrize(("sees", "part"), [("pixels", 0.6), ("features", 0.75)])
def test_training_beats_its_start(
    dataset: Dataset, tmp_path: Path, sees: Sees, part: float
) -> None:
    """KID falls below a part of what the untrained generator has; AlexNet hardly sees 16 px."""
    options = TrainOptions(
        resolution=16, kimg=6, batch=16, tick=1000, snapshot=10_000, kid_samples=200, held_out=30,
        discriminator=sees,
    )  # fmt: skip
    trainer = Trainer(dataset, RunDirectory(tmp_path / "run"), options)
    before = trainer.monitor.kid()
    trainer.run()
    assert trainer.monitor.kid() < part * before


def test_a_killed_run_resumes_to_the_same_losses(
    whole: Path, squares: Path, tmp_path: Path
) -> None:
    run, environment = tmp_path / "killed", {**os.environ, "INVCOMP_CACHE": str(tmp_path)}
    command = [sys.executable, "-m", "invcomp", "train", str(squares), "-o", str(run), *ARGUMENTS]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (run / "state.safetensors").exists() or losses(run)[-1][0] < 192:
        assert process.poll() is None, "ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(losses(run)) < 15
    subprocess.run([*command, "--resume"], env=environment, check=True, stderr=subprocess.DEVNULL)
    assert losses(run) == losses(whole)


def test_a_run_stopped_before_its_first_state_starts_over(dataset: Dataset, tmp_path: Path) -> None:
    run = tmp_path / "run"

    def stop(tick: Tick) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(dataset, RunDirectory(run), OPTIONS).run(stop)
    assert [line[0] for line in losses(run)] == [32]
    longer = replace(OPTIONS, kimg=0.096)
    Trainer(dataset, RunDirectory(run), longer, resume=True).run()
    assert [line[0] for line in losses(run)] == [32, 64, 96]


def test_a_run_with_two_discriminators_resumes(dataset: Dataset, tmp_path: Path) -> None:
    options = replace(OPTIONS, kimg=0.096, snapshot=48, discriminator="both")
    whole, stopped = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "stopped")
    Trainer(dataset, whole, options).run()
    Trainer(dataset, stopped, replace(options, kimg=0.048)).run()
    Trainer(dataset, stopped, options, resume=True).run()
    assert [line[0] for line in losses(stopped.path)] == [32, 48, 64, 96]
    assert losses(stopped.path)[-1] == losses(whole.path)[-1]


def test_a_time_limit_leaves_a_state_to_resume_from(dataset: Dataset, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    Trainer(dataset, run, OPTIONS).run(hours=0)
    assert [line[0] for line in losses(run.path)] == [16]
    Trainer(dataset, run, replace(OPTIONS, kimg=0.032), resume=True).run()
    assert [line[0] for line in losses(run.path)] == [16, 32]


def test_samples_are_drawn_early(dataset: Dataset, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    trainer = Trainer(dataset, run, replace(OPTIONS, kimg=0.528, snapshot=10_000, tick=512))
    there = []
    trainer.run(lambda tick: there.append(run.best_path.is_file()))
    assert there == [True, True]  # also before the only snapshot, after the last image
    drawn = sorted(path.name for path in (run.path / "samples").iterdir())
    assert drawn == ["000000000.png", "000000512.png", "000000528.png"]


def test_two_processes_share_a_batch(whole: Path, squares: Path, tmp_path: Path) -> None:
    run, environment = tmp_path / "two", {**os.environ, "INVCOMP_CACHE": str(tmp_path)}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    command = [*torchrun, "-m", "invcomp", "train", str(squares), "-o", str(run), *ARGUMENTS]
    outcome = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert outcome.returncode == 0, outcome.stderr
    one, two = losses(whole), losses(run)
    assert len(one) == len(two)
    for alone, shared in zip(one[:5], two[:5], strict=True):  # chaos: rounding grows later
        assert shared == [pytest.approx(value, rel=0.02, abs=0.02) for value in alone]


def test_another_runs_directory_is_refused(whole: Path, dataset: Dataset) -> None:
    with pytest.raises(OptionError, match="already contains a run: resume it"):
        Trainer(dataset, RunDirectory(whole), OPTIONS)
    other = TrainOptions(**{**OPTIONS.__dict__, "batch": 32})
    with pytest.raises(OptionError, match="batch was 16"):
        Trainer(dataset, RunDirectory(whole), other, resume=True)


def test_images_of_another_size_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="16 px"):
        Trainer(dataset, RunDirectory(tmp_path), TrainOptions(resolution=32))


def test_all_the_options_at_once(dataset: Dataset, tmp_path: Path) -> None:
    options = TrainOptions(
        resolution=16, kimg=0.064, batch=8, tick=32, snapshot=64, kid_samples=16, held_out=20,
        loss="rpgan", path_length=2, path_length_every=2, penalty_every=2, style_mixing=0.9,
        augmentation="fixed", augmentation_p=0.5, mirror=True, group=1, noise="random",
    )  # fmt: skip
    trainer = Trainer(dataset, RunDirectory(tmp_path / "run"), options)
    trainer.run()
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert all(np.isfinite(value) for value in last.values() if not isinstance(value, str))
    assert last["path_length"] > 0
    assert last["augmentation_p"] == 0.5


def test_warnings_say_what_to_change(dataset: Dataset, tmp_path: Path) -> None:
    monitor = Trainer(dataset, RunDirectory(tmp_path / "run"), OPTIONS).monitor
    assert saturated(0.6, 0, 30_000) is None
    assert saturated(0.99, 0, 10_000) is None
    assert "99% of real images: raise gamma or let" in str(saturated(0.99, 0, 30_000))
    assert "use more images" in str(saturated(0.99, 0.9, 30_000))
    assert monitor.collapsed(torch.rand(64, 3, 16, 16) * 2 - 1) is None
    assert "the loss rpgan" in str(monitor.collapsed(torch.zeros(64, 3, 16, 16)))


def test_it_stops_when_kid_no_longer_falls(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kids = iter([3.0, 1.0, 2.0, 2.5, 0.5, 0.4])
    monkeypatch.setattr("invcomp.training.monitor.Monitor.kid", lambda self: next(kids))
    options = replace(OPTIONS, kimg=0.48, snapshot=32, patience=2)
    trainer = Trainer(dataset, RunDirectory(tmp_path / "run"), options)
    trainer.run()
    assert trainer.images == 4 * 32
    assert "Lowest KID: 1.0000" in (tmp_path / "run" / "index.html").read_text()
    assert Record(tmp_path / "run").since_best() == 2


def test_it_begins_with_a_trained_generator(whole: Path, dataset: Dataset, tmp_path: Path) -> None:
    start = load_generator(whole / "best.safetensors")
    trainer = Trainer(dataset, RunDirectory(tmp_path / "run"), OPTIONS, start=start)
    run = RunDirectory(tmp_path / "named")
    Trainer(dataset, run, OPTIONS, start=start, start_name="whole")
    assert run.start() == "whole"
    with pytest.raises(OptionError, match="began with whole"):
        Trainer(dataset, run, OPTIONS, resume=True)
    for network in (trainer.adversaries.generator, trainer.adversaries.averaged):
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, start.state_dict()[name]), name
    wider = replace(OPTIONS, preset="stylegan2")
    with pytest.raises(OptionError, match="the generator to start from, of 16 px"):
        Trainer(dataset, RunDirectory(tmp_path / "other"), wider, start=start)


def test_patience_needs_kid(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="patience needs KID"):
        Trainer(dataset, RunDirectory(tmp_path), replace(OPTIONS, held_out=0, patience=1))
