"""The results of a comparison: curves, BD-rates, and their tables as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..files import atomic_write
from .bd_rate import BdRate, bd_rate
from .curves import OURS, Point, bytes_at, hull
from .metrics import NAMES, OF_FACES
from .results import Measured

BD_METRICS = (*NAMES, *OF_FACES)  # not KID, which has too few points


@dataclass(frozen=True)
class Report:
    """The figures of one comparison.

    Attributes:
        settings: as in `Comparison.settings`.
        resolution: of the compared images.
        files: all files, of the same images at every setting.
        points: the means at every setting, ours first.
        kid_features: the network for the features of KID; None: too few images.
    """

    settings: dict[str, Any]
    resolution: int
    files: list[Measured]
    points: list[Point]
    kid_features: str | None

    @property
    def images(self) -> list[str]:
        """Names of the images."""
        return list(dict.fromkeys(file.image for file in self.files))

    @property
    def codecs(self) -> list[str]:
        """All codecs, ours first."""
        return list(dict.fromkeys(point.codec for point in self.points))

    @property
    def metrics(self) -> list[str]:
        """All metrics, KID last."""
        return list(self.points[0].values)

    @cached_property
    def curves(self) -> dict[str, dict[str, list[Point]]]:
        """The hulls, by metric, then codec."""
        return {
            metric: {codec: hull(self.of(codec), metric) for codec in self.codecs}
            for metric in self.metrics
        }

    def of(self, codec: str) -> list[Point]:
        """All points of a codec."""
        return [point for point in self.points if point.codec == codec]

    def hulls_of(self, point: Point) -> list[str]:
        """The metrics for which a point lies on the hull."""
        return [m for m in self.metrics if point in self.curves[m][point.codec]]

    @cached_property
    def bd_rates(self) -> list[BdRate]:
        """Ours against every other codec, for every metric except KID."""
        return [
            bd_rate(self.curves[metric][OURS], self.curves[metric][codec], metric)
            for codec in self.codecs[1:]
            for metric in self.metrics
            if metric in BD_METRICS
        ]

    @property
    def matches(self) -> list[Match]:
        """The bytes that other codecs need at each of our points, for all metrics except KID."""
        return [
            Match(ours, metric, codec, bytes_at(self.curves[metric][codec], metric, ours))
            for ours in self.of(OURS)
            for metric in self.metrics
            if metric in BD_METRICS
            for codec in self.codecs[1:]
        ]


@dataclass(frozen=True)
class Match:
    """A point of ours, and another codec at equal distortion.

    Attributes:
        ours: the point.
        metric: that is equal.
        codec: the other codec.
        bytes: its mean file size, on its hull; None if it does not reach the value.
    """

    ours: Point
    metric: str
    codec: str
    bytes: float | None


def write_tables(report: Report, folder: Path) -> None:
    """Writes files.csv, points.csv, bd_rate.csv, equal.csv and results.json, replacing older ones.

    Raises:
        OutputError: a file cannot be written.
    """
    metrics = report.metrics
    of_files = [m for m in metrics if m != "kid"]
    setting = ("codec", "size", "quality", "bytes", "seconds")
    tables = {
        "files.csv": [
            ("image", *setting, *of_files),
            *((f.image, *_setting(f), *(f.values[m] for m in of_files)) for f in report.files),
        ],
        "points.csv": [
            (*setting, *metrics, "hulls"),
            *(
                (*_setting(p), *(p.values[m] for m in metrics), " ".join(report.hulls_of(p)))
                for p in report.points
            ),
        ],
        "bd_rate.csv": [
            ("codec", "metric", "percent", "overlap", "reason"),
            *((b.codec, b.metric, b.percent, b.overlap, b.reason) for b in report.bd_rates),
        ],
        "equal.csv": [
            ("quality", "bytes", "metric", "value", "codec", "codec_bytes"),
            *(
                (m.ours.quality, m.ours.bytes, m.metric, m.ours.values[m.metric], m.codec, m.bytes)
                for m in report.matches
            ),
        ],
    }
    for name, rows in tables.items():
        write_text(_csv(rows), folder / name)
    write_text(json.dumps(_as_json(report), indent=1) + "\n", folder / "results.json")


def write_text(text: str, path: Path) -> None:
    """Writes a file in UTF-8, replacing an existing one.

    Raises:
        OutputError: it cannot be written.
    """
    with atomic_write(path, force=True) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _setting(of: Point | Measured) -> tuple[Any, ...]:
    return of.codec, of.size, of.quality, of.bytes, of.seconds


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _as_json(report: Report) -> dict[str, Any]:
    return {
        **report.settings,
        "resolution": report.resolution,
        "images": report.images,
        "kid_features": report.kid_features,
        "bd_rate": [asdict(rate) for rate in report.bd_rates],
        "points": [{**asdict(p), "hulls": report.hulls_of(p)} for p in report.points],
        "files": [asdict(file) for file in report.files],
    }
