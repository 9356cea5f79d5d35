"""The runner: a stream of images through an encoder, batch by batch, with errors in place.

While the device searches for one batch, a thread reads the next one and fits it to the generator's
frame. Not more than these two batches are in memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from threading import Event
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .errors import GoalError, ImageError, OptionError, WorkerError
from .fitting import Fitted
from .inversion.progress import Progress, ProgressCallback
from .measurement import Encoded
from .preprocessing.alignment import Frame

ImageLike: TypeAlias = Image.Image | NDArray[np.uint8] | Tensor | Fitted
Input: TypeAlias = tuple[Any, ImageLike | Callable[[], ImageLike]]
Fit: TypeAlias = Callable[[Any], Fitted]


@dataclass(frozen=True)
class Outcome:
    """What became of one image of a stream: a file or an error.

    Attributes:
        key: of the input.
        encoded: the file and its metrics; None: there is an error.
        error: an ImageError if the image cannot be read or fitted, a GoalError if no file meets the
            goal, a WorkerError if processes ended over it (`Workers`).
        place: of the face that was cut out of the image; None: it was fitted as a whole.
        notes: of fitting, one line each.
    """

    key: Any
    encoded: Encoded | None = None
    error: ImageError | GoalError | WorkerError | None = None
    place: Frame | None = None
    notes: tuple[str, ...] = ()

    def result(self) -> Encoded:
        """The file and its metrics.

        Raises:
            ImageError, GoalError, WorkerError: the image has an error instead.
        """
        if self.encoded is None:
            assert self.error is not None
            raise self.error
        return self.encoded


@dataclass(frozen=True)
class StreamProgress:
    """Progress of a stream.

    Attributes:
        done: images that have an outcome.
        total: number of images; None: it is not known.
        keys: of the images that are searched for now.
        search: progress of this search.
        others: what other processes have done of theirs, in images (`Workers`).
    """

    done: int
    total: int | None
    keys: tuple[Any, ...]
    search: Progress
    others: float = 0.0

    @property
    def amount(self) -> float:
        """Images done, with the part that is done of the present ones."""
        return self.done + self.search.fraction * len(self.keys) + self.others

    @property
    def fraction(self) -> float | None:
        """Of all images, 0 to 1; None: their number is not known."""
        return None if self.total is None else min(self.amount / self.total, 1.0)


StreamCallback = Callable[[StreamProgress], None]


# images, batch size of the graph and progress, to a file or an error of each image
EncodeBatch = Callable[
    [Sequence[Fitted], int, ProgressCallback | None], Sequence[Encoded | GoalError]
]
_Read: TypeAlias = tuple[Any, Fitted | ImageError]


class Runner:
    """Runs streams of images on one device.

    Args:
        device: named if its memory is too small.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._most_at_once = sys.maxsize  # images; smaller after memory ran out with more

    def run(
        self,
        inputs: Iterable[Input],
        fit: Fit,
        encode: EncodeBatch,
        batch: int,
        total: int | None = None,
        progress: StreamCallback | None = None,
    ) -> Generator[Outcome, None, None]:
        """The outcomes in the order of the inputs.

        Args:
            inputs: read as they are needed, in another thread, at most one batch ahead.
            fit: fits an image to the bundle's frame.
            encode: encodes a batch.
            batch: number of images in one graph. If memory runs out, it is halved, for all later
                batches too.
            total: number of images, if it is known.
            progress: called after every iteration of the search.

        Raises:
            OptionError: memory runs out with one image.
        """
        done = 0
        for read in self._read_ahead(inputs, fit, batch):
            while read:
                size = self._size(batch)
                told = None if progress is None else _telling(progress, done, total, read[:size])
                outcomes = self._attempt(read[:size], encode, size, told)
                if outcomes is not None:
                    read = read[size:]
                    for outcome in outcomes:
                        done += 1
                        yield outcome

    def _size(self, batch: int) -> int:
        return min(batch, self._most_at_once)

    def _attempt(
        self,
        read: Sequence[_Read],
        encode: EncodeBatch,
        size: int,
        progress: ProgressCallback | None,
    ) -> list[Outcome] | None:
        """The outcomes of a batch; None: memory ran out, and later batches are smaller."""
        fitted = [image for _, image in read if isinstance(image, Fitted)]
        found: Iterator[Encoded | GoalError] | None = None
        try:
            found = iter(encode(fitted, size, progress) if fitted else ())
        except torch.cuda.OutOfMemoryError as error:
            if size == 1:
                raise OptionError(f"out of memory on {self.device}, with one image") from error
        if found is None:  # and the error no longer holds the tensors of the search
            self._most_at_once = (size + 1) // 2
            torch.cuda.empty_cache()
            return None
        return [
            _outcome(key, image, next(found))
            if isinstance(image, Fitted)
            else Outcome(key, error=image)
            for key, image in read
        ]

    def _read_ahead(self, inputs: Iterable[Input], fit: Fit, batch: int) -> Iterator[list[_Read]]:
        """The inputs in batches. The next batch is read while the caller works on one."""
        source, stopped = iter(inputs), Event()

        def read(count: int) -> list[_Read]:
            found = []
            for key, image in islice(source, count):
                found.append((key, _fitted(image, fit)))
                if stopped.is_set():
                    break
            return found

        with ThreadPoolExecutor(1, "invcomp-reader") as thread:
            try:
                ahead = thread.submit(read, self._size(batch))
                while found := ahead.result():
                    ahead = thread.submit(read, self._size(batch))
                    yield found
            finally:
                stopped.set()


def _fitted(image: Any, fit: Fit) -> Fitted | ImageError:
    try:
        return fit(image() if callable(image) else image)
    except ImageError as error:
        return error
    except (OSError, Image.DecompressionBombError) as error:  # by Pillow, in a callable
        return ImageError(f"the image cannot be read: {error}")


def _outcome(key: Any, image: Fitted, found: Encoded | GoalError) -> Outcome:
    if isinstance(found, Encoded):
        return Outcome(key, found, None, image.place, image.notes)
    return Outcome(key, None, found, image.place, image.notes)


def _telling(
    progress: StreamCallback, done: int, total: int | None, read: Sequence[_Read]
) -> ProgressCallback:
    """The callback of the search for a batch after `done` images."""
    keys = tuple(key for key, image in read if isinstance(image, Fitted))
    return lambda search: progress(StreamProgress(done, total, keys, search))
