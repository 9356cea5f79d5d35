"""The file of measurements: nothing is lost, nothing of another comparison is taken."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from invcomp.errors import OutputError
from invcomp.evaluation.results import NAME, Measured, MeasuredSet, Results

SETTINGS: dict[str, Any] = {"model": "tiny", "metrics": ("psnr",), "search": {"iterations": None}}
FILE = Measured("a.png", "01", "webp", 64, 10.0, 123, 0.5, {"psnr": 20.5})
SET = MeasuredSet("02", "webp", 64, 10.0, "lpips-alex", -0.01)


def test_what_was_added_is_there_again(tmp_path: Path) -> None:
    results = Results(tmp_path / "new", SETTINGS)
    assert results.file(FILE.key) is None
    results.add(FILE)
    results.add(SET)
    again = Results(tmp_path / "new", SETTINGS)
    assert list(again) == [FILE]
    assert again.file(FILE.key) == FILE
    assert again.set(SET.key) == SET


def test_each_addition_is_in_the_file_at_once(tmp_path: Path) -> None:
    results = Results(tmp_path, SETTINGS)
    for count in (1, 2, 3):
        results.add(replace(FILE, quality=float(count)))
        assert len((tmp_path / NAME).read_text().splitlines()) == 1 + count


@pytest.mark.parametrize("cut", [1, 20])
def test_a_last_line_that_was_not_finished_is_dropped(tmp_path: Path, cut: int) -> None:
    results = Results(tmp_path, SETTINGS)
    results.add(FILE)
    whole = (tmp_path / NAME).read_bytes()
    results.add(SET)
    (tmp_path / NAME).write_bytes((tmp_path / NAME).read_bytes()[:-cut])
    again = Results(tmp_path, SETTINGS)
    assert again.set(SET.key) is None
    assert (tmp_path / NAME).read_bytes() == whole
    again.add(SET)
    assert Results(tmp_path, SETTINGS).set(SET.key) == SET


def test_a_header_that_was_not_finished_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"format": "inv')
    Results(tmp_path, SETTINGS).add(FILE)
    assert list(Results(tmp_path, SETTINGS)) == [FILE]


def test_the_last_of_two_measurements_counts(tmp_path: Path) -> None:
    results = Results(tmp_path, SETTINGS)
    results.add(FILE)
    results.add(replace(FILE, bytes=99))
    assert [file.bytes for file in Results(tmp_path, SETTINGS)] == [99]


def test_other_pixels_are_another_image(tmp_path: Path) -> None:
    results = Results(tmp_path, SETTINGS)
    results.add(FILE)
    assert results.file(replace(FILE, digest="03").key) is None
    assert results.file(replace(FILE, image="b.png").key) is None


def test_other_settings_are_refused(tmp_path: Path) -> None:
    Results(tmp_path, SETTINGS).add(FILE)
    with pytest.raises(OutputError, match=r"made with metrics \['psnr'\], this is \['dists'\]"):
        Results(tmp_path, {**SETTINGS, "metrics": ["dists"]})
    with pytest.raises(OutputError, match="made with model tiny, this is large"):
        Results(tmp_path, {**SETTINGS, "model": "large"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"bytes,codec\n1,webp\n", "line 1 is damaged"),
        (b'{"some": "thing"}\n', "does not belong to a comparison"),
        (b"\xff\xfe\n", "cannot be used"),
    ],
)
def test_a_file_of_another_kind_is_refused_and_kept(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(OutputError, match=words):
        Results(tmp_path, SETTINGS)
    assert (tmp_path / NAME).read_bytes() == content


@pytest.mark.parametrize("line", ["rubbish", "[]", json.dumps({"image": "a.png"})])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    Results(tmp_path, SETTINGS).add(FILE)
    with (tmp_path / NAME).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(OutputError, match="line 3 is damaged"):
        Results(tmp_path, SETTINGS)


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be used"):
        Results(tmp_path / "file", SETTINGS)
