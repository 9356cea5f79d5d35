"""Several processes that encode one stream of images, each with a codec of its own.

Each process has a pipe of its own, and they share no lock. So a process that is killed takes
nothing with it: another one encodes its images.
"""

from __future__ import annotations

import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Lock
from typing import Any

import torch

from .bundle import Bundle
from .codec import Codec
from .device import choose_device
from .encoder import EncodeOptions
from .errors import ImageWarning, InvcompError, OptionError, WorkerError
from .runner import Input, Outcome, StreamCallback, StreamProgress

ENDS = 2  # so many processes may end while they have an image
PATIENCE = 10.0  # seconds for a process to end by itself
WINDOW = 4  # batches of all processes between the first image without an outcome and the last begun


@dataclass(frozen=True)
class Workers:
    """Processes that encode images.

    They are spawned, so a script that uses them needs `if __name__ == "__main__":`. Each takes the
    memory of a codec.

    Attributes:
        bundle: generator, coordinates and priors; a copy goes to each process.
        devices: one for each process, such as ("cpu", "cpu") or ("cuda:0", "cuda:1").
        compiled: see `Encoder`. The first time, each process compiles.
        threads: of torch in each process. None: the processes share the threads of this one.

    Raises:
        OptionError: there is no such device.
    """

    bundle: Bundle
    devices: Sequence[str]
    compiled: bool | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        if not self.devices:
            raise OptionError("at least one worker process is needed")
        for device in self.devices:
            choose_device(device)

    def stream(
        self,
        inputs: Iterable[Input],
        options: EncodeOptions | None = None,
        total: int | None = None,
        progress: StreamCallback | None = None,
    ) -> Generator[Outcome, None, None]:
        """Compresses images as they come: for each a file or an error, in the same order.

        The processes end with the iterator. If one ends by itself, its images are encoded again,
        each alone. An image over which two processes ended has a `WorkerError`. A process that ends
        before it is ready again is not replaced.

        Args:
            inputs: as of `Encoder.stream`. Images and functions are pickled. They are read a few
                batches ahead.
            options: as of `Encoder.stream`.
            total: as of `Encoder.stream`.
            progress: called after every iteration of every process.

        Raises:
            ImageError, OptionError: see `Encoder.stream`.
            WorkerError: a process ended before it was ready, or none is left.
        """
        run = _Run(self, inputs, options or EncodeOptions(), total, progress)
        run.start()
        return run.outcomes()


@dataclass
class _Item:
    """An image that has no outcome yet."""

    number: int
    key: Any
    image: Any
    ends: int = 0  # of processes that had it


@dataclass
class _Worker:
    """One process, seen from here."""

    device: str
    process: BaseProcess
    connection: Connection
    batch: int = 0  # images; 0: it is not ready
    most: int = 0  # images that it has at once
    alone: bool = False  # it has one image, and gets no other
    flushed: bool = False  # it knows that there is nothing more for now
    items: dict[int, _Item] = field(default_factory=dict)
    amount: float = 0.0  # images' worth of work that is done of these


@dataclass(frozen=True)
class _Ready:
    """A process has its codec; its batch, and whether it reads the next one meanwhile."""

    batch: int
    ahead: bool


_FLUSH = "flush"  # ends a stream of the codec, so that it does not wait for a full batch


class _Run:
    """One stream through the processes."""

    def __init__(
        self,
        pool: Workers,
        inputs: Iterable[Input],
        options: EncodeOptions,
        total: int | None,
        progress: StreamCallback | None,
    ) -> None:
        self.pool, self.options, self.total, self.progress = pool, options, total, progress
        self.inputs = enumerate(inputs)
        self.begun, self.yielded, self.exhausted, self.started = 0, 0, False, False
        self.done = dict[int, Outcome]()
        self.suspects = deque[_Item]()  # images of processes that ended
        self.workers: list[_Worker] = []

    def start(self) -> None:
        try:
            self.workers = [self._begin(device) for device in self.pool.devices]
            while not all(worker.batch for worker in self.workers):
                self._receive()
            self.started = True
        except BaseException:
            self._end()
            raise

    def outcomes(self) -> Generator[Outcome, None, None]:
        try:
            while True:
                self._fill()
                while self.yielded in self.done:
                    outcome = self.done.pop(self.yielded)
                    self.yielded += 1
                    yield outcome
                if not (self.suspects or any(worker.items for worker in self.workers)):
                    if self.exhausted:
                        return
                    if any(worker.batch for worker in self.workers):
                        continue
                self._receive()
        finally:
            self._end()

    def _begin(self, device: str) -> _Worker:
        pool, context = self.pool, get_context("spawn")
        count = len(pool.devices)
        threads = pool.threads or max(torch.get_num_threads() // count, 1)
        share = None if self.total is None else -(-self.total // count)
        settings = _Settings(
            pool.bundle, device, pool.compiled, threads, self.options, self.total, share
        )
        here, there = context.Pipe()
        name = f"invcomp {device}"
        process = context.Process(target=_work, args=(there, settings), name=name, daemon=True)
        process.start()
        there.close()  # so that its end is seen here
        return _Worker(device, process, here)

    def _fill(self) -> None:
        """Gives images to the processes; first to those that have none."""
        ready = [worker for worker in self.workers if worker.batch]
        for worker in ready:
            if self.suspects and not worker.items:
                worker.alone = True
                self._give(worker, [self.suspects.popleft()])
        if not self.suspects:
            self._give_new(ready)
        for worker in ready:
            if 0 < len(worker.items) < worker.batch:  # it may wait for a whole batch
                self._flush(worker)

    def _give_new(self, ready: Sequence[_Worker]) -> None:
        window = WINDOW * sum(worker.batch for worker in ready)
        for ahead in (False, True):
            for worker in ready:
                most = worker.most if ahead else worker.batch
                while not worker.alone and len(worker.items) + worker.batch <= most:
                    if self.begun >= self.yielded + window:
                        return
                    items = [_Item(n, *one) for n, one in islice(self.inputs, worker.batch)]
                    self.begun += len(items)
                    self.exhausted = len(items) < worker.batch
                    if not items:
                        return
                    self._give(worker, items)

    def _give(self, worker: _Worker, items: Sequence[_Item]) -> None:
        worker.items |= {item.number: item for item in items}
        try:
            for item in items:
                worker.connection.send((item.number, item.image))
        except (BrokenPipeError, ConnectionError):
            pass  # it has ended, as will be seen when it is listened to
        worker.flushed = False

    def _flush(self, worker: _Worker) -> None:
        """Says that there is nothing more for now, once."""
        if not worker.flushed:
            worker.flushed = True
            with suppress(BrokenPipeError, ConnectionError):
                worker.connection.send(_FLUSH)

    def _receive(self) -> None:
        """Waits for messages and takes them."""
        by_connection = {worker.connection: worker for worker in self.workers}
        for connection in wait([*by_connection]):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):  # the latter within a message
                self._ended(worker)
            else:
                self._take(worker, message)

    def _take(self, worker: _Worker, message: Any) -> None:
        if isinstance(message, _Ready):
            worker.batch = message.batch
            worker.most = message.batch * (2 if message.ahead else 1)
        elif isinstance(message, Outcome):
            item = worker.items.pop(message.key)
            worker.alone, worker.amount = False, 0.0
            self.done[item.number] = replace(message, key=item.key)
        elif isinstance(message, StreamProgress):
            self._tell(worker, message)
        elif isinstance(message, ImageWarning):
            warnings.warn(message, stacklevel=1)
        elif isinstance(message, InvcompError):
            raise message

    def _tell(self, worker: _Worker, state: StreamProgress) -> None:
        worker.amount = state.search.fraction * len(state.keys)
        if self.progress is not None:
            others = sum(other.amount for other in self.workers if other is not worker)
            keys = tuple(worker.items[number].key for number in state.keys)
            done = self.yielded + len(self.done)
            self.progress(StreamProgress(done, self.total, keys, state.search, others))

    def _ended(self, worker: _Worker) -> None:
        """Puts another process in place of one that ended; its images are tried again."""
        worker.process.join()
        worker.connection.close()
        how = _how_it_ended(worker.process.exitcode)
        place = self.workers.index(worker)
        if not worker.batch:
            del self.workers[place]  # the others go on
            if not (self.started and self.workers):
                reason = f"a worker process on {worker.device} {how} before it was ready"
                raise WorkerError(reason)
            return
        for item in worker.items.values():
            item.ends += 1
            if item.ends < ENDS:
                self.suspects.append(item)
            else:
                reason = f"{item.ends} worker processes ended over this image: the last {how}"
                self.done[item.number] = Outcome(item.key, error=WorkerError(reason))
        self.workers[place] = self._begin(worker.device)

    def _end(self) -> None:
        """Ends the processes: those that have nothing to do by themselves, others by a signal."""
        for worker in self.workers:
            worker.connection.close()
            if worker.items or not worker.batch:
                worker.process.terminate()
        for worker in self.workers:
            worker.process.join(PATIENCE)
            worker.process.kill()
            worker.process.join()


def _how_it_ended(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}{' (is there enough memory?)' if name == 'SIGKILL' else ''}"


# In the other process -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Settings:
    """What a process needs besides images."""

    bundle: Bundle
    device: str
    compiled: bool | None
    threads: int
    options: EncodeOptions
    total: int | None  # images
    share: int | None  # of this process


def _work(connection: Connection, settings: _Settings) -> None:
    """Encodes what comes through a pipe, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one, as follows
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    torch.set_num_threads(settings.threads)
    lock = Lock()  # a thread reads images, and may warn

    def send(message: object) -> None:
        with lock:
            connection.send(message)

    _send_warnings(send)
    try:
        codec = Codec(settings.bundle, settings.device, settings.compiled)
        options, total = settings.options, settings.total
        batch = options.batch or codec.encoder.batch_for(settings.share)
        options = replace(options, batch=batch)
        codec.stream((), options, total)  # checks the options
        send(_Ready(batch, ahead=codec.device.type != "cpu"))
        received = _Received(connection)
        while not received.ended:
            for outcome in codec.stream(received, options, total, send):
                send(outcome)
    except InvcompError as error:
        send(error)
    except ConnectionError:
        pass  # the other process has ended


class _Received:
    """The images that come through a pipe, up to the next flush."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.ended = connection, False

    def __iter__(self) -> Iterator[Input]:
        while True:
            try:
                message = self.connection.recv()
            except (EOFError, OSError):  # the latter within a message
                self.ended = True
                return
            if message == _FLUSH:
                return
            yield message


def _send_warnings(send: Callable[[object], None]) -> None:
    """From now on, sends what is said about an image, in place of printing it."""
    show_others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **how: Any) -> None:
        if isinstance(message, ImageWarning):
            send(message)
        else:
            show_others(message, category, *where, **how)

    warnings.showwarning = show
    warnings.simplefilter("always", ImageWarning)
