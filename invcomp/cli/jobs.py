"""Which file is read and which is written for it, settled before any long work begins."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from .show import Outcomes


@dataclass(frozen=True)
class Job:
    """One file to read, one to write."""

    source: Path
    target: Path


def find_sources(
    paths: Iterable[Path], suffixes: Collection[str], outcomes: Outcomes
) -> list[Path]:
    """Every file named, and the files with one of the suffixes in every folder named.

    Args:
        paths: files and folders; a file may have any suffix.
        suffixes: in lower case, with the dot.
        outcomes: hears of what is not there.
    """
    found: dict[Path, Path] = {}  # by resolved path, so that each is read once
    for path in paths:
        if path.is_dir():
            files = [file for file in _listing(path, outcomes) if file.suffix.lower() in suffixes]
            if not files:
                outcomes.failed(f"{path}: no file in this folder can be read")
        elif path.exists():
            files = [path]
        else:
            files = []
            outcomes.failed(f"{path}: no such file")
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _listing(folder: Path, outcomes: Outcomes) -> list[Path]:
    try:
        files = (file for file in folder.iterdir() if not file.name.startswith("."))
        return sorted(file for file in files if file.is_file())
    except OSError as error:
        outcomes.failed(f"{folder}: {error.strerror}")
        return []


def plan(
    sources: list[Path],
    output: str | None,
    into_folder: bool,
    suffix: str,
    force: bool,
    outcomes: Outcomes,
) -> list[Job]:
    """The jobs that may go ahead.

    Args:
        sources: files to read.
        output: a file or a folder; None writes beside each source.
        into_folder: whether the output must be a folder, there being several sources.
        suffix: of the files that are written.
        force: whether existing output may be replaced.
        outcomes: hears why a job may not go ahead.
    """
    jobs: list[Job] = []
    taken = {source.resolve(): source for source in sources}  # no source may be written over
    for source in sources:
        target = target_of(source, output, into_folder, suffix)
        other = taken.setdefault(target.resolve(), source)
        if target.resolve() == source.resolve():
            outcomes.failed(f"{source}: would be written over itself: give another -o")
        elif other is not source:
            outcomes.failed(f"{source}: {target} is taken by {other}: give it an -o of its own")
        elif reason := obstacle(target, force):
            outcomes.failed(f"{source}: {reason}")
        else:
            jobs.append(Job(source, target))
    return jobs


def target_of(source: Path, output: str | None, into_folder: bool, suffix: str) -> Path:
    """Where a source's output goes."""
    if output is None:
        return source.with_suffix(suffix)
    path = Path(output)
    if into_folder or path.is_dir() or output.endswith(("/", os.sep)):
        return path / source.with_suffix(suffix).name
    return path


def obstacle(target: Path, force: bool) -> str | None:
    """What stands against writing `target`, if anything is known to."""
    if target.exists() and not target.is_file():
        return f"{target} is not a file that can be written"
    if target.exists() and not force:
        return f"{target} exists: use --force to replace it"
    folder = next(parent for parent in target.absolute().parents if parent.exists())
    if not folder.is_dir():
        return f"{target}: cannot be written: {folder} is not a folder"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{target}: cannot be written: no permission in {folder}"
    return None
