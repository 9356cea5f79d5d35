"""Lines and bars: one clear line for an error, no control codes where nobody sees a terminal."""

import warnings

import pytest
import typer

from invcomp.cli import show
from invcomp.errors import ImageWarning
from invcomp.inversion.progress import Progress


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    show.error("[bold]a.png[/bold]: " + "very " * 60 + "long,\nand broken")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: [bold]a.png[/bold]: " + "very " * 60 + "long, and broken\n"


def test_what_is_said_about_an_image_is_one_line_and_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show.image_warnings()
    for _ in range(2):
        warnings.warn(ImageWarning("a.png: several frames: the first is used"), stacklevel=1)
    assert capsys.readouterr() == ("", "warning: a.png: several frames: the first is used\n")
    warnings.warn("of another kind", stacklevel=1)
    assert "warning: " not in capsys.readouterr().err


def test_odd_file_names_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show.result("a\udcff\x1b[31m.png -> b.ivc")
    assert capsys.readouterr().out == "a\\udcff\\x1b[31m.png -> b.ivc\n"


def test_a_report_ends_with_exit_code_1_only_after_a_failure() -> None:
    outcomes = show.Outcomes()
    outcomes.finish()
    outcomes.failed("a.png: not an image")
    with pytest.raises(typer.Exit) as exit:
        outcomes.finish()
    assert exit.value.exit_code == 1


def test_plain_progress_is_about_ten_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with show.Meter() as meter:
        for done in range(201):
            meter.show("a.png", done, 200, f"search {done}/200")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "a.png:  0%  search 0/200"
    assert len([line for line in lines if line]) == 11
    assert not any("\x1b" in line or "\r" in line for line in lines)


def test_a_terminal_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with show.Meter() as meter:
        meter.show("a.png", 50, 100, "search 1/2  loss 0.1234  170 bytes")
    err = capsys.readouterr().err
    assert "━" in err
    assert "loss 0.1234  170 bytes" in err


def test_a_bar_shows_the_part_of_the_search_that_is_done() -> None:
    fractions: list[float] = []
    with show.Meter() as meter:
        moved = show.search_progress(meter, "two", fractions.append)
        moved(Progress("screening", 1, 9, 0.5, 0.0, 0.1))
        moved(Progress("search", 20, 20, 0.3, 90.0, 1.0))
    assert fractions == [0.1, 1.0]
