"""invcomp compare: rate-distortion curves against conventional codecs (tables, plots, page)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import show
from .encode_options import open_codec, search_options
from .jobs import find_sources, obstacle
from .models import LPIPS_VGG, download_progress
from .options import DEFAULT_MODEL, Compile, Device, Model

if TYPE_CHECKING:
    from ..codec import Codec
    from ..evaluation.comparison import Subject
    from ..evaluation.plan import Plan
    from ..evaluation.report import Report
    from ..inversion.options import SearchOptions


def compare(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES", help="Images or folders.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the report.")
    ],
    model: Model = DEFAULT_MODEL,
    codecs: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Codecs to compare: avif, webp, jpeg, jxl, heic, jp2.",
            show_default="all that Pillow can write here",
        ),
    ] = None,
    qualities: Annotated[
        str | None,
        typer.Option(
            metavar="Q,...",
            help="Qualities of invcomp, 0 to 100.",
            show_default="four around the default",
        ),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(
            metavar="S,...",
            help="Sizes at which the other codecs encode, as fractions of the full side.",
            show_default="1,0.5,0.25,0.125",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="lpips_alex, lpips_vgg, dists, ms_ssim, psnr; for portraits identity, judge.",
            show_default="all that apply to these images",
        ),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(
            "--iterations",
            "--steps",
            metavar="N",
            help="Iterations of the search.",
            show_default="the search's",
        ),
    ] = None,
    starts: Annotated[
        int | None,
        typer.Option(metavar="K", help="Number of starts.", show_default="as in compress"),
    ] = None,
    fast: Annotated[
        bool,
        typer.Option("--fast", help="Search two to three times faster; slightly higher LPIPS."),
    ] = False,
    judge: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder with an identity.py that defines a judge of identity. The file is "
            "executed (see the documentation of comparisons).",
        ),
    ] = None,
    shown: Annotated[int, typer.Option(metavar="N", help="Number of images in the page.")] = 12,
    device: Device = "auto",
    compiled: Compile = None,
) -> None:
    """Compare invcomp with AVIF, WebP, JPEG, JPEG XL, HEIC and JPEG 2000 on real files.

    Writes every file, tables (CSV, JSON), plots (SVG, PNG) and index.html, a page that needs no
    network.

    For portraits it also measures identity, with the network that the search optimises. `--judge`
    adds a network that the search does not optimise.

    Takes minutes per image. A stopped run continues when it is started again.
    """
    show.needs("compare", "bjontegaard", "jinja2", "matplotlib")
    search = search_options(iterations=iterations, starts=starts, fast=fast)
    plan = make_plan(codecs, qualities, sizes, metrics, search, judge)
    check_folder(output)
    outcomes = show.Outcomes()
    subjects = find_subjects(images, outcomes)
    if subjects:
        with show.Meter() as meter:
            codec = open_codec(model, device, compiled, meter)
            if metrics is None:
                plan = with_fitting_metrics(plan, codec)
            note_on_identity(plan, codec)
            fetch_networks(plan, meter)
            subjects = with_faces(subjects, codec, outcomes, meter)
            found = run(codec, subjects, plan, output, shown, meter) if subjects else None
        if found is not None:
            print_bd_rates(found)
            show.result(f"{len(found.files)} files measured: {output / 'index.html'}")
    outcomes.finish()


def make_plan(
    codecs: str | None,
    qualities: str | None,
    sizes: str | None,
    metrics: str | None,
    search: SearchOptions,
    judge: Path | None = None,
) -> Plan:
    """The plan that the options describe; None means the default.

    Raises:
        OptionError: an option is unreadable, out of range, or does not apply.
    """
    from ..evaluation.judge import Judge
    from ..evaluation.plan import Plan

    given: dict[str, Any] = {
        "codecs": available_here() if codecs is None else names_of("codecs", codecs),
        "qualities": qualities and numbers_of("qualities", qualities),
        "shares": sizes and numbers_of("sizes", sizes),
        "metrics": metrics and names_of("metrics", metrics),
        "judge": judge and Judge(judge),
    }
    if judge and given["metrics"]:
        given["metrics"] = tuple(dict.fromkeys((*given["metrics"], "judge")))
    return Plan(search=search, **{k: value for k, value in given.items() if value is not None})


def available_here() -> tuple[str, ...]:
    """The codecs that Pillow can write; prints a note about the others."""
    from ..conventional.codecs import LABELS
    from ..evaluation.codecs import available_codecs
    from ..evaluation.curves import COMPARED

    names = available_codecs(COMPARED)
    if missing := [LABELS[name] for name in COMPARED if name not in names]:
        show.note(f"left out (Pillow cannot write it here): {', '.join(missing)}")
    return names


def names_of(option: str, text: str) -> tuple[str, ...]:
    """The items of a comma-separated list, without duplicates.

    Raises:
        OptionError: the list is empty.
    """
    from ..errors import OptionError

    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise OptionError(f"--{option} is empty")
    return names


def numbers_of(option: str, text: str) -> tuple[float, ...]:
    """The numbers of a comma-separated list, without duplicates.

    Raises:
        OptionError: an item is not a number.
    """
    from ..errors import OptionError

    try:
        return tuple(dict.fromkeys(float(part) for part in names_of(option, text)))
    except ValueError as error:
        raise OptionError(f"--{option} {text}: expected comma-separated numbers") from error


def check_folder(output: Path) -> None:
    """Checks that the report can be written to the folder, before any long work begins.

    Raises:
        OutputError: it cannot.
    """
    from ..errors import OutputError

    if reason := obstacle(output / "results.jsonl", force=True):
        raise OutputError(reason)


def find_subjects(images: list[Path], outcomes: show.Outcomes) -> list[Subject]:
    """The images that can be read, each with a unique name."""
    from ..errors import ImageError
    from ..evaluation.comparison import Subject
    from ..preprocessing.reading import read_image, readable_suffixes

    found: dict[str, Path] = {}
    for path in find_sources(images, readable_suffixes() - {".ivc"}, outcomes):
        try:
            read_image(path)
        except ImageError as error:
            outcomes.failed(str(error))
            continue
        if (other := found.setdefault(path.name, path)) != path:
            outcomes.failed(f"{path}: has the same name as {other}: names must be unique")
    return [Subject(name, partial(read_image, path)) for name, path in found.items()]


def with_faces(
    subjects: list[Subject], codec: Codec, outcomes: show.Outcomes, meter: show.Meter
) -> list[Subject]:
    """The images that can be fitted to the model's frame; the others are reported."""
    from ..errors import FrameError
    from ..preprocessing.frame import FACE

    if codec.bundle.settings.frame != FACE:
        return subjects
    found = []
    for done, subject in enumerate(subjects):
        meter.show("finding faces", done, len(subjects), f"{done} of {len(subjects)}")
        try:
            codec.encoder.fit(subject.load())
            found.append(subject)
        except FrameError as error:
            outcomes.failed(f"{subject.name}: {error}")
    meter.drop("finding faces")
    return found


def with_fitting_metrics(plan: Plan, codec: Codec) -> Plan:
    """The plan with all metrics that apply to the model's images; prints a note about others."""
    from ..evaluation.plan import metrics_for

    resolution, faces = codec.bundle.resolution, codec.bundle.settings.face is not None
    metrics = metrics_for(resolution, faces, plan.judge is not None)
    if left_out := [name for name in plan.metrics if name not in metrics]:
        show.note(f"left out (needs images larger than {resolution} px): {left_out[0]}")
    return replace(plan, metrics=metrics)


def note_on_identity(plan: Plan, codec: Codec) -> None:
    """Prints a note if no independent network measures identity."""
    if codec.bundle.settings.face is None:
        if plan.judge is not None:
            show.note("the judge is not used: the model does not generate faces")
    elif plan.judge is None and "identity" in plan.metrics:
        show.note(
            "identity is measured with a network that the search optimises: --judge adds another"
        )


def fetch_networks(plan: Plan, meter: show.Meter) -> None:
    """Downloads VGG16 into the cache if a metric needs it and it is not on this machine.

    Raises:
        DownloadError: the download failed.
    """
    from ..errors import MissingBundleError
    from ..evaluation.metrics import NEED_VGG
    from ..perception.lpips_network import fetch_vgg, trunk_path

    if NEED_VGG.isdisjoint(plan.metrics):
        return
    try:
        trunk_path("vgg")
    except MissingBundleError:
        fetch_vgg(download_progress(meter, LPIPS_VGG))
        meter.drop(f"fetching {LPIPS_VGG}")


def run(
    codec: Codec,
    subjects: list[Subject],
    plan: Plan,
    output: Path,
    shown: int,
    meter: show.Meter,
) -> Report:
    """Measures whatever has not been measured yet and writes the report."""
    from ..evaluation.comparison import Comparison
    from ..evaluation.page import write_page
    from ..evaluation.plots import write_plots
    from ..evaluation.report import Report, write_tables

    def moved(stage: str, done: float, total: int, note: str) -> None:
        meter.show(stage, done, total, f"{int(done)} of {total}  {note}")
        if done == total and stage == "codecs":
            meter.drop(stage)  # it starts again for the next image

    comparison = Comparison(codec, subjects, plan, output, moved)
    comparison.run()
    found = Report(
        comparison.settings,
        comparison.resolution,
        comparison.files(),
        comparison.points(),
        comparison.kid_features,
    )
    write_tables(found, output)
    write_plots(found, output / "plots")
    frames = {subject.name: subject for subject in subjects}
    write_page(
        found, output, lambda name: comparison.frame(frames[name]), comparison.decoded, shown
    )
    return found


def print_bd_rates(found: Report) -> None:
    """Prints the BD-rates as a table, codecs by metrics."""
    from rich import box
    from rich.table import Table

    from ..evaluation.curves import METRIC_NAMES, NAMES

    if not found.bd_rates:
        return
    table = Table(title="bytes of invcomp at equal distortion (BD-rate)", box=box.SIMPLE)
    table.add_column("against", no_wrap=True)
    metrics = list(dict.fromkeys(rate.metric for rate in found.bd_rates))
    for metric in metrics:
        table.add_column(METRIC_NAMES[metric], justify="right")
    cells = {
        (rate.codec, rate.metric): rate.reason if rate.percent is None else f"{rate.percent:+.1f} %"
        for rate in found.bd_rates
    }
    for codec in found.codecs[1:]:
        table.add_row(NAMES[codec], *(cells[codec, metric] for metric in metrics))
    show.table(table)
