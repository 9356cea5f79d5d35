"""invcomp archive: lists, extends and verifies archives. Also what info and decompress need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import show
from .jobs import Job, obstacle
from .options import Force, Json, examples
from .sources import ARCHIVE, FILE, is_archive, sources_below

if TYPE_CHECKING:
    from ..archive.reader import Archive

archive = typer.Typer(no_args_is_help=True, help="List, extend and verify archives (.ivca).")

Path_ = Annotated[Path, typer.Argument(metavar="ARCHIVE", help="An archive (.ivca).")]


def open_archive(path: Path, **options: Any) -> Archive:
    """The archive at a path, with options of `Archive`.

    Raises:
        BitstreamError: it is none, cannot be read, or is to be refused.
    """
    from ..archive.reader import Archive
    from ..errors import BitstreamError

    try:
        return Archive(path, **options)
    except BitstreamError as error:
        raise type(error)(f"{path}: {error}") from error
    except OSError as error:
        raise BitstreamError(f"{path}: cannot be read: {error.strerror}") from error


@archive.command("list", epilog=examples("invcomp archive list set.ivca --json"))
def list_members(path: Path_, as_json: Json = False) -> None:
    """List the members: the bytes of the .ivc file of each, its time if it has one, its name."""
    members = open_archive(path).members
    if as_json:
        entries = [
            {
                "name": one.name,
                "bytes": one.file_size,
                "fingerprint": one.fingerprint.hex(),
                "time": one.time,
            }
            for one in members
        ]
        show.json_values(entries)
        return
    timed = any(one.time is not None for one in members)
    for one in members:
        time = f"{'' if one.time is None else _shown(one.time):20}  " if timed else ""
        show.result(f"{one.file_size:8}  {time}{one.name}")


def _shown(time: int) -> str:
    """A time in seconds since 1970 as text, in UTC."""
    return f"{datetime.fromtimestamp(time, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


@archive.command(
    epilog=examples(
        "invcomp archive add set.ivca portrait.ivc more/", "invcomp archive add all.ivca a.ivca"
    )
)
def add(
    path: Path_,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help=".ivc files, folders, other archives.")
    ],
    force: Force = False,
) -> None:
    """Add .ivc files to an archive, which is made if there is none.

    `invcomp compress IMAGE -o ARCHIVE` adds images.
    """
    from ..archive.writer import ArchiveWriter
    from ..errors import InvcompError

    if force and path.is_file():
        path.unlink()
    outcomes = show.Outcomes()
    with ArchiveWriter(path) as writer:
        before = len(writer)
        for source, name, read, time in _files_in(files, outcomes):
            try:
                writer.add(name, read(), time)
            except InvcompError as error:
                outcomes.failed(f"{source}: {error}")
            except OSError as error:
                outcomes.failed(f"{source}: cannot be read: {error.strerror}")
            if not writer.usable:
                break
        count = len(writer)
    show.result(f"{path}: {count - before} added, {count} in all, {path.stat().st_size} bytes")
    outcomes.finish()


def _files_in(
    paths: list[Path], outcomes: show.Outcomes
) -> Sequence[tuple[str, str, Callable[[], bytes], int | None]]:
    """What is given: how messages call it, its name, how its bytes are read, its original's time.

    The time of an .ivc file is not that of its original.
    """
    from ..errors import InvcompError

    found: list[tuple[str, str, Callable[[], bytes], int | None]] = []
    for source, relative in sources_below(paths, {FILE, ARCHIVE}, outcomes):
        if not is_archive(source):
            name = relative.as_posix().removesuffix(FILE)
            found.append((str(source), name, source.read_bytes, None))
            continue
        try:
            other = open_archive(source)
        except InvcompError as error:
            outcomes.failed(str(error))
            continue
        found += [
            (f"{source}/{one.name}", one.name, partial(other.file, one.name), one.time)
            for one in other.members
        ]
    return found


@archive.command(epilog=examples("invcomp archive verify set.ivca --json"))
def verify(path: Path_, as_json: Json = False) -> None:
    """Read all of an archive and name what is damaged."""
    opened = open_archive(path)
    outcomes = show.Outcomes()
    faults = [*opened.verify()]
    for name, reason in faults:
        outcomes.failed(f"{path}/{name}: {reason}" if name else f"{path}: {reason}")
    if as_json:
        listed = [fault._asdict() for fault in faults]
        entry = {"archive": str(path), "members": len(opened), "faults": listed}
        show.json_values(entry)
    elif not faults:
        show.result(f"{path}: {len(opened)} members, no damage")
    outcomes.finish()


def describe_archive(path: Path) -> dict[str, Any]:
    """What `info` tells of an archive, as JSON values.

    Raises:
        BitstreamError: it is none, cannot be read, or is to be refused.
    """
    opened = open_archive(path)
    payloads = sum(member.length for member in opened.members)
    bundles = Counter(member.fingerprint.hex() for member in opened.members)
    times = [member.time for member in opened.members if member.time is not None]
    return {
        "file": str(path),
        "bytes": opened.file_size,
        "members": len(opened),
        "members_bytes": payloads,
        "directory_bytes": opened.file_size - payloads,
        "bytes_as_files": sum(member.file_size for member in opened.members),
        "bundles": dict(bundles),
        "times": {"members": len(times), "first": min(times), "last": max(times)}
        if times
        else None,
        "digest": opened.digest.hex() if opened.digest else None,
        "cut": opened.cut,
        "damage": list(opened.damage),
    }


def rows_of(entry: dict[str, Any]) -> list[tuple[str, str]]:
    """The rows of the table that `info` prints of an archive."""
    bundles = (f"{name}: {count}" for name, count in entry["bundles"].items())
    return [
        ("members", str(entry["members"])),
        ("bytes", f"{entry['bytes']} ({entry['directory_bytes']} header, directory and names)"),
        ("as single files", f"{entry['bytes_as_files']} bytes, without their names"),
        ("bundles", ", ".join(bundles)),
        *(
            ("times", f"of {at['members']}: {_shown(at['first'])} to {_shown(at['last'])}")
            for at in [entry["times"]]
            if at
        ),
        ("digest", entry["digest"] or "none: unfinished"),
        *(("cut short", f"{n} members or more have no end") for n in [entry["cut"]] if n),
        *(("damage", line) for line in entry["damage"]),
    ]


def member_jobs(
    path: Path,
    output: str | None,
    several: bool,
    only: list[str],
    force: bool,
    outcomes: show.Outcomes,
) -> list[tuple[Job, Callable[[], bytes]]]:
    """What of an archive can be decoded, and how it is read.

    Args:
        path: of the archive.
        output: a folder, or a file for a single member; None: a folder beside the archive.
        several: whether there are other inputs, so that each archive gets a folder of its own.
        only: names, or patterns of names; none: all.
        force: whether existing output may be replaced.
        outcomes: records what is damaged, missing or in the way.
    """
    from ..errors import InvcompError

    try:
        opened = open_archive(path)
    except InvcompError as error:
        outcomes.failed(str(error))
        return []
    for line in opened.damage:
        outcomes.failed(f"{path}: {line}")
    if opened.cut:
        outcomes.failed(f"{path}: cut short: {opened.cut} images or more are missing")
    names = chosen(opened, only, path, outcomes)
    folder = path.with_suffix("") if output is None else Path(output)
    if several and output is not None:
        folder /= path.stem
    single = len(names) == 1 and only and not several and names_file(output)
    jobs = list[tuple[Job, Callable[[], bytes]]]()
    for name in names:
        target = folder if single else folder / f"{name}.png"
        if reason := obstacle(target, force):
            outcomes.failed(f"{path}/{name}: {reason}")
        else:
            job = Job(path / name, target, opened.time(name))
            jobs.append((job, partial(opened.file, name)))
    return jobs


def chosen(opened: Archive, only: list[str], path: Path, outcomes: show.Outcomes) -> list[str]:
    """The names that are asked for, in the order of the archive."""
    if not only:
        return [*opened]
    wanted = set[str]()
    for given in only:
        found = {given} if given in opened else {one for one in opened if fnmatchcase(one, given)}
        if not found:
            outcomes.failed(f"{path}: there is no member {given}")
        wanted |= found
    return [name for name in opened if name in wanted]


def names_file(output: str | None) -> bool:
    """Whether an output means an image file, by its suffix."""
    return output is not None and bool(Path(output).suffix) and not Path(output).is_dir()
