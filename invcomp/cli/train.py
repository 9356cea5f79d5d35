"""invcomp train: trains a generator on images of one domain."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import show
from .models import download_progress
from .options import Device, checked_seed

if TYPE_CHECKING:
    from ..training.data import Dataset
    from ..training.loop import Tick, Trainer

SHOWN_BAD_FILES = 10
SHAPES = 150_000  # images, by docs/experiments.md, "Training on few photographs"
SEEN = {"pixels": "pixels", "features": "features", "both": "pixels and features"}
# parameters of `train` that are no options of a training
NO_OPTIONS = {"images", "output", "resume", "tensorboard", "device", "compiled", "hours", "start"}


def train(
    images: Annotated[
        Path, typer.Argument(metavar="IMAGES", help="Folder, .zip file, or .txt list of files.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Directory of the run.")
    ],
    resolution: Annotated[
        int | None,
        typer.Option(metavar="R", help="Image size, a power of two.", show_default="64"),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="compact|stylegan2", help="Size of the networks.", show_default="compact"
        ),
    ] = None,
    tick: Annotated[
        int | None,
        typer.Option(metavar="N", help="Log metrics every N images.", show_default="1000"),
    ] = None,
    kimg: Annotated[
        float | None,
        typer.Option(metavar="K", help="Training length in thousand images.", show_default="1000"),
    ] = None,
    hours: Annotated[
        float | None,
        typer.Option(
            metavar="H",
            help="Stop after H hours, with a snapshot; --resume goes on.",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(metavar="N", help="Batch size.", show_default="32"),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(metavar="LR", help="Learning rate.", show_default="0.0025"),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            metavar="nonsaturating|rpgan", help="Adversarial loss.", show_default="nonsaturating"
        ),
    ] = None,
    discriminator: Annotated[
        str | None,
        typer.Option(
            metavar="pixels|features|both",
            help="What the discriminator sees: the image, or features of a frozen network, which "
            "need fewer images.",
            show_default="features below 10,000 images, else pixels",
        ),
    ] = None,
    gamma: Annotated[
        float | None, typer.Option(metavar="G", help="Weight of the gradient penalty.")
    ] = None,
    penalty_every: Annotated[
        int | None,
        typer.Option(metavar="N", help="Gradient penalty every N steps.", show_default="16"),
    ] = None,
    path_length: Annotated[
        float | None,
        typer.Option(metavar="W", help="Weight of path-length regularisation.", show_default="0"),
    ] = None,
    style_mixing: Annotated[
        float | None,
        typer.Option(metavar="P", help="Fraction of images with mixed styles.", show_default="0"),
    ] = None,
    ema_kimg: Annotated[
        float | None, typer.Option(metavar="K", help="Half-life of the averaged weights, in kimg.")
    ] = None,
    augmentation: Annotated[
        str | None,
        typer.Option(
            metavar="ada|fixed|none",
            help="Discriminator augmentation.",
            show_default="fixed for features, else ada",
        ),
    ] = None,
    augmentation_p: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Probability: fixed, or initial for ada.",
            show_default="1 for fixed, 0 for ada",
        ),
    ] = None,
    frame: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How images are fitted: ffhq-face, center-crop, pad or stretch.",
            show_default="center-crop, or that of the resumed run",
        ),
    ] = None,
    mirror: Annotated[
        bool | None, typer.Option("--mirror/--no-mirror", help="Also train on mirrored images.")
    ] = None,
    group: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Group size of minibatch deviation; 1: off.", show_default="4"
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="random|const|none",
            help="Noise inputs of the generator.",
            show_default="random",
        ),
    ] = None,
    held_out: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Held-out images for KID, at most a tenth.", show_default="1000"
        ),
    ] = None,
    kid_samples: Annotated[
        int | None,
        typer.Option(metavar="N", help="Generated images for KID.", show_default="1000"),
    ] = None,
    snapshot: Annotated[
        int | None,
        typer.Option(metavar="N", help="Snapshot with KID every N images.", show_default="20000"),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(metavar="N", help="Stop after N snapshots without a lower KID."),
    ] = None,
    bfloat16: Annotated[
        bool | None,
        typer.Option(
            "--bfloat16/--no-bfloat16",
            help="Convolutions in bfloat16.",
            show_default="if it is fast here",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Random seed.", callback=checked_seed)
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="GENERATOR",
            help="Begin with the weights of a trained generator of the same size: a known model, a "
            "run's folder, or a file.",
            show_default="random weights",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in DIR.")] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write the metrics as TensorBoard events.")
    ] = False,
    device: Device = "auto",
    compiled: Annotated[
        bool | None,
        typer.Option("--compile/--no-compile", help="Compile.", show_default="on a CUDA GPU"),
    ] = None,
) -> None:
    """Train a generator on images of one domain.

    Writes snapshots, sample grids, metrics and the state for --resume to the run's directory. Its
    index.html shows them in a browser.
    Next step: invcomp prepare DIR -o mine.ivm
    """
    given: dict[str, Any] = {
        name: value
        for name, value in locals().items()
        if name not in NO_OPTIONS and value is not None
    }
    show.needs("train", "accelerate")
    if tensorboard:
        show.needs("tensorboard", "tensorboardX")
    from ..lookup import open_generator
    from ..training.data import open_dataset
    from ..training.options import TrainOptions
    from ..training.run import RunDirectory

    directory = RunDirectory(output, tensorboard)
    if resume and frame is None and (kept := directory.frame()):
        given["frame"] = kept
    if resume and start is None:
        start = directory.start()
    options = TrainOptions(**given)  # checked before the images are read
    with show.Meter() as meter:
        dataset = open_dataset(
            images,
            options.resolution,
            progress=lambda stage, done, total: meter.show(
                f"{stage} images", done, total, f"{done} of {total}"
            ),
            frame=options.frame,
        )
        for stage in ("reading", "fitting"):
            meter.drop(f"{stage} images")
        from ..device import has_compiler
        from ..training.loop import Trainer, accelerator_for

        first = None
        if start is not None and not (resume and directory.state_path.is_file()):
            first = open_generator(start, download_progress(meter, start))
        accelerator = accelerator_for(device)
        if compiled is None:  # on CPUs it takes minutes and gains nothing: docs/experiments.md
            compiled = accelerator.device.type == "cuda" and has_compiler()
        trainer = Trainer(
            dataset, directory, options, str(images), resume, accelerator, compiled, first, start
        )
        if trainer.accelerator.is_main_process:
            _say_what_there_is(dataset, trainer)
            from ..training.page import NAME

            show.note(
                f"first figures after {trainer.options.tick:,} images; samples and figures so far: "
                f"{directory.path / NAME}, in a browser"
            )
        try:
            expected = trainer.options.discriminator == "features"
            told = _Told(meter, hours, expected, trainer.images)
            trainer.run(told, inf if hours is None else hours)
        except KeyboardInterrupt:
            trainer.stop()
            raise
    if trainer.accelerator.is_main_process:
        show.result(_outcome(trainer, output))


def _say_what_there_is(dataset: Dataset, trainer: Trainer) -> None:
    from ..training.data import NO_FACE

    bad = [f"{name}: {reason}" for name, reason in dataset.bad if reason != NO_FACE]
    for line in bad[:SHOWN_BAD_FILES]:
        show.warning(line)
    more = len(bad) - SHOWN_BAD_FILES
    if bad:
        show.warning(
            f"{len(bad)} files were left out" + (f", {more} not named" if more > 0 else "")
        )
    if faceless := len(dataset.bad) - len(bad):
        show.warning(f"{faceless} images have {NO_FACE} and were left out")
    held_out = len(trainer.monitor.held_out) if trainer.monitor.held_out else 0
    sizes = (size / 1e6 for size in trainer.adversaries.sizes)
    options = trainer.options
    show.note(
        "{} images to train on, {} held out; generator {:.1f} M parameters, discriminator "
        "{:.1f} M, on {}; augmentation {}; {}".format(
            *(len(trainer.monitor.data), held_out, *sizes),
            *(SEEN[str(options.discriminator)], options.augmentation, trainer.device),
        )
    )


class _Told:
    """Shows every tick; after the first, what the speed means.

    Args:
        meter: progress bars.
        hours: time limit; None: there is none.
        expected: whether `expectation` holds, which was measured on features.
        begun: images that were seen before.
    """

    def __init__(self, meter: show.Meter, hours: float | None, expected: bool, begun: int) -> None:
        self.meter, self.hours, self.expected, self.begun = meter, hours, expected, begun

    def __call__(self, tick: Tick) -> None:
        values, meter = tick.values, self.meter
        rate = values["images_per_second"]
        if self.expected and tick.images < SHAPES:
            meter.note(expectation(tick.images, rate, self.hours, self.begun))
        self.expected = False  # told once
        note = (
            f"{tick.images / 1000:.0f} kimg  {rate:.0f} img/s  "
            f"G {values['generator']:.2f}  D {values['discriminator']:.2f}"
        )
        if "kid" in values:
            kid = f"KID {values['kid']:.4f} ({values['kid_features']} features)"
            meter.note(f"{tick.images / 1000:.0f} kimg: {kid}")
        meter.show("training", tick.images, tick.total, note)
        if tick.warning:
            show.warning(tick.warning)


def expectation(images: int, rate: float, hours: float | None, begun: int = 0) -> str:
    """What a training at `rate` images/s reaches, after `images` images.

    Args:
        hours: time limit, counted from when it had seen `begun` images; None: 3.
    """
    there = (SHAPES - images) / rate / 3600
    limit = 3 if hours is None else hours
    reached = max(round(begun + limit * 3600 * rate, -3), images)
    return (
        f"{rate:.0f} images/s: photographs have shapes after some {SHAPES:,} images, in "
        f"{there:.1f} hours; {limit:g} hours reach {reached:,.0f} images"
    )


def _outcome(trainer: Trainer, output: Path) -> str:
    kid, monitor = "", trainer.monitor
    if monitor.held_out:
        kid = f", best KID {monitor.best_kid:.4f} ({monitor.kid_features} features)"
    if trainer.stale:
        kid += f"; stopped, because KID did not fall for {trainer.options.patience} snapshots"
    return f"{output}: {trainer.images / 1000:.0f} thousand images seen{kid}"
