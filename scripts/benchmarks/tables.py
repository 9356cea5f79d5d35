"""Writes the tables of figures in the documentation from docs/results/*.csv.

    python scripts/benchmarks/tables.py              # rewrites README.md and docs/*.md
    python scripts/benchmarks/tables.py --check      # changes nothing, fails if a page would change

A table stands between two comments. Its headings are the page's; its rows are made from a CSV file:

    <!-- table: first_bytes.csv -->                  every row, with every column

    <!-- table: likeness.csv, version=default search
    | {bytes} | {judge .2} |
    likeness.csv, version=WebP
    | WebP, {bytes} | {judge .2} |
    -->                                              rows that match, as their template says

    <!-- end -->

A template may use a figure of another row: {times of likeness_equal.csv, bytes=110, metric=DISTS}.
{judge .2} is rounded to two digits. Benchmarks write their CSV files in the form of those in
docs/results with `write`; copy what is to be published.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(
    r"(?P<head><!-- table: (?P<spec>[^>]*?)-->\n\n(?:\|.*\n){2})(?:\|.*\n)*(?P<tail>\n<!-- end -->)"
)
FIELD = re.compile(r"\{(\w+)(?: \.(\d))?(?: of ([^{}]+))?\}")
DIGITS = {
    **dict.fromkeys(("lpips_alex", "lpips_vgg", "dists", "ms_ssim", "kid"), 3),
    **dict.fromkeys(("identity", "judge", "judge_lowest", "expressive_vgg"), 3),
    **dict.fromkeys(("psnr", "expressive_psnr"), 1),
    **dict.fromkeys(("times", "times_lowest"), 1),
}


def formatted(values: Mapping[str, float]) -> dict[str, str]:
    """Figures with the digits that the documentation has; 0 for bytes and seconds."""
    return {name: f"{value:.{DIGITS.get(name, 0)}f}" for name, value in values.items()}


def write(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Writes a table with a header and prints it; a column that a row lacks is empty there."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(path.read_text(encoding="utf-8"), flush=True)


def rows_of(source: str, folder: Path) -> list[dict[str, str]]:
    """The rows of "NAME.csv, column=value, column=value" that match, in their order."""
    name, *conditions = source.strip().split(", ")
    wanted = dict(condition.split("=", 1) for condition in conditions)
    with (folder / name).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = [row for row in rows if wanted.items() <= row.items()]
    if not found:
        raise SystemExit(f"{folder}: no row is {source}")
    return found


def filled(template: str, row: dict[str, str], folder: Path) -> str:
    """A line of a table: the template with the figures of a row."""

    def figure(field: re.Match[str]) -> str:
        name, digits, source = field.groups()
        (found,) = rows_of(source, folder) if source else (row,)
        value = found[name]
        if digits is None:
            return value
        return str(Decimal(value).quantize(Decimal(1).scaleb(-int(digits)), ROUND_HALF_UP))

    return FIELD.sub(figure, template) + "\n"


def lines_of(spec: str, folder: Path) -> list[str]:
    """The lines of a table, from the text of its first comment."""
    source, *rest = spec.strip().splitlines()
    if not rest:
        lines = [f"| {' | '.join(row.values())} |\n" for row in rows_of(source, folder)]
        return [line.replace("|  |", "| |") for line in lines]
    lines = []
    for line in rest:
        if line.startswith("|"):
            lines += [filled(line, row, folder) for row in rows_of(source, folder)]
        else:
            source = line
    return lines


def rewritten(page: str, folder: Path) -> str:
    """A page with the rows of all its tables made anew."""
    if page.count("<!-- table:") != len(BLOCK.findall(page)):
        raise SystemExit("a table has no headings, no <!-- end -->, or no empty line around it")
    return BLOCK.sub(
        lambda block: block["head"] + "".join(lines_of(block["spec"], folder)) + block["tail"], page
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    parser.add_argument("pages", type=Path, nargs="*", default=pages)
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    differ = []
    for path in arguments.pages:
        old = path.read_text(encoding="utf-8")
        new = rewritten(old, arguments.results)
        if new != old:
            differ.append(path)
            if not arguments.check:
                path.write_text(new, encoding="utf-8")
    for path in differ:
        print(f"{path}: {'differs from its CSV files' if arguments.check else 'rewritten'}")
    if arguments.check and differ:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
