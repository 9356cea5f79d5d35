"""Where files are kept; they are written whole or not at all."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from invcomp.errors import OutputError
from invcomp.files import atomic_write, cache_directory, check_room
from invcomp.generators.weights import save_generator
from invcomp.training.checkpoint import save_checkpoint

from .tiny import tiny_bundle


def test_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"all")
        assert not path.exists()
    assert path.read_bytes() == b"all"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("reason", [KeyboardInterrupt, ValueError, OSError])
def test_nothing_stays_of_what_was_broken_off(tmp_path: Path, reason: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    expected = OutputError if reason is OSError else reason

    def break_off() -> None:
        with atomic_write(path, force=True) as temporary:
            temporary.write_bytes(b"half")
            raise reason

    with pytest.raises(expected):
        break_off()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_existing_file_is_kept_without_force(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="already exists"), atomic_write(path):
        pass
    assert path.read_bytes() == b"old"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(OutputError, match="cannot be written"),
        atomic_write(tmp_path / "file" / "below"),
    ):
        pass


def test_links_that_lead_nowhere_are_kept(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="already exists"), atomic_write(link):
        pass
    assert link.is_symlink()


@pytest.mark.parametrize("letters", [1, 200, 255])
def test_names_as_long_as_they_may_be(tmp_path: Path, letters: int) -> None:
    path = tmp_path / ("x" * letters)
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"all")
    assert path.read_bytes() == b"all"
    with (
        pytest.raises(OutputError, match="File name too long"),
        atomic_write(tmp_path / ("x" * 256)),
    ):
        raise AssertionError("it begins")


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Files cannot become larger, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_errors_of_a_full_disk(tmp_path: Path) -> None:
    """That of safetensors is no OSError."""
    writers = {
        "bundle": lambda path: tiny_bundle().save(path),
        "generator": lambda path: save_generator(tiny_bundle().generator, path),
        "checkpoint": lambda path: save_checkpoint(path, {"x": torch.zeros(9999)}, {}),
        "room": lambda path: check_room(path, 9999),
    }
    for name, write in writers.items():
        with full_disk(4096), pytest.raises(OutputError) as raised:
            write(tmp_path / name)
        assert str(raised.value) == f"{tmp_path / name}: cannot be written: File too large"
    assert [path.name for path in tmp_path.iterdir()] == ["room"]  # the folder
    check_room(tmp_path / "room", 9999)
    assert not any((tmp_path / "room").iterdir())


def test_cache_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path / "cache"))
    assert cache_directory() == tmp_path / "cache"
    monkeypatch.delenv("INVCOMP_CACHE")
    assert "invcomp" in cache_directory().parts
