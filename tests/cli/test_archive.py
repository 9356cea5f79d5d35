"""Archives on the command line: a folder in, a folder out, and what stops a run costs nothing."""

import io
import json
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from PIL import Image

from invcomp.archive.reader import Archive
from invcomp.cli import encoding
from invcomp.cli.jobs import Job, path_or_url
from invcomp.cli.outputs import Files, Members, Uploaded
from invcomp.cli.show import Meter, Outcomes
from invcomp.preprocessing.alignment import Frame
from invcomp.preprocessing.colour import WHITE

from ..archive.sets import conventional, file_of, mixed, packed, unfinished
from .conftest import FAST, Invcomp, finish, standard_input, start


@pytest.fixture
def folder(tmp_path: Path, images: list[Path]) -> Path:
    """A folder with one image, a folder with two, and what is no image."""
    place = tmp_path / "in"
    (place / "holiday" / "day 1").mkdir(parents=True)
    shutil.copy(images[0], place)
    shutil.copy(images[1], place / "holiday")
    shutil.copy(images[2], place / "holiday" / "day 1" / "c.d.webp")
    (place / "notes.txt").write_text("no image")
    (place / ".hidden.png").write_text("no image")
    return place


NAMES = ["a", "holiday/b", "holiday/day 1/c.d"]


def test_a_folder_becomes_an_archive_and_a_folder_again(
    compress: Invcomp, invcomp: Invcomp, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "set.ivca"
    outcome = compress(folder, "-o", path)
    assert outcome.code == 0, outcome.err
    assert [*Archive(path)] == NAMES
    assert f"{path}: 3 images, {path.stat().st_size} bytes" in outcome.out
    assert "3 images" in outcome.out
    assert compress(folder / "a.png", "-o", tmp_path / "a.ivc").code == 0
    assert Archive(path).file("a") == (tmp_path / "a.ivc").read_bytes()

    outcome = invcomp("decompress", path)
    assert outcome.code == 0, outcome.err
    out = tmp_path / "new" / "set"
    found = sorted(str(file.relative_to(out)) for file in out.rglob("*.png"))
    assert found == ["a.png", "holiday/b.png", "holiday/day 1/c.d.png"]
    with Image.open(out / "holiday" / "b.png") as image:
        assert image.size == (90, 90)
    assert invcomp("decompress", tmp_path / "a.ivc").code == 0
    with Image.open(out / "a.png") as one, Image.open(tmp_path / "a.png") as other:
        assert np.abs(np.int16(one) - np.int16(other)).max() <= 1
    again = invcomp("decompress", path)
    assert again.code == 1
    assert len(again.errors) == 3
    assert "--force" in again.err


def test_only_some(compress: Invcomp, invcomp: Invcomp, folder: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "set.ivca", tmp_path / "out"
    assert compress(folder, "-o", path).code == 0
    assert invcomp("decompress", path, "-o", out, "--only", "holiday/*", "--size", "32").code == 0
    assert sorted(file.name for file in out.rglob("*.png")) == ["b.png", "c.d.png"]
    one = tmp_path / "one.jpg"
    assert invcomp("decompress", path, "-o", one, "--only", "a").code == 0
    assert Image.open(one).size == (64, 64)
    outcome = invcomp("decompress", path, "-o", tmp_path / "o2", "--only", "a", "--only", "no")
    assert outcome.code == 1
    assert outcome.errors == [f"error: {path}: there is no member no"]
    assert [file.name for file in (tmp_path / "o2").iterdir()] == ["a.png"]


def test_only_chooses_from_archives(invcomp: Invcomp, ivc: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.ivc").write_bytes(ivc)
    outcome = invcomp("decompress", tmp_path / "x.ivc", "--only", "x")
    assert outcome.code == 1
    assert "none is given" in outcome.errors[0]
    assert not (tmp_path / "x.png").exists()


def test_a_proxy_that_is_not_there(invcomp: Invcomp, tmp_path: Path, ivc: bytes) -> None:
    (tmp_path / "set.ivca").write_bytes(packed({"x": ivc}))
    outcome = invcomp("decompress", tmp_path / "set.ivca", "--proxy")
    assert outcome.code == 1  # the tiny model has none
    (line,) = outcome.errors
    assert "set.ivca/x: a proxy of the bundle" in line


def test_numbered_faces_are_members(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "set.ivca"
    for number in (1, 2):
        with Members(path, force=False) as written:
            job, *_ = written.plan([folder], {".png"}, True, Outcomes())
            job = replace(job, target=job.target.with_stem(f"{job.target.stem}-{number}"))
            assert written.obstacle(job.target) is None
            assert not written.has(job.target)
            written.keep(job, file_of(number))
            assert written.has(job.target)
    assert [*Archive(path)] == ["a-1", "a-2"]


def test_numbered_faces_go_on_where_they_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = (1, Frame(4, 4, 8))
    monkeypatch.setattr(encoding, "_faces_of", lambda job, matte: iter([face, (2, face[1])]))
    (tmp_path / "p-1.ivc").write_bytes(file_of(1))
    written, outcomes = Files(str(tmp_path), force=False), Outcomes()
    Image.new("RGB", (64, 64)).save(tmp_path / "p.png")
    jobs = written.plan([tmp_path], {".png"}, True, outcomes)
    handling = encoding.Handling(all_faces=True)
    parts = encoding.parts_of(jobs, handling, WHITE, written, outcomes, Meter())
    assert [part.job.target.name for part in parts] == ["p-2.ivc"]
    assert not outcomes.failures


def test_several_archives_and_files(invcomp: Invcomp, ivc: bytes, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.ivca").write_bytes(packed({"x": ivc, "other": conventional()}))
    (tmp_path / "x.ivc").write_bytes(ivc)
    outcome = invcomp("decompress", tmp_path, "-o", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png")}
    assert found == {"x.png", "one/x.png", "one/other.png", "two/x.png", "two/other.png"}


def written(path: Path) -> tuple[int, int]:
    """What changes if a file is written again; reading it changes other times."""
    return path.stat().st_ino, path.stat().st_mtime_ns


def test_it_goes_on_where_it_stopped(compress: Invcomp, folder: Path, tmp_path: Path) -> None:
    path, whole = tmp_path / "set.ivca", tmp_path / "whole.ivca"
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:2000])
    outcome = compress(folder, "-o", whole)
    assert outcome.code == 1
    (line,) = outcome.errors
    assert "cut.png" in line
    listed = (tmp_path / "whole.ivca.failed.tsv").read_text().splitlines()
    assert [one.split("\t")[0] for one in listed] == ["input", str(folder / "cut.png")]
    files = dict(zip(NAMES, map(Archive(whole).file, NAMES), strict=True))
    path.write_bytes(unfinished(files)[:-1])  # killed while it wrote the last
    outcome = compress(folder, "-o", path)
    assert [line.split(" -> ")[0] for line in outcome.out.splitlines() if " -> " in line] == [
        str(folder / "holiday" / "day 1" / "c.d.webp")
    ]
    assert f"{path}: 2 of 4 images are in it already" in outcome.err
    assert path.read_bytes() == whole.read_bytes()
    (folder / "cut.png").unlink()
    before = written(path)
    assert (tmp_path / "set.ivca.failed.tsv").exists()
    outcome = compress(folder, "-o", path)
    assert outcome.code == 0
    assert not (tmp_path / "set.ivca.failed.tsv").exists()
    assert "search" not in outcome.err
    assert written(path) == before
    assert compress(folder / "a.png", "-o", path, "--force").code == 0
    assert [*Archive(path)] == ["a"]


def test_output_that_is_not_ours(compress: Invcomp, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "set.ivca"
    path.write_bytes(b"precious")
    outcome = compress(folder, "-o", path)
    assert outcome.code == 1
    (line,) = outcome.errors
    assert "not an .ivca archive: use --force" in line
    assert path.read_bytes() == b"precious"
    outcome = compress(folder, "-o", tmp_path / "new.ivca", "--model", "no-such-model")
    assert outcome.code == 1
    assert not (tmp_path / "new.ivca").exists()
    outcome = compress(folder, "-o", path, "--force", "--model", "no-such-model")
    assert outcome.code == 1
    assert path.read_bytes() == b"precious"


def test_from_and_to_urls(compress: Invcomp, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("upath", reason="needs universal-pathlib: pip install 'invcomp[remote]'")
    path, url = tmp_path / "set.ivca", f"file://{tmp_path}/set.ivca"
    source = f"file://{folder}"
    outcome = compress(f"{source}/holiday", "-o", url)
    assert outcome.code == 0, outcome.err
    assert f"{source}/holiday/b.jpg -> {url}/b.ivc" in outcome.out
    assert [*Archive(path)] == ["b", "day 1/c.d"]
    outcome = compress(f"{source}/a.png", "-o", url)  # what is there stays
    assert [*Archive(path)] == ["b", "day 1/c.d", "a"]
    assert Archive(path).digest

    again = compress(f"{source}/a.png", "-o", url)
    assert f"{url}: 1 of 1 images are in it already" in again.err
    (tmp_path / "set.ivca").write_bytes(b"precious")
    assert "use --force to replace it" in compress(source, "-o", url).errors[0]
    assert path.read_bytes() == b"precious"
    assert compress(f"{source}/a.png", "-o", url, "--force").code == 0
    assert [*Archive(path)] == ["a"]


def test_an_archive_at_a_url_that_others_change(
    compress: Invcomp, folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("upath", reason="needs universal-pathlib: pip install 'invcomp[remote]'")
    path, url = tmp_path / "set.ivca", f"file://{tmp_path}/set.ivca"
    outgoing = tiny_model.parents[1] / "outgoing"
    assert compress(folder / "a.png", "-o", url).code == 0
    assert not [*outgoing.iterdir()]  # nothing stays here, nor after an error
    assert compress(folder / "holiday", "-o", url, "--starts", "99").code == 1
    assert not [*outgoing.iterdir()]
    before = path.read_bytes()
    assert compress(tmp_path / "missing.png", "-o", url, "--force").code == 1
    assert path.read_bytes() == before

    def begun() -> Uploaded:
        """A run that is killed after one image."""
        written = Uploaded(url, force=False)
        written.plan([folder / "holiday"], {".jpg"}, False, Outcomes())
        written.keep(Job(folder / "holiday" / "b.jpg", path_or_url(url) / "b.ivc"), file_of(1))
        return written

    killed = begun()
    killed.__exit__(KeyboardInterrupt)
    assert compress(folder / "a.png", "-o", url).code == 0  # uploads what was left
    assert [*Archive(path)] == ["a", "b"]
    path.write_bytes(before)
    begun().__exit__(KeyboardInterrupt)
    path.write_bytes(packed({"c": file_of(2)}))
    outcome = compress(folder / "a.png", "-o", url)
    assert outcome.code == 1
    assert f"{url} has changed since" in outcome.errors[0]
    assert [*Archive(path)] == ["c"]
    assert compress(folder / "a.png", "-o", url, "--force").code == 0
    assert [*Archive(path)] == ["a"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("file:///no/such/a.png", "-o", "{}/x.ivca"), "file:///no/such/a.png: no such file"),
        (("nowhere://b/a.png", "-o", "{}/x.ivca"), "nowhere"),
        (("file://{}/in/a.png",), "only an archive (.ivca) can be written to a URL"),
        (("{}/in/a.png", "-o", "file://{}/x.ivc"), "only an archive (.ivca) can be written"),
        (("{}/in/a.png", "-o", "file://{}/in/a.png/x.ivca"), "the archive is in"),
    ],
)
def test_urls_that_cannot_be(
    compress: Invcomp, folder: Path, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    pytest.importorskip("upath", reason="needs universal-pathlib: pip install 'invcomp[remote]'")
    outcome = compress(*(argument.format(tmp_path) for argument in arguments))
    assert outcome.code == 1
    (line,) = outcome.errors
    assert says in line
    assert "Traceback" not in outcome.err
    if says == "the archive is in":
        kept = Path(line.split(says)[1].strip())
        assert [*Archive(kept)] == ["a"]


def test_standard_input_has_the_name_that_it_gets(
    compress: Invcomp, images: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "set.ivca"
    given = ("-", "-o", path, "--name")
    for name in ("day 1/J. R.", "b"):
        with standard_input(images[0]):
            outcome = compress(*given, name)
        assert outcome.code == 0, outcome.err
    assert [*Archive(path)] == ["day 1/J. R.", "b"]
    assert compress(images[0], "-o", tmp_path / "a.ivc").code == 0
    assert Archive(path).file("b") == (tmp_path / "a.ivc").read_bytes()
    with standard_input(images[1]):  # another image would be lost without a word
        outcome = compress(*given, "b")
    assert outcome.code == 1
    assert outcome.errors == ["error: /dev/stdin: there is such a member already"]
    assert len(Archive(path)) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-", "-o", "{}/set.ivca"), "standard input has no name in an archive: compress takes"),
        (("-", "-o", "{}/set.ivca", "--name", "../a"), "no member can have this name"),
        (("-", "-o", "{}/set.ivca", "--name", "/a"), "no member can have this name"),
        (("{}/in", "-o", "{}/set.ivca", "--name", "a"), "no - is among the images"),
        (("{}/in", "-o", "{}/out", "--name", "a"), "options of archives"),
        (("{}/in", "-o", "{}/out", "--times"), "options of archives"),
    ],
)
def test_names_and_times_that_cannot_be(
    compress: Invcomp, folder: Path, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    outcome = compress(*(argument.format(tmp_path) for argument in arguments))
    assert outcome.code == 1
    (line,) = outcome.errors
    assert says in line
    assert not (tmp_path / "set.ivca").exists()
    assert not (tmp_path / "out").exists()


def dated(folder: Path, seconds: dict[str, int]) -> None:
    """Sets the times of files, to the last nanosecond of a second."""
    for name, time_ in seconds.items():
        os.utime(folder / name, ns=(0, time_ * 10**9 + 999_999_999))
        if (folder / name).stat().st_mtime_ns // 10**9 != time_:
            pytest.skip(f"this file system cannot hold a time of {time_} s")


def test_times_of_the_originals(
    compress: Invcomp, invcomp: Invcomp, folder: Path, tmp_path: Path
) -> None:
    plain, timed, out = tmp_path / "plain.ivca", tmp_path / "timed.ivca", tmp_path / "out"
    times = dict(zip(NAMES, (0, 1_700_000_000, 1_500_000_000), strict=True))
    files = ("a.png", "holiday/b.jpg", "holiday/day 1/c.d.webp")
    shutil.copy(folder / "a.png", folder / "old.png")
    dated(folder, dict(zip((*files, "old.png"), (*times.values(), -5), strict=True)))
    assert compress(folder, "-o", plain).code == 0
    assert {member.time for member in Archive(plain).members} == {None}
    assert compress(folder / "a.png", "-o", timed, "--times").code == 0
    outcome = compress(folder, "-o", timed, "--times")  # goes on
    assert outcome.code == 0, outcome.err
    assert f"{folder / 'old.png'}: it has no time between 1970 and 9999" in outcome.err
    archive = Archive(timed)
    assert {name: archive.time(name) for name in archive} == {**times, "old": None}
    assert 0 < timed.stat().st_size - plain.stat().st_size < 32

    listed = json.loads(invcomp("archive", "list", timed, "--json").out)
    assert [one["time"] for one in listed] == [archive.time(name) for name in archive]
    lines = invcomp("archive", "list", timed).out.splitlines()
    shown = {line.split()[-1]: line.split()[1:-1] for line in lines}
    assert shown["a"] == ["1970-01-01T00:00:00Z"]
    assert shown["old"] == []
    (entry,) = json.loads(invcomp("info", timed, "--json").out)
    assert entry["times"] == {"members": 3, "first": 0, "last": 1_700_000_000}
    (entry,) = json.loads(invcomp("info", plain, "--json").out)
    assert entry["times"] is None
    assert "1970-01-01T00:00:00Z to 2023-11-14T22:13:20Z" in invcomp("info", timed).out

    (tmp_path / "x.ivc").write_bytes(file_of(1))
    both = tmp_path / "both.ivca"
    assert invcomp("archive", "add", both, timed, tmp_path / "x.ivc").code == 0
    found = {member.name: member.time for member in Archive(both).members}
    assert found == {**times, "old": None, "x": None}
    assert invcomp("decompress", timed, "-o", out).code == 0
    for name, time_ in times.items():
        assert (out / f"{name}.png").stat().st_mtime == time_
    assert (out / "old.png").stat().st_mtime > 1_700_000_000


def test_processes_killed_together(
    compress: Invcomp, folder: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    """Ctrl-C leaves a readable archive and no process, and the same command goes on."""
    for number in range(9):
        shutil.copy(folder / "a.png", folder / f"n{number:02}.png")
    path, model = tmp_path / "set.ivca", tiny_cache / "models" / "tiny.ivm"
    arguments = ("compress", folder, "-o", path, "--model", model, *FAST)
    process = start(*arguments, "--workers", "2", cache=tiny_cache)
    while process.poll() is None and (not path.exists() or path.stat().st_size < 250):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    outcome = finish(process)
    assert outcome.code == 130
    assert outcome.errors == ["error: interrupted"]
    done = [*Archive(path)]
    assert 0 < len(done) < 12
    outcome = compress(folder, "-o", path)
    assert outcome.code == 0, outcome.err
    assert f"{len(done)} of 12 images are in it already" in outcome.err
    assert outcome.out.count(" -> ") == 12 - len(done)


def test_a_cluster_agrees_with_a_local_run(
    compress: Invcomp, images: list[Path], tiny_cache: Path, tiny_model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'invcomp[ray]'")
    archives = [tmp_path / "here.ivca", tmp_path / "there.ivca"]
    folder = images[0].parent
    assert compress(folder, "-o", archives[0]).code == 0
    command = ("compress", folder, "-o", archives[1], "--model", tiny_model, *FAST)
    outcome = finish(start(*command, "--cluster", "local", "--workers", "2", cache=tiny_cache))
    assert outcome.code == 0, outcome.err
    assert "Traceback" not in outcome.err
    here, there = map(Archive, archives)
    assert [*here] == [*there]
    sizes = [fmean(len(archive.file(name)) for name in archive) for archive in (here, there)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.01)


def test_two_images_of_one_name(compress: Invcomp, folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "a.png", folder / "a.bmp.png")
    shutil.copy(folder / "a.png", folder / "a.webp")
    for _ in range(2):
        outcome = compress(folder, "-o", tmp_path / "set.ivca")
        assert outcome.code == 1
        (line,) = outcome.errors
        assert f"a.webp: its name in the archive is already used for {folder / 'a.png'}" in line
    assert [*Archive(tmp_path / "set.ivca")] == ["a.bmp", *NAMES]


def test_names_that_no_archive_may_have(compress: Invcomp, folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "a.png", folder / "nul.png")
    outcome = compress(folder, "-o", tmp_path / "set.ivca")
    assert outcome.code == 1
    (line,) = outcome.errors
    assert "nul.png: it cannot have the name 'nul'" in line
    assert [*Archive(tmp_path / "set.ivca")] == NAMES


def test_killed_in_the_middle(
    compress: Invcomp, folder: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    for number in range(12):
        shutil.copy(folder / "a.png", folder / f"n{number:02}.png")
    path = tmp_path / "set.ivca"
    model = tiny_cache / "models" / "tiny.ivm"
    arguments = ("compress", folder, "-o", path, "--model", model, *FAST)
    process = start(*arguments, cache=tiny_cache)
    while process.poll() is None and (not path.exists() or path.stat().st_size < 250):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert finish(process).code == -signal.SIGKILL
    done = [*Archive(path)]
    assert 0 < len(done) < 15
    assert [*Archive(path).verify()] in ([], [(None, "cut short: 1 members or more have no end")])
    outcome = compress(folder, "-o", path)
    assert outcome.code == 0, outcome.err
    assert f"{len(done)} of 15 images are in it already" in outcome.err
    assert outcome.out.count(" -> ") == 15 - len(done)
    assert len(Archive(path)) == 15
    assert Archive(path).digest
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in", "set.ivca"]


def test_a_full_disk_ends_the_run(folder: Path, tiny_cache: Path, tmp_path: Path) -> None:
    path, model = tmp_path / "set.ivca", tiny_cache / "models" / "tiny.ivm"
    arguments = ("compress", folder, "-o", path, "--model", model, *FAST)
    outcome = finish(start(*arguments, cache=tiny_cache, largest_file=160))
    assert outcome.code == 1
    (line,) = outcome.errors
    assert "set.ivca: cannot be written" in line
    assert "Traceback" not in outcome.err
    assert [*Archive(path)] == ["a"]


# archive list, add, verify; info ------------------------------------------------------------------


def test_list_and_info(invcomp: Invcomp, tmp_path: Path) -> None:
    path, files = tmp_path / "set.ivca", mixed(20)
    path.write_bytes(packed(files))
    lines = invcomp("archive", "list", path).out.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        [str(len(file)), name] for name, file in files.items()
    ]
    listed = json.loads(invcomp("archive", "list", path, "--json").out)
    tiny = b"tiny".hex()
    assert listed[1] == {"name": "old", "bytes": 41, "fingerprint": tiny, "time": None}
    (entry,) = json.loads(invcomp("info", path, "--json").out)
    assert entry["members"] == 23
    assert entry["bytes"] == entry["members_bytes"] + entry["directory_bytes"] == len(packed(files))
    assert entry["bytes_as_files"] == sum(map(len, files.values()))
    assert sum(entry["bundles"].values()) == 23
    assert entry["digest"] == packed(files)[13:29].hex()
    assert entry["digest"] in invcomp("info", path).out
    path.write_bytes(unfinished(files)[:-1])
    assert "unfinished" in invcomp("info", path).out


def test_adding_files_folders_and_archives(invcomp: Invcomp, tmp_path: Path) -> None:
    (tmp_path / "more" / "deep").mkdir(parents=True)
    (tmp_path / "more" / "deep" / "b.ivc").write_bytes(file_of(2))
    (tmp_path / "a.ivc").write_bytes(file_of(1))
    (tmp_path / "other.ivca").write_bytes(packed({"x/y": file_of(3), "z": file_of(4)}))
    (tmp_path / "bad.ivc").write_bytes(file_of(5)[:-1])
    path = tmp_path / "set.ivca"
    names = ("a.ivc", "more", "bad.ivc", "other.ivca", "gone.ivc")
    outcome = invcomp("archive", "add", path, *(tmp_path / name for name in names))
    assert outcome.code == 1
    assert len(outcome.errors) == 2
    assert "gone.ivc: no such file" in outcome.err
    assert "bad.ivc: altered" in outcome.err
    files = {"a": file_of(1), "deep/b": file_of(2), "x/y": file_of(3), "z": file_of(4)}
    assert path.read_bytes() == packed(files)
    outcome = invcomp("archive", "add", path, tmp_path / "a.ivc")
    assert outcome.code == 1
    assert "there is a member 'a' already" in outcome.err
    assert invcomp("archive", "add", path, tmp_path / "a.ivc", "--force").code == 0
    assert path.read_bytes() == packed({"a": file_of(1)})


def test_verify(invcomp: Invcomp, tmp_path: Path) -> None:
    path, files = tmp_path / "set.ivca", mixed(10)
    data = bytearray(packed(files))
    path.write_bytes(data)
    outcome = invcomp("archive", "verify", path)
    assert (outcome.code, outcome.out) == (0, f"{path}: 13 members, no damage\n")
    member = Archive(io.BytesIO(data)).members[7]
    data[member.offset + 3] ^= 4
    data[20] ^= 1
    path.write_bytes(data)
    outcome = invcomp("archive", "verify", path, "--json")
    assert outcome.code == 1
    entry = json.loads(outcome.out)
    assert [fault["name"] for fault in entry["faults"]] == [None, member.name]
    assert "flipped bit" in outcome.errors[0]
    assert f"{path}/{member.name}: altered" in outcome.errors[1]


@pytest.mark.parametrize("verb", [("archive", "list"), ("archive", "verify"), ("info",)])
def test_what_is_no_archive(invcomp: Invcomp, tmp_path: Path, verb: tuple[str, ...]) -> None:
    (tmp_path / "text.ivca").write_text("no archive")
    for name, says in (("text.ivca", "not an .ivca archive"), ("gone.ivca", "")):
        outcome = invcomp(*verb, tmp_path / name)
        assert outcome.code == 1
        (line,) = outcome.errors
        assert name in line
        assert says in line


def test_damaged_members_are_named_and_the_others_decoded(
    invcomp: Invcomp, ivc: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "set.ivca"
    data = bytearray(packed({"a": ivc, "b": ivc, "c": ivc}))
    data[-1] ^= 1
    path.write_bytes(data)
    outcome = invcomp("decompress", path)
    assert outcome.code == 1
    (line,) = outcome.errors
    assert f"{path}/c: altered" in line
    assert sorted(file.name for file in (tmp_path / "set").iterdir()) == ["a.png", "b.png"]
    path.write_bytes(data[:-3])
    outcome = invcomp("decompress", path, "--force")
    assert outcome.errors == [f"error: {path}: cut short: 1 images or more are missing"]


# archive thumbnails -------------------------------------------------------------------------------


def test_thumbnails(invcomp: Invcomp, ivc: bytes, tmp_path: Path) -> None:
    path, out = tmp_path / "set.ivca", tmp_path / "set-thumbnails"
    path.write_bytes(packed({"x": ivc, "day 1/photo": conventional(), "y": ivc}))
    outcome = invcomp("archive", "thumbnails", path, "--size", "12")
    assert outcome.code == 0, outcome.err
    with Image.open(out / "x.png") as image:
        assert max(image.size) == 12
    with Image.open(out / "day 1" / "photo.png") as image:
        assert image.size == (12, 8)
    outcome = invcomp("archive", "thumbnails", path, "--size", "12")
    assert outcome.code == 1
    assert len(outcome.errors) == 3
    sheet = tmp_path / "sheet.png"
    outcome = invcomp("archive", "thumbnails", path, "-o", sheet, "--size", "12")
    assert outcome.code == 0, outcome.err
    assert f"{sheet}: 3 images" in outcome.out
    with Image.open(sheet) as image:
        assert image.size == (32, 32)
    outcome = invcomp("archive", "thumbnails", path, "-o", sheet, "--size", "100000", "--force")
    assert outcome.code == 1
    assert "too many for one sheet" in outcome.err


def test_thumbnails_of_an_archive_with_a_damaged_member(
    invcomp: Invcomp, ivc: bytes, tmp_path: Path
) -> None:
    path, sheet = tmp_path / "set.ivca", tmp_path / "sheet.jpg"
    data = bytearray(packed({"x": ivc, "y": ivc}))
    data[-1] ^= 1
    path.write_bytes(data)
    outcome = invcomp("archive", "thumbnails", path, "-o", sheet, "--size", "8", "--only", "*")
    assert outcome.code == 1
    (line,) = outcome.errors
    assert f"{path}/y: altered" in line
    with Image.open(sheet) as image:
        assert image.size == (12, 12)


def test_thumbnails_by_a_proxy(invcomp: Invcomp, tmp_path: Path) -> None:
    """The weights of faces-1024 are not needed: its proxy ships whole."""
    golden = Path(__file__).resolve().parents[1] / "golden" / "faces-1024.ivc"
    path = tmp_path / "set.ivca"
    path.write_bytes(packed({"face": golden.read_bytes()}))
    outcome = invcomp("archive", "thumbnails", path, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    with Image.open(tmp_path / "set-thumbnails" / "face.png") as image:
        assert max(image.size) == 128
    assert not (tmp_path / "models").exists()
