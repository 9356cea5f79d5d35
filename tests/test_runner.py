"""Streams of images: order, errors in place, reading ahead, and one search for a whole batch."""

import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from invcomp.codec import Codec
from invcomp.encoder import EncodeOptions
from invcomp.errors import GoalError, ImageError, InvcompError, OptionError
from invcomp.fitting import Fitted, fit_image
from invcomp.generators.base import normal
from invcomp.inversion.options import Goal, SearchOptions
from invcomp.inversion.progress import Progress, ProgressCallback
from invcomp.measurement import Encoded
from invcomp.preprocessing.frame import from_tensor
from invcomp.runner import Input, Runner, StreamProgress

from .tiny import tiny_bundle, tiny_conditional_bundle

fit = partial(fit_image, resolution=8)
SHORT = SearchOptions(iterations=12, starts=1)
GREY = Image.new("RGB", (8, 8), "grey")


class Encoding:
    """In place of a search: a file is the image's first pixel, `most` fit the memory."""

    def __init__(self, most: int = 99, during: Callable[[], None] = lambda: None) -> None:
        self.most, self.during, self.batches = most, during, list[int]()

    def __call__(
        self, images: Sequence[Fitted], size: int, progress: ProgressCallback | None
    ) -> list[Encoded | GoalError]:
        self.batches.append(len(images))
        if len(images) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        self.during()
        if progress:
            progress(Progress("search", 1, 2, 0.1, 9.0, 0.5))
        found: list[Encoded | GoalError] = []
        for image in images:
            value = round((float(image.tensor[0, 0, 0, 0]) + 1) * 127.5)
            found.append(
                GoalError("black") if value == 0 else Encoded(bytes([value]), GREY, 0, 0, 0)
            )
        return found


def runner() -> Runner:
    return Runner(torch.device("cpu"))


def grey(value: int) -> Image.Image:
    return Image.new("RGB", (8, 8), (value,) * 3)


def numbered() -> Iterator[Input]:
    """Without an end."""
    for number in count(1):
        yield number, grey(number % 200 + 1)


def gone() -> Image.Image:
    return Image.open("no-such-file.png")


def refused() -> Image.Image:
    raise ImageError("not this one")


def test_every_input_has_an_outcome_in_order() -> None:
    inputs: list[Input] = [
        ("a", grey(1)), ("b", gone), ("c", grey(0)), (4, lambda: grey(2)), ("e", refused),
        (("f",), "no image"), (None, grey(3)),
    ]  # fmt: skip
    for batch in (1, 2, 3, 9):
        outcomes = list(runner().run(iter(inputs), fit, Encoding(), batch))
        assert [outcome.key for outcome in outcomes] == ["a", "b", "c", 4, "e", ("f",), None]
        data = [outcome.encoded and outcome.encoded.data for outcome in outcomes]
        assert data == [b"\1", None, None, b"\2", None, None, b"\3"]
        errors = [str(outcome.error) for outcome in outcomes if outcome.error is not None]
        assert [type(outcome.error) for outcome in outcomes if outcome.error is not None] == [
            ImageError, GoalError, ImageError, ImageError
        ]  # fmt: skip
        assert "no-such-file.png" in errors[0]
        assert errors[1:3] == ["black", "not this one"]
        assert "str is no image" in errors[3]
        assert outcomes[0].result().data == b"\1"
        with pytest.raises(GoalError, match="black"):
            outcomes[2].result()
    assert list(runner().run([], fit, Encoding(), 2)) == []


def test_a_stream_is_read_one_batch_ahead() -> None:
    read = []

    def inputs() -> Iterator[Input]:
        for key, image in numbered():
            read.append(key)
            yield key, image

    encoding = Encoding()
    stream = runner().run(inputs(), fit, encoding, 3)
    assert not read
    for number in range(1, 8):
        assert next(stream).key == number
        assert len(read) <= 3 * len(encoding.batches) + 3
    stream.close()
    still = len(read)
    assert not [one for one in threading.enumerate() if one.name.startswith("invcomp-reader")]
    assert len(read) == still <= 12


def test_the_next_batch_is_read_during_the_search() -> None:
    loaded = {number: threading.Event() for number in range(6)}
    threads = set()

    def load(number: int) -> Image.Image:
        threads.add(threading.current_thread())
        loaded[number].set()
        return grey(number + 1)

    def during() -> None:
        following = 2 * len(encoding.batches) + 1
        assert following >= 6 or loaded[following].wait(60)

    encoding = Encoding(during=during)
    inputs = ((number, lambda number=number: load(number)) for number in range(6))
    found = list(runner().run(inputs, fit, encoding, 2))
    assert [outcome.key for outcome in found] == list(range(6))
    assert threading.current_thread() not in threads


def test_a_broken_source_ends_the_stream() -> None:
    def inputs() -> Iterator[Input]:
        yield 1, grey(1)
        raise KeyError("archive")

    stream = runner().run(inputs(), fit, Encoding(), 1)
    assert next(stream).key == 1
    with pytest.raises(KeyError, match="archive"):
        next(stream)


def test_what_memory_holds_is_remembered() -> None:
    one, encoding = runner(), Encoding(most=2)
    inputs = [(number, grey(number + 1)) for number in range(11)]
    outcomes = list(one.run(iter(inputs), fit, encoding, 5))
    assert [outcome.key for outcome in outcomes] == list(range(11))
    assert encoding.batches == [5, 3, *[2, 2, 1] * 2, 1]
    encoding.batches.clear()
    assert len(list(one.run(iter(inputs), fit, encoding, 5))) == 11
    assert encoding.batches == [2] * 5 + [1]
    with pytest.raises(OptionError, match="out of memory on cpu, with one image"):
        list(one.run(iter(inputs), fit, Encoding(most=0), 5))


def test_progress_is_of_the_whole_stream() -> None:
    seen: list[StreamProgress] = []
    inputs = [("a", grey(1)), ("b", grey(2)), ("c", gone), ("d", grey(3)), ("e", grey(4))]
    list(runner().run(inputs, fit, Encoding(), 2, 5, seen.append))
    assert [(state.done, state.total, state.keys) for state in seen] == [
        (0, 5, ("a", "b")), (2, 5, ("d",)), (4, 5, ("e",))
    ]  # fmt: skip
    assert [state.fraction for state in seen] == [0.2, 0.5, 0.9]
    seen.clear()
    list(runner().run(inputs, fit, Encoding(), 2, None, seen.append))
    assert [state.fraction for state in seen] == [None] * 3


# With a search ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(tiny_bundle(), "cpu", compiled=False)


@pytest.fixture(scope="module")
def images(codec: Codec) -> list[Image.Image]:
    """Three that the generator can make."""
    c = normal(3, 64, seed=3) * codec.decoder.coordinates.deviations
    with torch.no_grad():
        tensors = codec.decoder.generator(codec.decoder.coordinates.latents(c))
    return [from_tensor(tensor[None]) for tensor in tensors]


def iterations_of(seen: list[StreamProgress]) -> list[int]:
    return [state.search.iteration for state in seen if state.search.stage == "search"]


def test_a_size_out_of_reach_is_one_images_error(codec: Codec, images: list[Image.Image]) -> None:
    """A size of its own takes 7 bytes more. The others are searched for once."""
    inputs = enumerate([images[0], images[1].resize((50, 50)), images[2]])
    options = EncodeOptions(goal=Goal(bytes=15), search=SHORT, batch=3)
    seen: list[StreamProgress] = []
    outcomes = list(codec.stream(inputs, options, 3, seen.append))
    assert isinstance(outcomes[1].error, GoalError)
    assert "takes 17" in str(outcomes[1].error)
    assert len(iterations_of(seen)) == 12
    without = codec.encode([images[0], images[2]], goal=Goal(bytes=15), search=SHORT, batch=2)
    alike = [outcome.result().data for outcome in outcomes[::2]]
    assert alike == [encoded.data for encoded in without]


def test_an_lpips_out_of_reach_is_one_images_error(codec: Codec, images: list[Image.Image]) -> None:
    """The generator makes no checkerboards."""
    board = Image.new("RGB", (64, 64))
    for x in range(64):
        for y in range(64):
            board.putpixel((x, y), (255 * ((x + y) % 2),) * 3)
    options = EncodeOptions(goal=Goal(lpips=0.1), search=SHORT, batch=3)
    seen: list[StreamProgress] = []
    inputs = enumerate([images[0], board, images[2]])
    outcomes = list(codec.stream(inputs, options, 3, seen.append))
    assert isinstance(outcomes[1].error, GoalError)
    assert "out of reach" in str(outcomes[1].error)
    assert [outcome.result().lpips <= 0.1 for outcome in outcomes[::2]] == [True, True]
    assert iterations_of(seen) == list(range(1, 13))


def test_one_that_cannot_be_read_does_not_stop_its_batch(
    codec: Codec, images: list[Image.Image], tmp_path: Path
) -> None:
    cut = tmp_path / "cut.png"
    images[0].save(cut)
    cut.write_bytes(cut.read_bytes()[:2000])
    inputs = [(1, images[0]), (2, lambda: Image.open(cut)), (3, images[1])]
    options = EncodeOptions(search=SHORT, batch=3)
    outcomes = list(codec.stream(inputs, options))
    assert [type(outcome.error) for outcome in outcomes] == [type(None), ImageError, type(None)]
    stream = codec.encode([images[0], "no image", images[1]], search=SHORT)  # type: ignore[list-item]
    assert next(stream).data
    with pytest.raises(ImageError):
        next(stream)


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 101},
        {"q_step": 2.0},
        {"quality": 3, "q_step": 0.1},
        {"quality": 3, "goal": Goal(bytes=40)},
        {"batch": 0},
        {"mask": "no-such-mask"},
        {"search": SearchOptions(starts=10)},
        {"search": SearchOptions(class_index=0)},
    ],
)
def test_options_are_checked_when_it_is_called(codec: Codec, options: dict[str, Any]) -> None:
    with pytest.raises(InvcompError):
        codec.encode([GREY], **options)
    inputs = numbered()
    with pytest.raises(InvcompError):
        codec.stream(inputs, EncodeOptions(**options))
    assert next(inputs)[0] == 1  # none was read


def test_a_class_that_is_not_there_is_refused_when_it_is_called() -> None:
    conditional = Codec(tiny_conditional_bundle(), "cpu", compiled=False)
    with pytest.raises(OptionError, match="0 to 2"):
        conditional.stream(numbered(), EncodeOptions(search=SearchOptions(class_index=3)))


def test_options_go_to_another_process() -> None:
    options = EncodeOptions(goal=Goal(lpips=0.1), mask="faces-oval", search=SHORT, batch=4)
    assert pickle.loads(pickle.dumps(options)) == options
