"""Writing an archive: whatever stops it, what was added stays readable, and it goes on."""

import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from invcomp.archive.reader import Archive
from invcomp.archive.writer import ArchiveWriter
from invcomp.bitstream.ivca import header
from invcomp.errors import BitstreamError, OutputError

from .sets import file_of, mixed, packed, unfinished, write


def test_a_finished_archive_is_packed(tmp_path: Path) -> None:
    files = mixed(300)
    path = write(tmp_path / "new" / "set.ivca", files)
    assert path.read_bytes() == packed(files)
    assert os.listdir(path.parent) == ["set.ivca"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_appending_gives_what_writing_at_once_gives(tmp_path: Path) -> None:
    files = mixed(20)
    path = write(tmp_path / "set.ivca", dict([*files.items()][:9]))
    link = tmp_path / "link.ivca"
    link.symlink_to(path)
    write(link, dict([*files.items()][9:]))
    assert link.is_symlink()
    assert path.read_bytes() == packed(files)


def test_times_stay_when_it_goes_on_and_is_packed(tmp_path: Path) -> None:
    path, files = tmp_path / "set.ivca", mixed(20)
    times = {name: 1_700_000_000 + 9 * at for at, name in enumerate(files) if at != 4}
    write(path, dict([*files.items()][:9]), times)
    with ArchiveWriter(path) as writer:
        for name in [*files][9:]:
            writer.add(name, files[name], times.get(name))
        with Archive(path) as archive:
            assert {name: archive.time(name) for name in archive if archive.time(name)} == times
        for time in (-1, 253_402_300_800, 1 << 80):
            with pytest.raises(OutputError, match="a time is between the years 1970 and 9999"):
                writer.add("more", file_of(1), time)
    assert path.read_bytes() == packed(files, times)
    with Archive(path) as archive:
        assert archive.time(-1) == archive.time([*files][-1]) == times[[*files][-1]]
        assert archive.time(4) is None


def test_it_is_readable_after_each_member(tmp_path: Path) -> None:
    path, files = tmp_path / "set.ivca", mixed(8)
    with ArchiveWriter(path) as writer:
        assert [*Archive(path)] == []
        for number, (name, file) in enumerate(files.items(), 1):
            writer.add(name, file)
            with Archive(path) as archive:
                assert [*archive] == [*files][:number]
                assert archive.file(name) == file
                assert (archive.damage, archive.cut) == ((), 0)
        assert path.read_bytes() == unfinished(files)


def test_what_cannot_be_added_changes_nothing(tmp_path: Path) -> None:
    path, one = tmp_path / "set.ivca", file_of(1)
    with ArchiveWriter(path) as writer:
        writer.add("a", one)
        for name, file, error in (
            ("a", file_of(2), OutputError),
            ("../a", one, OutputError),
            ("b", b"no file", BitstreamError),
            ("b", one[:-1], BitstreamError),
        ):
            with pytest.raises(error):
                writer.add(name, file)
        assert "a" in writer
        assert len(writer) == 1
    assert path.read_bytes() == packed({"a": one})


def test_others_do_not_write_at_the_same_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    path = tmp_path / "set.ivca"
    with ArchiveWriter(path) as writer:
        writer.add("a", file_of(1))
        with pytest.raises(OutputError, match="another process"):
            ArchiveWriter(path)
        writer.add("b", file_of(2))
    assert [*Archive(path)] == ["a", "b"]


@pytest.mark.parametrize("content", [b"precious", bytes(50), b"PK\3\4"])
def test_other_files_are_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "set.ivca"
    path.write_bytes(content)
    with pytest.raises(BitstreamError, match="not an"):
        ArchiveWriter(path)
    assert path.read_bytes() == content
    with pytest.raises(OutputError, match="cannot be written"):
        ArchiveWriter(path / "below.ivca")
    with pytest.raises(OutputError, match="cannot be written"):
        ArchiveWriter(tmp_path)


# Stopped ------------------------------------------------------------------------------------------


def test_stopped_at_any_of_fifty_points_it_goes_on(tmp_path: Path) -> None:
    """As after SIGKILL, or where the power failed and left zeros or parts of a member."""
    source, files = random.Random(3), mixed(20)
    data = unfinished(files)
    path = tmp_path / "set.ivca"
    for number in range(50):
        size = source.randrange(len(data)) if number > 9 else number
        tail = bytes(source.randrange(300)) if number % 3 == 2 else b""
        path.write_bytes(data[:size] + tail if size >= len(header()) else data[:size])
        with ArchiveWriter(path) as writer:
            done = len(writer)
            assert [*files][:done] == [*Archive(path)]
            assert done >= len([*Archive(path)])
            for name, file in files.items():
                if name not in writer:
                    writer.add(name, file)
        assert path.read_bytes() == packed(files), (number, size, len(tail))


def test_a_stopped_download_of_a_finished_archive_is_completed(tmp_path: Path) -> None:
    path, files = tmp_path / "set.ivca", mixed(20)
    data = packed(files)
    for size in (9, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with Archive(path) as archive:
            before = [*archive]
        with ArchiveWriter(path) as writer:
            assert writer.names == {*before}
            for name, file in files.items():
                if name not in writer:
                    writer.add(name, file)
        assert path.read_bytes() == data


def test_a_damaged_archive_is_not_made_worse(tmp_path: Path) -> None:
    path, files = tmp_path / "set.ivca", mixed(20)
    data = bytearray(packed(files))
    data[40] ^= 1
    path.write_bytes(data)
    with pytest.raises(BitstreamError, match="damaged, so nothing is added"):
        ArchiveWriter(path)
    data[40] ^= 1
    data[-5] ^= 1  # the last member: packing would spoil the digest
    path.write_bytes(data)
    with (
        pytest.raises(BitstreamError, match="checksum"),
        ArchiveWriter(path) as writer,
    ):
        writer.add("more", file_of(1))
    assert path.read_bytes()[: len(data)] == data
    assert [*Archive(path)] == [*files, "more"]


def test_an_error_leaves_it_unpacked(tmp_path: Path) -> None:
    path, files = tmp_path / "set.ivca", mixed(5)

    def interrupted() -> None:
        with ArchiveWriter(path) as writer:
            for name, file in files.items():
                writer.add(name, file)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == unfinished(files)


FULL = """
import resource, sys
from invcomp.archive.writer import ArchiveWriter
from invcomp.errors import OutputError
from tests.archive.sets import file_of
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
writer = ArchiveWriter(sys.argv[1])
try:
    for number in range(int(sys.argv[3])):
        writer.add(f"{number:05}", file_of(number))
except OutputError as error:
    print(number, error)
    try:
        writer.add("more", file_of(1))
    except OutputError as error:
        print(error)
try:
    writer.close()
except OutputError as error:
    print(error)
"""


def full(path: Path, limit: int, count: int) -> list[str]:
    """The errors of writing members in a process that may write so many bytes to a file."""
    command = [sys.executable, "-c", FULL, str(path), str(limit), str(count)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    return done.stdout.splitlines()


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit of file sizes")
def test_a_full_disk_of_64_kilobytes(tmp_path: Path) -> None:
    path = tmp_path / "set.ivca"
    first, second = full(path, 65536, 2000)
    done = int(first.split()[0])
    assert done > 400
    assert "cannot be written: File too large" in first
    assert "nothing can be added" in second
    files = {f"{number:05}": file_of(number) for number in range(2000)}
    with Archive(path) as archive:
        assert [*archive] == [*files][:done]
        assert [*archive.verify()] == []
    with ArchiveWriter(path) as writer:
        for name in [*files][len(writer) :]:
            writer.add(name, files[name])
    assert path.read_bytes() == packed(files)


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit of file sizes")
def test_no_space_to_pack(tmp_path: Path) -> None:
    """The old archive is larger than what may be written now."""
    path, files = tmp_path / "set.ivca", mixed(60)
    path.write_bytes(unfinished(files))
    (line,) = full(path, 1000, 0)
    assert "all members are kept, but not packed" in line
    assert path.read_bytes() == unfinished(files)
    assert os.listdir(tmp_path) == ["set.ivca"]
