"""The command line: all commands, and how their errors end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .. import InvcompError
from . import show
from .archive import archive
from .compare import compare
from .compress import compress
from .decompress import decompress
from .demo import demo
from .distill import distill
from .export import export
from .fit import fit
from .info import info
from .models import models
from .options import examples
from .prepare import prepare
from .qr import qr
from .sample import sample
from .thumbnails import thumbnails
from .train import train
from .web import web

INTERRUPTED = 130  # the exit code that shells use


@contextmanager
def _usage_errors_printable() -> Iterator[None]:
    """Escapes what is unprintable in click's errors, which repeat options as they were typed."""
    try:
        yield
    except Exception as error:
        message = getattr(error, "message", None)
        if hasattr(error, "format_message") and isinstance(message, str):
            vars(error)["message"] = show.printable(message)
        raise


class Program(TyperGroup):
    """The group of all commands; errors that users can cause end in one line, no traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuses an empty argument, which as a path would mean the folder one is in."""
        if "" in args:
            show.error("an argument is empty")
            raise typer.Exit(2)
        with _usage_errors_printable():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        try:
            with _usage_errors_printable():
                return super().invoke(ctx)
        except InvcompError as error:
            show.error(str(error))
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            show.error("interrupted")
            raise typer.Exit(INTERRUPTED) from error


app = typer.Typer(
    cls=Program,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "invcomp demo", "invcomp compress portrait.jpg", "invcomp decompress portrait.ivc"
    ),
)
app.command(
    epilog=examples(
        "invcomp compress portrait.jpg",
        "invcomp compress portraits/ -o compressed/ --quality 60",
        "invcomp compress portraits/ -o compressed/ --fast",
        "invcomp compress portrait.jpg --bytes 150",
        "invcomp compress portrait.jpg --max-lpips 0.08",
        "invcomp compress portrait.jpg --bytes 100 --mask faces-oval",
        "invcomp compress portrait.jpg --time 10",
        "invcomp compress group.jpg --all-faces --keep-photo --bytes 230 --background 1500",
        "invcomp compress folder/ -o out/ --bytes 230 --fallback avif",
        "invcomp compress a.jpg b.png -o out/ --batch 2 --device cuda",
        "invcomp compress portraits/ -o set.ivca --workers 2",
    )
)(compress)
app.command(
    epilog=examples(
        "invcomp decompress portrait.ivc",
        "invcomp decompress portrait.ivc -o coarse.jpg --bytes 60",
        "invcomp decompress compressed/ -o images/",
        "invcomp decompress compressed/ -o previews/ --proxy",
        "invcomp decompress set.ivca -o images/ --only anna --only 'holiday/*'",
    )
)(decompress)
app.command(
    epilog=examples(
        "invcomp fit photo.jpg",
        "invcomp fit photo.jpg -o aligned.png --show",
        "invcomp fit group.jpg -o faces/ --all-faces --json",
    )
)(fit)
app.command(epilog=examples("invcomp info portrait.ivc", "invcomp info set.ivca --json"))(info)
app.command(
    epilog=examples(
        "invcomp demo", "invcomp demo portrait.jpg -o here/", "invcomp demo --model avatars-64"
    )
)(demo)
app.command(
    epilog=examples(
        "invcomp compare portraits/ -o report/",
        "invcomp compare portraits/ -o report/ --codecs avif,jxl --qualities 35,50,60",
        "invcomp compare avatars/ -o report/ --model avatars-64 --metrics lpips_alex,psnr",
    )
)(compare)
app.command(
    epilog=examples(
        "invcomp prepare faces-1024 -o mine.ivm --photos portraits/",
        "invcomp prepare faces-1024 -o quick.ivm --draws 300 --coordinates 300",
        "invcomp prepare runs/mine -o mine.ivm --photos held_out/ --encoder",
    )
)(prepare)
app.command(
    epilog=examples(
        "invcomp distill mine.ivm -o mine-small.ivm",
        "invcomp decompress image.ivc --model mine-small.ivm",
    )
)(distill)
app.command(
    epilog=examples(
        "invcomp export faces-128 -o faces-128/",
        "invcomp export faces-1024 -o faces-1024/ --half",
    )
)(export)
app.command(
    epilog=examples(
        "invcomp web -o site/",
        "invcomp web -o site/ --model faces-1024 --model avatars-64 --half",
        "invcomp web -o site/ --runtime onnxruntime-web-1.30.0.tgz",
    )
)(web)
app.command(
    epilog=examples(
        "invcomp train images/ -o runs/mine --resolution 64",
        "invcomp train images/ -o runs/mine --resolution 64 --resume",
        "torchrun --nproc_per_node 8 -m invcomp train images.zip -o runs/mine --batch 256",
    )
)(train)
app.command(
    epilog=examples(
        "invcomp sample runs/mine -n 64 -o grid.png",
        "invcomp sample faces-1024 -n 9 --size 256 --truncation 0.7",
    )
)(sample)
app.add_typer(models, name="models")
archive.command(
    epilog=examples(
        "invcomp archive thumbnails set.ivca",
        "invcomp archive thumbnails set.ivca -o sheet.jpg --size 64",
    )
)(thumbnails)
app.add_typer(archive, name="archive")
app.add_typer(qr, name="qr")


def _show_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"invcomp {__version__}")
        raise typer.Exit


@app.callback()
def invcomp(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Compresses images of one domain to a few hundred bytes, using a generator."""


def run() -> None:
    """The entry point of the command line."""
    for stop in ("SIGTERM", "SIGHUP"):  # a scheduler's stop, or a closed terminal, act as Ctrl-C
        number = getattr(signal, stop, None)
        if number and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    _open_streams()
    show.image_warnings()
    try:
        app()
    except SystemExit as ended:
        if show.results_lost() and not ended.code:
            raise SystemExit(1) from ended
        raise
    finally:
        _let_go_of_stdout()


def _open_streams() -> None:
    """Opens streams that the shell has closed, so that no file takes their place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115, to the end of the program


def _let_go_of_stdout() -> None:
    """Flushes stdout, so that a closed reader (`| head`) or a full disk causes no error at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
