"""What the documentation shows is true: examples run, command lines parse, links lead somewhere."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer
from PIL import Image

from invcomp.cli.main import app

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """The code blocks of a language, each with the number of its first line."""
    text = page.read_text(encoding="utf-8")
    return [
        (text[: match.start(2)].count("\n") + 1, match[2])
        for match in FENCE.finditer(text)
        if match[1] == language
    ]


def without_blocks(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def shell_lines(page: Path) -> list[str]:
    return [line for _, block in blocks(page, "sh") for line in block.splitlines()]


def command_lines() -> list[str]:
    """Every call of invcomp in shell blocks."""
    lines = (line for page in PAGES for line in shell_lines(page))
    return calls(part.strip() for line in lines for part in line.split("&&"))


def mentions() -> list[str]:
    """Every call of invcomp in the text, which may leave out its arguments."""
    return calls(
        span for page in PAGES for span in re.findall(r"`([^`\n]+)`", without_blocks(page))
    )


def calls(lines: Iterable[str]) -> list[str]:
    return sorted({line for line in lines if line.startswith("invcomp ")})


def parser_of(command: str) -> tuple[Any, str, list[str]]:
    """The parser of a call's verb, the verb's name, and the words after it."""
    parser: Any = typer.main.get_command(app)
    name, *words = shlex.split(command, comments=True)
    while hasattr(parser, "commands") and words and words[0] in parser.commands:
        name = words.pop(0)
        parser = parser.commands[name]
    return parser, name, words


def anchors(page: Path) -> set[str]:
    """What the headings are called in links, on GitHub and in the built pages alike."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_python_examples_run(
    page: Path,
    tiny_model: Path,
    images: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In order, in one namespace, in a folder with the portraits, with a bundle of 64 px."""
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")  # to compile takes minutes and changes no result
    monkeypatch.chdir(tmp_path)
    for name in ("portrait.jpg", "portrait.png"):
        Image.open(images[0]).save(name)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for line, source in blocks(page, "python"):
        source = source.replace('"faces-1024"', repr(str(tiny_model)))
        exec(compile("\n" * (line - 1) + source, str(page), "exec"), namespace)


@pytest.mark.parametrize("command", command_lines())
def test_command_lines_parse(command: str) -> None:
    """The verb and its options exist and take these values; nothing is run."""
    parser, name, words = parser_of(command)
    assert not hasattr(parser, "commands"), f"invcomp has no verb {words[0]}"
    parser.make_context(name, words)


@pytest.mark.parametrize("command", mentions())
def test_mentioned_verbs_and_options_exist(command: str) -> None:
    parser, name, words = parser_of(command)
    parameters = parser.get_params(parser.context_class(parser))
    options = {option for each in parameters for option in (*each.opts, *each.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= options
    assert name != "invcomp" or words[0].startswith("-"), f"invcomp has no verb {words[0]}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]+`", "", without_blocks(page))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link}: there is no such file"
        if page.parent.name == "docs":  # mkdocs knows no other files
            assert target.is_relative_to(ROOT / "docs"), f"{link} leads out of docs/"
        if anchor:
            assert anchor in anchors(target), f"{link}: there is no such heading"


def test_the_two_commands_of_a_new_user_stand_in_the_readme() -> None:
    """.ci/run takes the second from there."""
    lines = shell_lines(ROOT / "README.md")
    assert "pip install . && invcomp demo" in lines
    assert 'pip install -e ".[test]" && pytest' in lines


def tables(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    script = ROOT / "scripts" / "benchmarks" / "tables.py"
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_tables_have_the_figures_of_their_csv_files() -> None:
    outcome = tables("--check")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_every_csv_file_has_a_table() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for path in (ROOT / "docs" / "results").glob("*"):
        assert path.name in pages


def test_a_changed_figure_reaches_every_page(tmp_path: Path) -> None:
    pages = [
        shutil.copy(ROOT / page, tmp_path)
        for page in ("README.md", "docs/benchmarks.md", "docs/limits.md")
    ]
    results = Path(shutil.copytree(ROOT / "docs" / "results", tmp_path / "results"))
    likeness = results / "likeness.csv"
    likeness.write_text(likeness.read_text().replace("0.857", "0.123"))
    before = [page.read_text() for page in map(Path, pages)]
    outcome = tables(*pages, "--results", results, "--check")
    assert outcome.returncode == 1
    assert all(page in outcome.stdout for page in map(str, pages))
    assert before == [page.read_text() for page in map(Path, pages)]  # only said
    assert tables(*pages, "--results", results).returncode == 0
    for page, text in zip(map(Path, pages), before, strict=True):
        digits = {"0.857": "0.123", "| 110 | 0.86 |": "| 110 | 0.12 |"}
        rows = [line for line in text.splitlines() if line.startswith("|")]
        for old, new in digits.items():
            rows = [row.replace(old, new) for row in rows]
        assert [line for line in page.read_text().splitlines() if line.startswith("|")] == rows
    assert tables(*pages, "--results", results, "--check").returncode == 0


@pytest.mark.parametrize(
    ("comment", "reason"),
    [
        ("likeness.csv, version=nobody", "no row"),
        ("likeness.csv\n| {bytes of likeness.csv, bytes=1} |\n", "no row"),
        ("likeness.csv -->\n<!-- no empty line", "empty line"),
    ],
)
def test_a_table_that_cannot_be_made_is_refused(tmp_path: Path, comment: str, reason: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"<!-- table: {comment} -->\n\n| bytes |\n|---|\n| 1 |\n\n<!-- end -->\n")
    outcome = tables(page)
    assert outcome.returncode == 1
    assert reason in outcome.stderr
