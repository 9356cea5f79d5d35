"""invcomp compare with two tiny images: killed and resumed, its report, what it refuses."""

import csv
import io
import json
import sys
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from invcomp.bundle import read_bundle
from invcomp.cli import compare as verb
from invcomp.cli.main import run
from invcomp.evaluation.curves import COMPARED, QUALITIES
from invcomp.perception.identity import Face

from ..chromium import Visit
from .conftest import FAST, Invcomp, finish, start

SMALL = ("--codecs", "webp,jpeg", "--sizes", "1,0.5", "--metrics", "lpips_alex,psnr")
OPTIONS = (*SMALL, "--qualities", "34,82", *FAST)
SETTINGS = 2 + 2 * (len(QUALITIES["webp"]) + len(QUALITIES["jpeg"]))
OURS = 4  # files of ours
WRITTEN = {"bd_rate.csv", "equal.csv", "files", "files.csv", "index.html", "plots", "points.csv"}
WRITTEN |= {"results.json", "results.jsonl"}


@pytest.fixture(scope="module")
def killed(tiny_cache: Path, images: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was killed amid the conventional codecs, its last line cut."""
    folder = tmp_path_factory.mktemp("compare") / "report"
    model = tiny_cache / "models" / "tiny.ivm"
    process = start(
        "compare", *images[:2], "-o", folder, "--model", model, *OPTIONS, cache=tiny_cache
    )
    results, until = folder / "results.jsonl", time.monotonic() + 300
    while not results.is_file() or len(results.read_text().splitlines()) < OURS + 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)
    process.kill()
    assert finish(process).code < 0
    results.write_bytes(results.read_bytes()[:-10])
    return folder


@pytest.fixture(scope="module")
def report(killed: Path, tiny_cache: Path, images: list[Path]) -> Path:
    """The same folder after the run went on."""
    assert not (killed / "index.html").exists()
    lines = (killed / "results.jsonl").read_text().splitlines()[:-1]
    assert 1 + OURS < len(lines) < 1 + 3 * SETTINGS
    (killed.parent / "before.json").write_text(json.dumps([lines, times(killed)]))
    model = tiny_cache / "models" / "tiny.ivm"
    command = ("compare", *images[:2], "-o", killed, "--model", model, *OPTIONS)
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("INVCOMP_CACHE", str(tiny_cache))
        patch.setattr(sys, "argv", ["invcomp", *map(str, command)])
        with pytest.raises(SystemExit) as exit:
            run()
    assert not exit.value.code, err.getvalue()
    (killed.parent / "out.txt").write_text(out.getvalue())
    (killed.parent / "err.txt").write_text(err.getvalue())
    return killed


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*.ivc"))}


def test_a_killed_run_goes_on_where_it_stopped(report: Path) -> None:
    before, ours = json.loads((report.parent / "before.json").read_text())
    lines = (report / "results.jsonl").read_text().splitlines()
    assert lines[: len(before)] == before
    rows = [json.loads(line) for line in lines[1:]]
    assert len(rows) == 3 * SETTINGS  # of two images, and KID of the set
    keys = Counter((r.get("image"), r["codec"], r["size"], r["quality"]) for r in rows)
    assert set(keys.values()) == {1}
    assert len(ours) == OURS
    assert times(report) == ours  # none was made anew


def test_the_report_is_whole(report: Path) -> None:
    assert {path.name for path in report.iterdir()} == WRITTEN
    plots = {path.name for path in (report / "plots").iterdir()}
    assert plots == {f"{m}.{k}" for m in ("lpips_alex", "psnr", "kid") for k in ("svg", "png")}
    values = json.loads((report / "results.json").read_text())
    with (report / "files.csv").open() as file:
        files = list(csv.DictReader(file))
    assert len(files) == len(values["files"]) == 2 * SETTINGS
    for row in values["files"]:
        [path] = (report / "files" / row["image"]).glob(
            f"{row['codec']}-{row['size']}-{row['quality']:g}.*"
        )
        assert path.stat().st_size == row["bytes"]
    with (report / "points.csv").open() as file:
        points = list(csv.DictReader(file))
    assert len(points) == SETTINGS
    webp = [
        row
        for row in files
        if (row["codec"], row["size"], row["quality"]) == ("webp", "32", "12.0")
    ]
    [point] = [p for p in points if (p["codec"], p["size"], p["quality"]) == ("webp", "32", "12.0")]
    assert float(point["bytes"]) == sum(float(row["bytes"]) for row in webp) / 2
    rates = {(rate["codec"], rate["metric"]): rate for rate in values["bd_rate"]}
    assert set(rates) == {(c, m) for c in ("webp", "jpeg") for m in ("lpips_alex", "psnr")}
    assert all((rate["percent"] is None) == bool(rate["reason"]) for rate in rates.values())


def test_it_says_what_it_found(report: Path) -> None:
    out, err = ((report.parent / name).read_text() for name in ("out.txt", "err.txt"))
    for word in ("WebP", "JPEG", "LPIPS-Alex", f"{2 * SETTINGS} files", "index.html"):
        assert word in out
    assert "images:" in err
    assert "codecs:" in err
    assert "KID:" in err
    assert "invcomp:" not in err  # all of ours were there


def test_the_page_in_chromium(report: Path, visit: Visit) -> None:
    visited = visit(report / "index.html")
    decoded = visited.page.locator("#decoded")
    assert decoded.evaluate("(image) => image.naturalWidth") == 64
    clip = "(image) => getComputedStyle(image).clipPath"
    before = decoded.evaluate(clip)
    visited.page.locator("#slider").fill("80")
    assert decoded.evaluate(clip) != before
    assert visited.page.locator("#image option").all_inner_texts() == ["a.png", "b.jpg"]
    for name in ("WebP", "JPEG"):
        visited.page.locator("#codec").select_option(name)
        assert visited.page.locator("#tag").inner_text() == name
    assert visited.page.locator("#points tbody tr").count() == SETTINGS
    assert visited.complaints == []
    assert visited.requests == [(report / "index.html").resolve().as_uri()]


def test_a_folder_made_otherwise_is_refused(
    invcomp: Invcomp, report: Path, tiny_model: Path, images: list[Path]
) -> None:
    before = (report / "results.jsonl").read_bytes()
    common = ("compare", *images[:2], "-o", report, "--model", tiny_model, *SMALL)
    outcome = invcomp(*common, *FAST, "--metrics", "psnr")
    assert outcome.code == 1
    (line,) = outcome.errors
    assert "was made with metrics" in line
    assert "choose another folder" in line
    assert (report / "results.jsonl").read_bytes() == before


def test_bad_images_are_named_and_the_others_go_on(
    invcomp: Invcomp, tiny_model: Path, images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "other").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "other" / "a.png")
    sources = (images[0], tmp_path / "text.png", tmp_path / "other" / "a.png")
    options = ("--codecs", "jpeg", "--sizes", "0.5", "--qualities", "50", "--metrics", "psnr")
    outcome = invcomp(
        "compare", *sources, "-o", tmp_path / "report", "--model", tiny_model, *options, *FAST
    )
    assert outcome.code == 1
    first, second = outcome.errors
    assert "text.png" in first
    assert "has the same name as" in second
    values = json.loads((tmp_path / "report" / "results.json").read_text())
    assert values["images"] == ["a.png"]
    assert values["kid_features"] is None
    assert "only one point" in values["bd_rate"][0]["reason"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--codecs", "webp,gif"), "unknown codec 'gif'; there are avif, webp, jpeg"),
        (("--codecs", ","), "--codecs is empty"),
        (("--qualities", "50,x"), "--qualities 50,x: expected comma-separated numbers"),
        (("--qualities", "101"), "quality 101"),
        (("--sizes", "2"), "a size of 2"),
        (("--metrics", "ssim"), "'ssim'"),
        (("--metrics", "ms_ssim"), "ms_ssim cannot measure images of 64 px"),
        (("--iterations", "0"), "iterations is 0"),
        (("--device", "abacus"), "abacus"),
        (("--model", "no-such-model"), "no-such-model"),
    ],
)
def test_options_that_make_no_sense(
    invcomp: Invcomp,
    tiny_model: Path,
    images: list[Path],
    tmp_path: Path,
    options: tuple[str, ...],
    words: str,
) -> None:
    common = ("compare", images[0], "-o", tmp_path / "report", "--model", tiny_model)
    outcome = invcomp(*common, "--codecs", "jpeg", *options)
    assert outcome.code == 1
    (line,) = outcome.errors
    assert words in line
    assert not (tmp_path / "report").exists()


def test_a_folder_that_cannot_be_used(
    invcomp: Invcomp, tiny_model: Path, images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "results.jsonl").write_text("{}\n")
    common = ("compare", images[0], "--model", tiny_model, *OPTIONS)
    for name, words in (("file", "is not a folder"), ("other", "does not belong to a comparison")):
        outcome = invcomp(*common, "-o", tmp_path / name)
        assert outcome.code == 1
        (line,) = outcome.errors
        assert words in line
    assert (tmp_path / "file").read_text() == "precious"


def test_no_image_at_all(invcomp: Invcomp, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    outcome = invcomp("compare", tmp_path / "empty", "-o", tmp_path / "report", *SMALL)
    assert outcome.code == 1
    assert "the folder has no files of a supported type" in outcome.errors[0]
    assert not (tmp_path / "report").exists()


def test_codecs_that_pillow_lacks(
    invcomp: Invcomp, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default they are left out, and named; who asks for one is told."""
    from invcomp.evaluation import codecs

    is_available = codecs.is_available
    monkeypatch.setattr(codecs, "is_available", lambda name: name != "heic" and is_available(name))
    assert "heic" not in verb.available_here()
    outcome = invcomp("compare", images[0], "-o", tmp_path / "report", "--codecs", "heic")
    assert outcome.code == 1
    (line,) = outcome.errors
    assert "Pillow cannot write heic here" in line
    assert "left out (Pillow cannot write it here): HEIC" in outcome.err


def test_without_the_extra_it_says_what_to_install(
    invcomp: Invcomp, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from invcomp.cli import show

    monkeypatch.setattr(show, "find_spec", lambda name: None if name == "jinja2" else object())
    outcome = invcomp("compare", images[0], "-o", tmp_path / "report")
    assert outcome.errors == ['error: jinja2 is missing: pip install "invcomp[compare]"']


def test_help_names_every_codec(invcomp: Invcomp) -> None:
    words = " ".join(invcomp("compare", "--help").out.replace("│", " ").split())
    assert ", ".join(COMPARED) in words
    assert "invcomp compare portraits/ -o report/" in words


def test_portraits_are_measured_by_a_judge_too(
    invcomp: Invcomp, tiny_model: Path, images: list[Path], tmp_path: Path
) -> None:
    """Its column stands beside identity; without a judge, that there is none is said."""
    bundle = read_bundle(tiny_model)
    model = tmp_path / "faces.ivm"
    replace(bundle, settings=replace(bundle.settings, face=Face())).save(model)
    judge = tmp_path / "judge"
    judge.mkdir()
    (judge / "identity.py").write_text(
        "import numpy as np\n"
        "class Identity:\n"
        "    def frame(self, image):\n        return None\n"
        "    def embed(self, image, frame):\n"
        "        found = np.asarray(image, float).ravel() + 1\n"
        "        return found / np.linalg.norm(found)\n"
    )
    common = ("compare", images[0], "--model", model, "--codecs", "webp", "--sizes", "0.5")
    common = (*common, "--qualities", "60", "--metrics", "lpips_alex,identity", *FAST)
    alone = invcomp(*common, "-o", tmp_path / "alone")
    assert alone.code == 0, alone.err
    assert "--judge adds another" in alone.err
    judged = invcomp(*common, "-o", tmp_path / "judged", "--judge", judge)
    assert judged.code == 0, judged.err
    assert "--judge" not in judged.err
    for folder, names in (("alone", {"identity"}), ("judged", {"identity", "judge"})):
        with (tmp_path / folder / "points.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert set(rows[0]) & {"identity", "judge"} == names
        for row in rows:
            assert float(row["identity"]) >= 0
            assert 0 < float(row.get("judge", 1)) <= 1
    page = (tmp_path / "judged" / "index.html").read_text()
    assert "which invcomp optimises" in page
    assert "judge, cosine" in page


def test_what_is_no_judge_is_refused_at_once(
    invcomp: Invcomp, tiny_model: Path, images: list[Path], tmp_path: Path
) -> None:
    outcome = invcomp(
        "compare", images[0], "-o", tmp_path / "o", "--model", tiny_model, "--judge", tmp_path
    )
    assert outcome.code == 1
    assert "identity.py" in outcome.errors[0]
    assert not (tmp_path / "o").exists()
