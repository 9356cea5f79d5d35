"""Plots of the curves, one per metric, for light and dark backgrounds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import atomic_write
from .curves import METRIC_NAMES, MORE_IS_BETTER, NAMES, OURS
from .report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's, distinguishable for colour-blind people; ours is the first
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c")
MARKERS = "osD^vPX"
INK = {False: "#1a1a1a", True: "#e6e6e6"}
SIZE = (7.0, 4.4)  # inches


def draw(report: Report, metric: str, kind: str, dark: bool = False) -> bytes:
    """Plots one metric over bytes for every codec: hulls as lines, other points faint.

    Args:
        report: the results.
        metric: of `report.metrics`.
        kind: "svg" or "png".
        dark: for a dark background, which is left transparent.
    """
    import matplotlib
    from matplotlib.figure import Figure

    colour = INK[dark]
    style: Any = {  # its type differs between versions
        "svg.hashsalt": "invcomp",  # reproducible files
        "svg.fonttype": "none",
        "font.size": 10,
        **{f"{part}.color": colour for part in ("text", "xtick", "ytick")},
        **{f"axes.{part}": colour for part in ("edgecolor", "labelcolor", "titlecolor")},
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        for index, codec in enumerate(report.codecs):
            _draw_codec(axes, report, metric, codec, index)
        better = "higher" if metric in MORE_IS_BETTER else "lower"
        axes.set_xscale("log")
        axes.set_xlabel("mean file size in bytes")
        axes.set_ylabel(f"{METRIC_NAMES[metric]} ({better} is better)")
        axes.grid(alpha=0.2, which="both")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.legend(frameon=False)
        buffer = io.BytesIO()
        date = {"Date": None} if kind == "svg" else {}
        figure.savefig(buffer, format=kind, transparent=kind == "svg", dpi=150, metadata=date)
    return buffer.getvalue()


def _draw_codec(axes: Axes, report: Report, metric: str, codec: str, index: int) -> None:
    colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
    curve = report.curves[metric][codec]
    rest = [point for point in report.of(codec) if point not in curve]
    axes.plot(
        [point.bytes for point in curve],
        [point.values[metric] for point in curve],
        color=colour,
        marker=marker,
        markersize=5,
        linewidth=2.4 if codec == OURS else 1.4,
        label=NAMES[codec],
    )
    axes.scatter(
        [point.bytes for point in rest],
        [point.values[metric] for point in rest],
        color=colour,
        marker=marker,
        s=8,
        alpha=0.3,
        linewidths=0,
    )


def write_plots(report: Report, folder: Path) -> None:
    """Writes METRIC.svg and METRIC.png for every metric, replacing existing ones.

    Raises:
        OutputError: a file cannot be written.
    """
    for metric in report.metrics:
        for kind in ("svg", "png"):
            with atomic_write(folder / f"{metric}.{kind}", force=True) as temporary:
                temporary.write_bytes(draw(report, metric, kind))
