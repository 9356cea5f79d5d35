"""The tables: what stands in them, and that they agree."""

import csv
import json
from pathlib import Path

import pytest

from invcomp.evaluation.report import write_tables

from .points import report


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_hulls_and_names() -> None:
    found = report("a.png", "b.png")
    assert found.images == ["a.png", "b.png"]
    assert found.codecs == ["invcomp", "webp"]
    assert found.metrics == ["lpips_alex", "psnr"]
    assert [p.bytes for p in found.curves["lpips_alex"]["webp"]] == [400, 1000]
    assert [found.hulls_of(p) for p in found.of("webp")] == [
        ["lpips_alex", "psnr"],
        [],
        ["lpips_alex", "psnr"],
    ]


def test_ours_is_held_against_every_codec_by_every_metric() -> None:
    rates = report().bd_rates
    assert [(rate.codec, rate.metric) for rate in rates] == [
        ("webp", "lpips_alex"),
        ("webp", "psnr"),
    ]
    for rate in rates:
        assert rate.percent is not None
        assert rate.percent < -75  # four times the bytes at the least


def test_tables_hold_the_figures(tmp_path: Path) -> None:
    found = report("a.png", "b,c.png")
    for _ in range(2):  # those of before are replaced
        write_tables(found, tmp_path)
    files = rows(tmp_path / "files.csv")
    assert len(files) == 12
    assert files[6] == {
        "image": "b,c.png",
        "codec": "invcomp",
        "size": "64",
        "quality": "34.0",
        "bytes": "50",
        "seconds": "0.1",
        "lpips_alex": "0.3",
        "psnr": "20.0",
    }
    points = rows(tmp_path / "points.csv")
    assert [float(row["bytes"]) for row in points] == [50, 100, 200, 400, 900, 1000]
    assert [row["hulls"] for row in points[-3:]] == ["lpips_alex psnr", "", "lpips_alex psnr"]
    rates = rows(tmp_path / "bd_rate.csv")
    assert [float(row["percent"]) for row in rates] == [r.percent for r in found.bd_rates]
    equal = rows(tmp_path / "equal.csv")
    assert [row["metric"] for row in equal] == ["lpips_alex", "psnr"] * 3
    assert equal[0] == {
        "quality": "34.0",
        "bytes": "50.0",
        "metric": "lpips_alex",
        "value": "0.3",
        "codec": "webp",
        "codec_bytes": equal[0]["codec_bytes"],
    }
    assert float(equal[0]["codec_bytes"]) == pytest.approx(400 + 600 / 5)


def test_json_is_strict_and_says_the_same(tmp_path: Path) -> None:
    found = report()
    write_tables(found, tmp_path)

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    values = json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
    assert values["model"] == "tiny"
    assert values["images"] == ["a.png", "b.png"]
    assert len(values["files"]) == 12
    assert [p["bytes"] for p in values["points"]] == [p.bytes for p in found.points]
    assert [b["percent"] for b in values["bd_rate"]] == [b.percent for b in found.bd_rates]
