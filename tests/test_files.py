"""Where files are kept; they are written whole or not at all."""

from pathlib import Path

import pytest

from invcomp.errors import OutputError
from invcomp.files import atomic_write, cache_directory


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


def test_cache_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INVCOMP_CACHE", str(tmp_path / "cache"))
    assert cache_directory() == tmp_path / "cache"
    monkeypatch.delenv("INVCOMP_CACHE")
    assert "invcomp" in cache_directory().parts
