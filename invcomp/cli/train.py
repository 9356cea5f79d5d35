"""invcomp train: images of one kind to a generator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import show
from .options import Compile, Device

if TYPE_CHECKING:
    from ..training.data import Dataset
    from ..training.loop import Tick, Trainer

SHOWN_BAD_FILES = 10


def train(
    images: Annotated[
        Path, typer.Argument(metavar="IMAGES", help="A folder, a .zip, or a .txt list of files.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The run's directory.")
    ],
    resolution: Annotated[
        int | None, typer.Option(metavar="R", help="Of the images: a power of two. Default 64.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="compact|stylegan2", help="Size of the networks.")
    ] = None,
    tick: Annotated[
        int | None, typer.Option(metavar="N", help="Images between two lines of metrics.")
    ] = None,
    kimg: Annotated[
        float | None, typer.Option(metavar="K", help="Thousand images to train on in all.")
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Images a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="LR", help="Adam's.")] = None,
    loss: Annotated[
        str | None, typer.Option(metavar="nonsaturating|rpgan", help="Adversarial loss.")
    ] = None,
    gamma: Annotated[
        float | None, typer.Option(metavar="G", help="Weight of the gradient penalty.")
    ] = None,
    penalty_every: Annotated[
        int | None, typer.Option(metavar="N", help="Steps between two gradient penalties.")
    ] = None,
    path_length: Annotated[
        float | None, typer.Option(metavar="W", help="Weight of path-length regularisation.")
    ] = None,
    style_mixing: Annotated[
        float | None, typer.Option(metavar="P", help="Part of the images made of two styles.")
    ] = None,
    ema_kimg: Annotated[
        float | None, typer.Option(metavar="K", help="Half-life of the averaged generator.")
    ] = None,
    augmentation: Annotated[
        str | None, typer.Option(metavar="ada|fixed|none", help="Augmentation of what D sees.")
    ] = None,
    augmentation_p: Annotated[
        float | None, typer.Option(metavar="P", help="Its probability: fixed, or ada's first.")
    ] = None,
    mirror: Annotated[
        bool | None, typer.Option("--mirror/--no-mirror", help="Show images mirrored too.")
    ] = None,
    group: Annotated[
        int | None, typer.Option(metavar="N", help="Images of minibatch deviation; 1: none.")
    ] = None,
    noise: Annotated[
        str | None, typer.Option(metavar="random|const|none", help="The generator's noise.")
    ] = None,
    held_out: Annotated[
        int | None, typer.Option(metavar="N", help="Images kept for KID, at most a tenth.")
    ] = None,
    kid_samples: Annotated[
        int | None, typer.Option(metavar="N", help="Generated images that KID looks at.")
    ] = None,
    snapshot: Annotated[
        int | None, typer.Option(metavar="N", help="Images between two snapshots with KID.")
    ] = None,
    bfloat16: Annotated[
        bool | None,
        typer.Option(
            "--bfloat16/--no-bfloat16",
            help="Convolutions in bfloat16.",
            show_default="where it is fast",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of all that is drawn.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in DIR.")] = False,
    device: Device = "auto",
    compiled: Compile = None,
) -> None:
    """Train a generator on images of one kind.

    The run's directory gets snapshots, sample grids, metrics and what --resume needs. Then: invcomp
    prepare DIR -o mine.ivm
    """
    given: dict[str, Any] = {
        name: value
        for name, value in locals().items()
        if name not in ("images", "output", "resume", "device", "compiled") and value is not None
    }
    show.needs("train", "accelerate", "tensorboardX")
    from ..training.data import open_dataset
    from ..training.options import TrainOptions

    options = TrainOptions(**given)  # refused before the images are read
    with show.Meter() as meter:
        dataset = open_dataset(
            images,
            options.resolution,
            progress=lambda done, total: meter.show("images", done, total, f"{done} of {total}"),
        )
        meter.drop("images")
        from ..device import has_compiler
        from ..training.loop import Trainer, accelerator_for
        from ..training.run import RunDirectory

        accelerator = accelerator_for(device)
        if compiled is None:  # on CPUs it takes minutes and wins nothing: docs/experiments.md
            compiled = accelerator.device.type == "cuda" and has_compiler()
        trainer = Trainer(
            dataset, RunDirectory(output), options, str(images), resume, accelerator, compiled
        )
        if trainer.accelerator.is_main_process:
            _say_what_there_is(dataset, trainer)
        try:
            trainer.run(lambda tick: _show(meter, tick))
        except KeyboardInterrupt:
            trainer.stop()
            raise
    if trainer.accelerator.is_main_process:
        show.result(_outcome(trainer, output))


def _say_what_there_is(dataset: Dataset, trainer: Trainer) -> None:
    from ..training.run import parameters_of

    for name, reason in dataset.bad[:SHOWN_BAD_FILES]:
        show.warning(f"{name}: {reason}")
    more = len(dataset.bad) - SHOWN_BAD_FILES
    if dataset.bad:
        show.warning(
            f"{len(dataset.bad)} files were left out" + (f", {more} not named" if more > 0 else "")
        )
    held_out = len(trainer.held_out) if trainer.held_out else 0
    sizes = (parameters_of(network) / 1e6 for network in (trainer.generator, trainer.discriminator))
    show.note(
        "{} images to train on, {} held out; generator {:.1f} M parameters, discriminator "
        "{:.1f} M; {}".format(len(trainer.data), held_out, *sizes, trainer.device)
    )


def _show(meter: show.Meter, tick: Tick) -> None:
    values = tick.values
    note = (
        f"{tick.images / 1000:.0f} kimg  {values['images_per_second']:.0f} img/s  "
        f"G {values['generator']:.2f}  D {values['discriminator']:.2f}"
    )
    if "kid" in values:
        kid = f"KID {values['kid']:.4f} ({values['kid_features']} features)"
        meter.note(f"{tick.images / 1000:.0f} kimg: {kid}")
    meter.show("training", tick.images, tick.total, note)
    if tick.warning:
        show.warning(tick.warning)


def _outcome(trainer: Trainer, output: Path) -> str:
    kid = ""
    if trainer.held_out:
        kid = f", best KID {trainer.best_kid:.4f} ({trainer.kid_features} features)"
    return f"{output}: {trainer.images / 1000:.0f} thousand images seen{kid}"
