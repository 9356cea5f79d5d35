"""What people see: results on stdout, progress and errors on stderr."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from typing_extensions import Self

    from ..inversion.progress import Progress as SearchState

PLAIN_LINES = 10  # of progress for each task if stderr is not a terminal


class _Stdout:
    """Whether results can still be printed. Work goes on without."""

    lost: str = ""  # the reason
    has_data: bool = False  # then lines go to stderr


def data_on_stdout() -> None:
    """From now on, stdout has the data of a file, and results are printed on stderr."""
    _Stdout.has_data = True


def result(text: str) -> None:
    """Prints one line on stdout, or on stderr if stdout has data."""
    err = _Stdout.has_data
    _print(lambda: typer.echo(printable(text), err=err))


def table(content: RenderableType) -> None:
    """Prints a table or panel on stdout."""
    _print(lambda: Console().print(content))


def json_values(values: object) -> None:
    """Prints JSON on stdout, in ASCII."""
    _print(lambda: typer.echo(json.dumps(values, indent=2)))


def plain(text: str) -> Text:
    """A text for a table, without markup, and with unprintable characters escaped."""
    return Text(printable(text))


def _print(write: Callable[[], None]) -> None:
    """Prints on stdout; if that fails, says so once, and prints nothing from then on."""
    try:
        write()
    except OSError as failure:
        with suppress(OSError):  # what is still to be written goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(failure, BrokenPipeError):  # not `| head`
            _Stdout.lost = f"the output cannot be written: {failure.strerror}"
            error(_Stdout.lost)


def results_lost() -> bool:
    """Whether results could not be printed; forgets this run."""
    lost, _Stdout.lost, _Stdout.has_data = _Stdout.lost, "", False
    return bool(lost)


def error(message: str) -> None:
    """Prints one red line on stderr."""
    line = printable(" ".join(message.split()))
    text = Text.assemble(("error: ", "bold red"), (line, "red"))
    Console(stderr=True).print(text, soft_wrap=True)


def warning(message: str) -> None:
    """Prints one yellow line on stderr."""
    text = Text.assemble(("warning: ", "bold yellow"), printable(" ".join(message.split())))
    Console(stderr=True).print(text, soft_wrap=True)


def image_warnings() -> None:
    """From now on, prints what is said about an image once, in one line; hides Pillow's own."""
    from ..errors import ImageWarning

    show_others, said = warnings.showwarning, set()

    def show_warning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, ImageWarning):
            show_others(message, category, filename, lineno, file, line)
        elif (text := str(message)) not in said:
            said.add(text)
            warning(text)

    warnings.showwarning = show_warning
    warnings.filterwarnings("ignore", module="PIL")  # about unusual metadata


def note(message: str) -> None:
    """Prints one line on stderr."""
    typer.echo(printable(message), err=True)


def needs(extra: str, *modules: str) -> None:
    """Checks that the modules of an extra are installed.

    Raises:
        OptionError: one is missing.
    """
    from ..errors import OptionError

    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise OptionError(f'{missing[0]} is missing: pip install "invcomp[{extra}]"')


def printable(text: str) -> str:
    """The text with unprintable characters (as in odd file names) escaped."""
    text = text.encode(errors="backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Outcomes:
    """Failures of a run over many files: each is printed at once, and the run continues.

    Args:
        listing: file to list failed inputs in, as tab-separated values. It is made with the first
            failure; if there is none, that of an earlier run is removed.
    """

    HEADER = "input\treason\n"

    def __init__(self, listing: Path | None = None) -> None:
        self.failures, self.listed, self._listing = 0, 0, listing

    def failed(self, message: str, source: str | Path | None = None) -> None:
        """Prints and counts the failure of one file; lists it, if it is an input."""
        self.failures += 1
        error(message)
        if source is not None and self._listing is not None:
            reason = message.removeprefix(f"{source}: ")
            self._list(f"{printable(str(source))}\t{printable(' '.join(reason.split()))}\n")

    def _list(self, line: str) -> None:
        assert self._listing is not None
        try:
            if not self.listed and self._listing.exists() and not self._is_ours():
                warning(f"{self._listing} is no list of failed inputs, and stays as it is")
                self._listing = None
                return
            with self._listing.open("a" if self.listed else "w", encoding="utf-8") as file:
                file.write(line if self.listed else self.HEADER + line)
            self.listed += 1
        except OSError as failure:
            warning(f"{self._listing}: cannot be written: {failure.strerror}")
            self._listing = None

    def _is_ours(self) -> bool:
        """Whether the file is a list of an earlier run."""
        assert self._listing is not None
        with self._listing.open(encoding="utf-8", errors="replace") as file:
            return file.read(len(self.HEADER)) == self.HEADER

    def finish(self) -> None:
        """Ends the program with exit code 1 if a file failed."""
        if self.listed:
            note(f"{self.listed} inputs failed: see {self._listing}")
        elif not self.failures and self._listing is not None:
            with suppress(OSError):
                if self._is_ours():
                    self._listing.unlink()
        if self.failures:
            raise typer.Exit(1)


class Meter:
    """Progress bars with a note and the time left; plain lines if stderr is not a terminal."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self.plain = not console.is_interactive
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, int] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=self.plain,
            speed_estimate_period=60,
            redirect_stdout=sys.stdout.isatty(),  # else results would go to stderr
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def show(self, name: str, done: float, total: float, note: str = "") -> None:
        """Sets the bar `name` to `done` of `total`, creating it on first use."""
        note = printable(note)
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(printable(name), total=total, note=note)
        identity = self._tasks[name]
        self._progress.update(identity, completed=done, total=total, note=note)
        if self.plain:
            self._say(self._progress.tasks[self._progress.task_ids.index(identity)])

    def note(self, message: str) -> None:
        """Prints a permanent line above the bars."""
        if self.plain:
            note(message)
        else:
            self._progress.console.print(printable(message))

    def drop(self, name: str) -> None:
        """Removes the bar."""
        if name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))
            self._said.pop(name, None)

    def _say(self, task: Task) -> None:
        """Prints a line when the task has advanced by a tenth."""
        tenth = int(PLAIN_LINES * task.completed / task.total) if task.total else 0
        if self._said.get(task.description) == tenth:
            return
        self._said[task.description] = tenth
        left = task.time_remaining
        time = f"{timedelta(seconds=round(left))} left" if left else ""
        parts = (f"{task.description}:", f"{task.percentage:.0f}%", task.fields["note"], time)
        typer.echo(printable("  ".join(part for part in parts if part)), err=True)


def byte_note(done: int, total: int) -> str:
    """Text for the progress of a download."""
    return f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"


def rate(speed: float) -> str:
    """Text for a number of images per second."""
    return f"{speed:.1f} images/s" if speed >= 1 else f"{1 / speed:.1f} s an image"


def search_progress(
    meter: Meter, name: str, also: Callable[[float], None] = lambda fraction: None
) -> Callable[[SearchState], None]:
    """A callback that updates the progress bar of one batch.

    Args:
        meter: shows the bar.
        name: of the bar.
        also: called with the completed fraction.
    """

    def moved(state: SearchState) -> None:
        note = f"{state.stage} {state.iteration}/{state.iterations}  loss {state.loss:.4f}"
        if state.bytes:
            note += f"  {state.bytes:.0f} bytes"
        meter.show(name, state.fraction, 1, note)
        also(state.fraction)

    return moved
