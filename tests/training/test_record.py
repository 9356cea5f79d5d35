"""metrics.jsonl, and what is drawn from it."""

import struct
from pathlib import Path

import pytest

from invcomp.errors import OptionError
from invcomp.training.record import Record


def line(images: int) -> dict[str, float | str]:
    return {"images": images, "generator": images / 10, "kid_features": "lpips-alex"}


def scalars(folder: Path) -> list[tuple[int, str, float]]:
    """Step, name and value of every scalar in the only file of events."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.glob("events.*")
    data, found, at = path.read_bytes(), [], 0
    while at < len(data):  # each record: length, its checksum, an event, its checksum
        (length,) = struct.unpack_from("<Q", data, at)
        event = Event.FromString(data[at + 12 : at + 12 + length])
        found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
        at += 12 + length + 4
    return found


def test_lines_after_the_saved_state_are_dropped(tmp_path: Path) -> None:
    record = Record(tmp_path)
    assert record.lines() == []
    for images in (10, 20, 30):
        record.add(line(images))
    record.forget_after(20)
    assert record.lines() == [line(10), line(20)]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_events_are_the_lines_also_after_resuming(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="the extra `tensorboard` is not installed")
    Record(tmp_path).add(line(10))  # without events
    first = Record(tmp_path, tensorboard=True)
    for images in (20, 30):
        first.add(line(images))
    resumed = Record(tmp_path, tensorboard=True)
    resumed.forget_after(20)
    for images in (30, 40):
        resumed.add(line(images))
    seen = scalars(tmp_path)
    assert {name for _, name, _ in seen} == {"images", "generator"}
    assert [(step, value) for step, name, value in seen if name == "generator"] == [
        (10, 1), (20, 2), (30, 3), (40, 4),
    ]  # fmt: skip


def test_events_need_their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invcomp.training.record.find_spec", lambda name: None)
    with pytest.raises(OptionError, match="tensorboardX"):
        Record(tmp_path, tensorboard=True)
    Record(tmp_path)
