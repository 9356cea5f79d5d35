"""Processes that encode one stream: order, errors, and what is left when one of them is killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from invcomp.bundle import Bundle
from invcomp.codec import Codec
from invcomp.encoder import EncodeOptions
from invcomp.errors import GoalError, ImageError, ImageWarning, OptionError, WorkerError
from invcomp.inversion.options import Goal, SearchOptions
from invcomp.runner import Input, Outcome, StreamProgress
from invcomp.workers import WINDOW, Workers

from .tiny import tiny_bundle

OPTIONS = EncodeOptions(search=SearchOptions(iterations=6, starts=1))
TWO = ("cpu", "cpu")


def grey(value: int) -> Image.Image:
    return Image.new("RGB", (8, 8), (value,) * 3)


def refused() -> Image.Image:
    raise ImageError("not this one")


def warned(value: int) -> Image.Image:
    warnings.warn(ImageWarning(f"image {value} is odd"), stacklevel=1)
    return grey(value)


def deadly(marks: Path, times: int) -> Image.Image:
    """Kills the process that reads it, so many times."""
    for number in range(times):
        mark = marks / str(number)
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return grey(100)


def inputs(count: int, **special: Any) -> list[Input]:
    """Grey images; those with a special image have the key as a word."""
    images: list[Input] = [(number, grey(20 * number + 1)) for number in range(count)]
    for word, image in special.items():
        images.insert(2, (word, image))
    return images


@cache
def bundle() -> Bundle:
    return tiny_bundle()  # made again, rounding could differ


def run(images: list[Input], options: EncodeOptions = OPTIONS, **more: Any) -> list[Outcome]:
    return [*Workers(bundle(), TWO, False, 1).stream(images, options, len(images), **more)]


def no_processes_left() -> bool:
    return not [one for one in multiprocessing.active_children() if "invcomp" in one.name]


@pytest.mark.parametrize("batch", [1, 3])
def test_the_outcomes_are_those_of_one_process(batch: int, tmp_path: Path) -> None:
    """In order; an error in its place; what is said comes through; who is killed loses nothing."""
    killer = partial(deadly, tmp_path, 1)
    images = inputs(7, bad=refused, lazy=partial(grey, 60), odd=partial(warned, 7), killer=killer)
    options = EncodeOptions(search=OPTIONS.search, batch=batch)
    states = list[StreamProgress]()
    with pytest.warns(ImageWarning, match="image 7 is odd"):
        outcomes = run(images, options, progress=states.append)
    assert [*tmp_path.iterdir()]  # it was killed
    assert [outcome.key for outcome in outcomes] == [key for key, _ in images]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        codec = Codec(bundle(), "cpu", compiled=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImageWarning)
            expected = {o.key: o for o in codec.stream(images, options, len(images))}
    finally:
        torch.set_num_threads(threads)
    for outcome in outcomes:
        if outcome.key == "bad":
            assert str(outcome.error) == "not this one"
        elif batch == 1:  # in batches, who shares one depends on who is free
            assert outcome.result().data == expected[outcome.key].result().data
        else:
            assert outcome.result().lpips == pytest.approx(
                expected[outcome.key].result().lpips, abs=0.02
            )
    assert {key for state in states for key in state.keys} == {key for key, _ in images} - {"bad"}
    assert all(0 <= state.amount <= len(images) for state in states)
    assert no_processes_left()


def test_an_image_that_kills_is_an_error_of_its_own(tmp_path: Path) -> None:
    options = EncodeOptions(search=OPTIONS.search, batch=2)  # it takes another one with it
    outcomes = run(inputs(5, killer=partial(deadly, tmp_path, 99)), options)
    assert [outcome.key for outcome in outcomes] == [0, 1, "killer", 2, 3, 4]
    (failed,) = (outcome for outcome in outcomes if outcome.error)
    assert failed.key == "killer"
    assert isinstance(failed.error, WorkerError)
    assert "2 worker processes ended over this image" in str(failed.error)
    assert "SIGKILL" in str(failed.error)


def test_images_that_kill_the_only_process(tmp_path: Path) -> None:
    """While it is made again, there is nothing to do."""
    images: list[Input] = [("deadly", partial(deadly, tmp_path, 99)), (1, grey(20)), (2, grey(40))]
    outcomes = [*Workers(bundle(), ("cpu",), False, 1).stream(images, OPTIONS, 3)]
    assert [outcome.key for outcome in outcomes] == ["deadly", 1, 2]
    assert [bool(outcome.error) for outcome in outcomes] == [True, False, False]


def test_options_are_checked_before_any_image() -> None:
    with pytest.raises(OptionError, match="abacus"):
        Workers(bundle(), ("cpu", "abacus"))
    with pytest.raises(OptionError, match="at least one"):
        Workers(bundle(), ())
    pool = Workers(bundle(), TWO, False, 1)
    with pytest.raises(OptionError, match="starts"):
        pool.stream([], EncodeOptions(search=SearchOptions(starts=99)))
    assert no_processes_left()


def test_a_goal_that_one_image_cannot_meet() -> None:
    options = EncodeOptions(goal=Goal(bytes=9), search=OPTIONS.search)
    first, second = run(inputs(2), options)
    for outcome in (first, second):
        with pytest.raises(GoalError, match="9 bytes are too few"):
            outcome.result()


def test_stopping_early_reads_little_and_leaves_no_process() -> None:
    read = []

    def endless() -> Any:
        for number in range(1000):
            read.append(number)
            yield number, grey(9)

    stream = Workers(bundle(), TWO, False, 1).stream(endless(), OPTIONS)
    assert next(stream).key == 0
    stream.close()
    assert len(read) <= 2 * WINDOW + 2
    assert no_processes_left()


SCRIPT = """
import multiprocessing
from invcomp.encoder import EncodeOptions
from invcomp.inversion.options import SearchOptions
from invcomp.workers import Workers
from PIL import Image
from tests.tiny import tiny_bundle

if __name__ == "__main__":
    options = EncodeOptions(search=SearchOptions(iterations=10**6, starts=1))
    images = [(n, Image.new("RGB", (8, 8))) for n in range(2)]
    told = lambda state: print(*[p.pid for p in multiprocessing.active_children()], flush=True)
    list(Workers(tiny_bundle(), ("cpu", "cpu"), False, 1).stream(images, options, 2, told))
"""


def test_the_processes_end_with_the_first_one(tmp_path: Path) -> None:
    """Even if it is killed."""
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "script.py"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert process.stdout is not None
    workers = [int(word) for word in process.stdout.readline().split()]
    assert len(workers) == 2
    process.kill()
    process.wait()
    for _ in range(600):
        if not any(Path(f"/proc/{pid}").exists() for pid in workers):
            break
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
