"""What the documentation shows is true: examples run, command lines parse, links lead somewhere."""

import re
import shlex
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
    options = {option for parameter in parameters for option in parameter.opts}
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
