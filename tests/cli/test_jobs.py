"""What is read and what is written for it, before any work begins."""

import os
from pathlib import Path

import pytest

from invcomp.cli.jobs import find_sources, obstacle, plan, target_of
from invcomp.cli.show import Outcomes


def made(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return paths


def test_a_folder_stands_for_its_images_in_order(tmp_path: Path) -> None:
    made(tmp_path, "b.png", "a.JPG", "old.ivc", "notes.txt", ".hidden.png", "deeper/c.png")
    found = find_sources([tmp_path], {".png", ".jpg"}, Outcomes())
    assert [path.name for path in found] == ["a.JPG", "b.png"]


def test_a_file_may_have_any_suffix_and_is_read_once(tmp_path: Path) -> None:
    (path,) = made(tmp_path, "image.dat")
    assert find_sources([path, tmp_path / "." / "image.dat"], {".png"}, Outcomes()) == [path]


def test_what_is_not_there_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path, "a.txt")
    outcomes = Outcomes()
    assert find_sources([tmp_path / "no.png", tmp_path], {".png"}, outcomes) == []
    assert outcomes.failures == 2
    assert "no.png: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "several", "expected"),
    [
        (None, False, "in/a.ivc"),
        ("x.ivc", False, "x.ivc"),
        ("out/", False, "out/a.ivc"),
        ("out", True, "out/a.ivc"),
    ],
)
def test_where_output_goes(output: str | None, several: bool, expected: str) -> None:
    assert target_of(Path("in/a.png"), output, several, ".ivc") == Path(expected)


def test_output_into_a_folder_that_is_there(tmp_path: Path) -> None:
    assert target_of(Path("a.png"), str(tmp_path), False, ".ivc") == tmp_path / "a.ivc"


def test_two_inputs_never_share_an_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = made(tmp_path, "a.jpg", "a.png", "b.png")
    outcomes = Outcomes()
    jobs = plan(sources, None, True, ".ivc", False, outcomes)
    assert [job.source.name for job in jobs] == ["a.jpg", "b.png"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {sources[1]}: ")
    assert str(sources[0]) in line


def test_no_input_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, other = made(tmp_path, "a.jpg", "b.jpg")
    outcomes = Outcomes()
    assert plan([photo], str(photo), False, ".ivc", True, outcomes) == []
    assert plan([other, photo], str(tmp_path), True, ".jpg", True, outcomes) == []
    assert outcomes.failures == 3
    assert "would overwrite itself" in capsys.readouterr().err


def test_existing_output_needs_force(tmp_path: Path) -> None:
    (path,) = made(tmp_path, "a.ivc")
    assert "--force" in (obstacle(path, force=False) or "")
    assert obstacle(path, force=True) is None
    assert obstacle(tmp_path, force=True) is not None
    assert obstacle(tmp_path / "new" / "folder" / "a.ivc", force=False) is None


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (path,) = made(tmp_path, "file")
    assert "is not a folder" in (obstacle(path / "a.ivc", force=False) or "")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write into any folder"
)
def test_no_permission_is_seen_beforehand(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "no permission" in (obstacle(tmp_path / "a.ivc", force=False) or "")
