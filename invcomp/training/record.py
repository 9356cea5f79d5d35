"""The record of a training: metrics.jsonl, and what is drawn from it."""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..files import atomic_write

Line = dict[str, Any]

CURVES = {
    "generator": "generator's loss",
    "discriminator": "discriminator's loss",
    "penalty": "gradient penalty",
    "augmentation_p": "probability of augmentation",
}
FEW = 20  # points of a curve that are marked


def measured(lines: list[Line]) -> list[Line]:
    """Lines with KID, of the last one's features: others must not be compared with it."""
    found = [line for line in lines if "kid" in line]
    return [line for line in found if line["kid_features"] == found[-1]["kid_features"]]


class Record:
    """A line of metrics per tick, in metrics.jsonl.

    Args:
        folder: of the run.
        tensorboard: whether to write the lines as TensorBoard events, too.

    Raises:
        OptionError: TensorBoard's file cannot be written, because tensorboardX is missing.
    """

    def __init__(self, folder: Path, tensorboard: bool = False) -> None:
        if tensorboard and find_spec("tensorboardX") is None:
            raise OptionError("events for TensorBoard need the package tensorboardX")
        self.folder, self.path = folder, folder / "metrics.jsonl"
        self.tensorboard = tensorboard
        self._events: Any = None  # tensorboardX has no types

    def lines(self) -> list[Line]:
        """All lines of metrics.jsonl."""
        if not self.path.is_file():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def forget_after(self, images: int) -> None:
        """Drops lines after the saved state, because the resumed run writes them again."""
        kept = [line for line in self.lines() if line["images"] <= images]
        with atomic_write(self.path, force=True) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))

    def since_best(self) -> int:
        """Snapshots after the one with the lowest KID."""
        kids = [line["kid"] for line in measured(self.lines())]
        return len(kids) - 1 - kids.index(min(kids)) if kids else 0

    def add(self, line: Line) -> None:
        """Writes one line."""
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self.tensorboard:
            self._write_events(line)

    def _write_events(self, line: Line) -> None:
        """The first call begins a new file with all lines, so that a resumed run is one curve."""
        # not SummaryWriter: its thread loses the last events when the process ends
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        lines = [line]
        if self._events is None:
            for earlier in self.folder.glob("events.out.tfevents.*"):
                earlier.unlink()
            self._events, lines = EventsWriter(str(self.folder / "events")), self.lines()
        for each in lines:
            numbers = {name: value for name, value in each.items() if not isinstance(value, str)}
            values = [Summary.Value(tag=name, simple_value=x) for name, x in numbers.items()]
            summary = Summary(value=values)
            self._events.write_event(
                Event(wall_time=time.time(), step=each["images"], summary=summary)
            )
        self._events.flush()

    def draw(self) -> None:
        """Draws losses.png, if matplotlib is installed."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return
        lines = self.lines()
        figure = Figure(figsize=(8, 6), layout="constrained")
        axes = figure.subplots(2, 1, sharex=True)
        for name in CURVES:
            points = [(line["images"] / 1000, line[name]) for line in lines if name in line]
            marker = "." if len(points) < FEW else ""  # one point has no line
            if points:
                axes[0].plot(*zip(*points, strict=True), marker=marker, label=CURVES[name])
        with_kid = [line for line in lines if "kid" in line]
        for features in sorted({line["kid_features"] for line in with_kid}):
            own = [line for line in with_kid if line["kid_features"] == features]
            points = [(line["images"] / 1000, line["kid"]) for line in own]
            axes[1].plot(*zip(*points, strict=True), "o-", label=f"KID ({features} features)")
        if with_kid and min(line["kid"] for line in with_kid) > 0:
            axes[1].set_yscale("log")
        axes[1].set_xlabel("thousand images seen")
        for axis in axes:
            if axis.lines:
                axis.legend()
        with atomic_write(self.folder / "losses.png", force=True) as temporary:
            figure.savefig(temporary, format="png", dpi=80)
